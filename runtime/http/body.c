/* body.c - the body of a request, of known length or in chunks; see parse.h. */
#include "http/parse.h"

#include <assert.h>

#include "http/limits.h"
#include "http/strict.h"

/* A chunk's size and what extensions may follow it. */
enum { CHUNK_LINE_MOST = 256 };

/* Moves what is there of parse->left bytes to the body, if that has room. */
static void take_bytes(struct http_parse *parse, struct buf *in)
{
    size_t room = parse->room - parse->body.len;
    size_t size = in->len < parse->left ? in->len : (size_t)parse->left;

    assert(parse->body.len <= parse->room);
    if (size > room)
        size = room;
    buf_put(&parse->body, in->data, size);
    if (buf_failed(&parse->body)) {
        http_parse_refuse(parse, HTTP_REFUSED_MEMORY);
        return;
    }
    buf_consume(in, size);
    parse->left -= size;
}

/* Takes the line that was just found off the front of in. */
static void drop_line(struct http_parse *parse, struct buf *in)
{
    buf_consume(in, parse->line_at);
    parse->line_at = 0;
    parse->searched = 0;
}

/* Each of these does one step, and returns false when in is short of it. */

static bool take_size(struct http_parse *parse, struct buf *in)
{
    static const struct http_line_rule rule = { CHUNK_LINE_MOST,
                                                HTTP_REFUSED_CHUNK,
                                                HTTP_REFUSED_CHUNK };
    struct http_text line;

    if (!http_parse_line(parse, in, &rule, &line))
        return false;
    if (!http_strict_chunk_line(line, &parse->left)) {
        http_parse_refuse(parse, HTTP_REFUSED_CHUNK);
        return false;
    }
    if (parse->left > parse->max_body) {
        http_parse_refuse(parse, HTTP_REFUSED_BODY_SIZE);
        return false;
    }
    parse->max_body -= parse->left;
    drop_line(parse, in);
    parse->chunk_stage = parse->left > 0 ? HTTP_CHUNK_DATA : HTTP_CHUNK_TRAILER;
    return true;
}

static bool take_data(struct http_parse *parse, struct buf *in)
{
    if (in->len == 0 || parse->body.len == parse->room)
        return false;
    take_bytes(parse, in);
    if (parse->left == 0)
        parse->chunk_stage = HTTP_CHUNK_END;
    return true;
}

static bool take_end(struct http_parse *parse, struct buf *in)
{
    if (in->len < 2)
        return false;
    if (in->data[0] != '\r' || in->data[1] != '\n') {
        http_parse_refuse(parse, HTTP_REFUSED_CHUNK);
        return false;
    }
    buf_consume(in, 2);
    parse->chunk_stage = HTTP_CHUNK_SIZE;
    return true;
}

/* Trailers are checked and dropped: nobody waits for a header that late. */
static bool take_trailer(struct http_parse *parse, struct buf *in)
{
    struct http_line_rule rule = {
        .most = parse->limits->max_header_bytes,
        .too_long = HTTP_REFUSED_HEAD_SIZE,
        .bad_end = HTTP_REFUSED_CHUNK,
    };
    struct http_text line;

    if (!http_parse_line(parse, in, &rule, &line))
        return false;
    if (line.len == 0) {
        drop_line(parse, in);
        parse->stage = HTTP_STAGE_WHOLE;
        return true;
    }
    if (!http_strict_header_line(line))
        http_parse_refuse(parse, HTTP_REFUSED_CHUNK);
    else if (++parse->lines > parse->limits->max_headers)
        http_parse_refuse(parse, HTTP_REFUSED_HEAD_SIZE);
    return true;
}

static bool take_chunked(struct http_parse *parse, struct buf *in)
{
    switch (parse->chunk_stage) {
    case HTTP_CHUNK_SIZE: return take_size(parse, in);
    case HTTP_CHUNK_DATA: return take_data(parse, in);
    case HTTP_CHUNK_END: return take_end(parse, in);
    case HTTP_CHUNK_TRAILER: return take_trailer(parse, in);
    }
    return false;
}

enum http_stage http_parse_body(struct http_parse *parse, struct buf *in)
{
    if (in->len > 0)
        parse->expects_continue = false; /* it did not wait for it */
    if (!parse->is_chunked) {
        take_bytes(parse, in);
        if (parse->stage == HTTP_STAGE_BODY && parse->left == 0)
            parse->stage = HTTP_STAGE_WHOLE;
        return parse->stage;
    }
    while (parse->stage == HTTP_STAGE_BODY && take_chunked(parse, in))
        continue;
    return parse->stage;
}
