/* parse.c - see parse.h.  The one file that knows llhttp and http_parser. */
#include "http/parse.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#ifdef HAVE_LLHTTP
#include <llhttp.h>
#else
#include <http_parser.h>
#endif

#include "http/limits.h"
#include "http/strict.h"

enum {
    HEADERS_FIRST = 16,
    KEEP_MOST = 16 * 1024, /* a larger buffer is not kept between requests */
};

#ifdef HAVE_LLHTTP
typedef llhttp_t library_parser;
typedef llhttp_settings_t library_settings;
#else
typedef http_parser library_parser;
typedef http_parser_settings library_settings;
#endif

enum http_stage http_parse_refuse(struct http_parse *parse,
                                  enum http_refusal refusal)
{
    parse->refusal = refusal;
    parse->stage = HTTP_STAGE_REFUSED;
    return parse->stage;
}

/* ---- what the parser finds */

/* Adds a piece to text; it always follows the one before. */
static int extend(struct http_text *text, const char *at, size_t len)
{
    if (text->bytes == NULL)
        text->bytes = at;
    if (text->bytes + text->len != at)
        return -1;
    text->len += len;
    return 0;
}

static int on_url(library_parser *parser, const char *at, size_t len)
{
    struct http_parse *parse = parser->data;

    return extend(&parse->target, at, len);
}

static struct http_header *add_header(struct http_parse *parse)
{
    struct http_header *header;

    if (parse->n_headers == parse->headers_room) {
        size_t room =
            parse->headers_room > 0 ? 2 * parse->headers_room : HEADERS_FIRST;
        struct http_header *headers =
            realloc(parse->headers, room * sizeof(*headers));

        if (headers == NULL)
            return NULL;
        parse->headers = headers;
        parse->headers_room = room;
    }
    header = &parse->headers[parse->n_headers++];
    *header = (struct http_header){ 0 };
    return header;
}

static int on_header_field(library_parser *parser, const char *at, size_t len)
{
    struct http_parse *parse = parser->data;

    if (!parse->is_value_next && add_header(parse) == NULL) {
        http_parse_refuse(parse, HTTP_REFUSED_MEMORY);
        return -1;
    }
    parse->is_value_next = true;
    return extend(&parse->headers[parse->n_headers - 1].name, at, len);
}

static int on_header_value(library_parser *parser, const char *at, size_t len)
{
    struct http_parse *parse = parser->data;

    if (parse->n_headers == 0)
        return -1;
    parse->is_value_next = false;
    return extend(&parse->headers[parse->n_headers - 1].value, at, len);
}

/* The body is not the parser's: 1 tells it that there is none. */
static int on_headers_complete(library_parser *parser)
{
    struct http_parse *parse = parser->data;

    parse->is_head_over = true;
    return 1;
}

static const library_settings settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
};

/* The version was checked before.  Methods of other protocols are an invalid
 * constant to llhttp. */
static enum http_refusal refusal_of(int error)
{
    switch (error) {
    case HPE_OK: return HTTP_ACCEPTED;
    case HPE_INVALID_METHOD:
    case HPE_INVALID_VERSION:
    case HPE_INVALID_CONSTANT: return HTTP_REFUSED_METHOD;
    case HPE_INVALID_URL: return HTTP_REFUSED_TARGET;
    case HPE_INVALID_CONTENT_LENGTH:
    case HPE_UNEXPECTED_CONTENT_LENGTH:
    case HPE_INVALID_TRANSFER_ENCODING: return HTTP_REFUSED_FRAMING;
    default: return HTTP_REFUSED_HEADER;
    }
}

/* Runs the parser over the whole head. */
#ifdef HAVE_LLHTTP
static enum http_refusal run_parser(struct http_parse *parse)
{
    library_parser parser;
    llhttp_errno_t error;

    llhttp_init(&parser, HTTP_REQUEST, &settings);
    parser.data = parse;
    error = llhttp_execute(&parser, parse->head.data, parse->head.len);
    if (error == HPE_PAUSED_UPGRADE)
        return HTTP_ACCEPTED; /* upgrades are not taken up */
    return refusal_of(error);
}
#else
static enum http_refusal run_parser(struct http_parse *parse)
{
    library_parser parser;

    http_parser_init(&parser, HTTP_REQUEST);
    parser.data = parse;
    http_parser_execute(&parser, &settings, parse->head.data, parse->head.len);
    if (HTTP_PARSER_ERRNO(&parser) == HPE_HEADER_OVERFLOW)
        return HTTP_REFUSED_HEAD_SIZE;
    return refusal_of(HTTP_PARSER_ERRNO(&parser));
}
#endif

/* ---- what the headers say of the message */

/* What was found of the headers that decide where the message ends. */
struct framing {
    unsigned hosts, lengths, encodings;
    uint64_t length;
    bool is_chunked; /* by chunks and nothing else */
    bool says_close, says_keep_alive;
    enum http_refusal refusal; /* or none */
};

/* What is malformed is not merely unknown. */
static void refuse(struct framing *framing, enum http_refusal refusal)
{
    if (framing->refusal == HTTP_ACCEPTED || refusal < framing->refusal)
        framing->refusal = refusal;
}

static void read_connection(struct framing *framing, struct http_text list)
{
    struct http_text member;

    while (http_text_next(&list, &member)) {
        if (http_text_is(member, "close"))
            framing->says_close = true;
        if (http_text_is(member, "keep-alive"))
            framing->says_keep_alive = true;
    }
}

/* Chunks must come last, and once; nothing else is understood, no comma that
 * stands alone either. */
static void read_encoding(struct framing *framing, struct http_text list)
{
    struct http_text all = list;
    struct http_text member;

    while (http_text_next(&list, &member)) {
        if (framing->is_chunked)
            refuse(framing, HTTP_REFUSED_FRAMING);
        framing->is_chunked = http_text_is(member, "chunked");
    }
    if (!http_text_is(all, "chunked"))
        refuse(framing, HTTP_REFUSED_ENCODING);
}

/* A client that names an authority in the target names the same as host; one
 * that does not might be understood either way. */
static bool is_of_target(const struct http_parse *parse, struct http_text host)
{
    struct http_text authority;

    if (!http_text_authority(parse->target, &authority))
        return true;
    return authority.len == host.len &&
           strncasecmp(authority.bytes, host.bytes, host.len) == 0;
}

static void read_expect(struct http_parse *parse, struct framing *framing,
                        struct http_text value)
{
    if (!http_text_is(value, "100-continue"))
        refuse(framing, HTTP_REFUSED_EXPECTATION);
    else if (parse->is_1_1)
        parse->expects_continue = true;
}

static void read_header(struct http_parse *parse, struct framing *framing,
                        const struct http_header *header)
{
    struct http_text name = header->name;
    struct http_text value = header->value;

    if (http_text_is(name, "host")) {
        framing->hosts++;
        if (!http_strict_host(value) || !is_of_target(parse, value))
            refuse(framing, HTTP_REFUSED_HOST);
    } else if (http_text_is(name, "content-length")) {
        framing->lengths++;
        if (!http_strict_length(value, &framing->length))
            refuse(framing, HTTP_REFUSED_FRAMING);
    } else if (http_text_is(name, "transfer-encoding")) {
        framing->encodings++;
        read_encoding(framing, value);
    } else if (http_text_is(name, "connection")) {
        read_connection(framing, value);
    } else if (http_text_is(name, "expect")) {
        read_expect(parse, framing, value);
    }
}

/* More than one way to read where the message ends is one too many. */
static void judge(const struct http_parse *parse, struct framing *framing)
{
    if (framing->hosts > 1 || (framing->hosts == 0 && parse->is_1_1))
        refuse(framing, HTTP_REFUSED_HOST);
    if (framing->lengths > 1 || framing->encodings > 1)
        refuse(framing, HTTP_REFUSED_FRAMING);
    if (framing->encodings > 0 && (framing->lengths > 0 || !parse->is_1_1))
        refuse(framing, HTTP_REFUSED_FRAMING);
}

static enum http_refusal read_framing(struct http_parse *parse)
{
    struct framing framing = { 0 };

    for (size_t i = 0; i < parse->n_headers; i++)
        read_header(parse, &framing, &parse->headers[i]);
    judge(parse, &framing);
    parse->keeps_alive =
        !framing.says_close && (parse->is_1_1 || framing.says_keep_alive);
    parse->is_chunked = framing.is_chunked;
    parse->left = framing.length;
    return framing.refusal;
}

/* ---- the head */

bool http_parse_line(struct http_parse *parse, const struct buf *in,
                     const struct http_line_rule *rule, struct http_text *line)
{
    const char *from = in->data + parse->searched;
    size_t rest = in->len - parse->searched;
    const char *lf = rest > 0 ? memchr(from, '\n', rest) : NULL;
    size_t end = lf != NULL ? (size_t)(lf - in->data) : in->len;

    parse->searched = end;
    if (end >= rule->most) {
        http_parse_refuse(parse, rule->too_long);
        return false;
    }
    if (lf == NULL)
        return false;
    if (end == parse->line_at || lf[-1] != '\r') {
        /* Some end lines there, others not. */
        http_parse_refuse(parse, rule->bad_end);
        return false;
    }
    line->bytes = in->data + parse->line_at;
    line->len = end - 1 - parse->line_at;
    parse->line_at = end + 1;
    parse->searched = end + 1;
    return true;
}

/* Lower case, trimmed, and as many as there were lines. */
static bool tidy_headers(struct http_parse *parse)
{
    for (size_t i = 0; i < parse->n_headers; i++) {
        struct http_header *header = &parse->headers[i];
        /* It lies in parse->head, which is ours to change. */
        char *name = parse->head.data + (header->name.bytes - parse->head.data);

        for (size_t c = 0; c < header->name.len; c++) {
            if (name[c] >= 'A' && name[c] <= 'Z')
                name[c] = (char)(name[c] - 'A' + 'a');
        }
        http_text_trim(&header->value);
    }
    return parse->n_headers + 1 == parse->lines;
}

/* The request line was checked, so its words are where they are. */
static void read_request_line(struct http_parse *parse)
{
    const char *bytes = parse->head.data;
    const char *end = memchr(bytes, '\r', parse->head.len);

    parse->method.bytes = bytes;
    parse->method.len =
        (size_t)((const char *)memchr(bytes, ' ', parse->head.len) - bytes);
    parse->is_1_1 = end[-1] == '1';
}

/* The whole head is at the front of in. */
static enum http_stage read_head(struct http_parse *parse, struct buf *in)
{
    enum http_refusal refusal;

    buf_put(&parse->head, in->data, parse->line_at);
    if (buf_failed(&parse->head))
        return http_parse_refuse(parse, HTTP_REFUSED_MEMORY);
    buf_consume(in, parse->line_at);
    read_request_line(parse);
    refusal = run_parser(parse);
    if (parse->stage == HTTP_STAGE_REFUSED)
        return parse->stage; /* a callback said why */
    if (refusal == HTTP_ACCEPTED &&
        (!parse->is_head_over || !tidy_headers(parse)))
        refusal = HTTP_REFUSED_HEADER;
    if (refusal == HTTP_ACCEPTED)
        refusal = read_framing(parse);
    if (refusal != HTTP_ACCEPTED)
        return http_parse_refuse(parse, refusal);
    parse->lines = 0;
    parse->line_at = 0;
    parse->searched = 0;
    parse->stage = HTTP_STAGE_DUE;
    if (!parse->is_chunked && parse->left == 0)
        parse->stage = HTTP_STAGE_WHOLE;
    return parse->stage;
}

/* One line of the head, the empty one being its end. */
static enum http_stage take_line(struct http_parse *parse, struct buf *in,
                                 struct http_text line)
{
    enum http_refusal refusal;

    if (line.len == 0 && parse->lines > 0)
        return read_head(parse, in);
    if (line.len == 0) {
        /* Some clients end a body with an empty line too many. */
        buf_consume(in, parse->line_at);
        parse->line_at = 0;
        parse->searched = 0;
        return parse->stage;
    }
    if (parse->lines == 0)
        refusal = http_strict_request_line(line);
    else if (!http_strict_header_line(line))
        refusal = HTTP_REFUSED_HEADER;
    else if (parse->lines > parse->limits->max_headers)
        refusal = HTTP_REFUSED_HEAD_SIZE;
    else
        refusal = HTTP_ACCEPTED;
    if (refusal != HTTP_ACCEPTED)
        return http_parse_refuse(parse, refusal);
    parse->lines++;
    return parse->stage;
}

static enum http_stage parse_head(struct http_parse *parse, struct buf *in)
{
    struct http_line_rule rule = {
        .most = parse->limits->max_header_bytes,
        .too_long = HTTP_REFUSED_HEAD_SIZE,
    };
    struct http_text line;

    do {
        rule.bad_end =
            parse->lines == 0 ? HTTP_REFUSED_LINE : HTTP_REFUSED_HEADER;
        if (!http_parse_line(parse, in, &rule, &line))
            break;
        take_line(parse, in, line);
    } while (parse->stage == HTTP_STAGE_HEAD);
    return parse->stage;
}

/* ---- life */

void http_parse_init(struct http_parse *parse, const struct http_limits *limits)
{
    *parse = (struct http_parse){ .limits = limits, .room = SIZE_MAX };
}

void http_parse_free(struct http_parse *parse)
{
    free(parse->headers);
    buf_free(&parse->head);
    buf_free(&parse->body);
}

static void clear(struct buf *buf)
{
    if (buf->cap > KEEP_MOST)
        buf_free(buf);
    buf_clear(buf);
}

void http_parse_reset(struct http_parse *parse)
{
    struct http_parse old = *parse;

    clear(&old.head);
    clear(&old.body);
    http_parse_init(parse, old.limits);
    parse->head = old.head;
    parse->body = old.body;
    parse->headers = old.headers;
    parse->headers_room = old.headers_room;
}

enum http_stage http_parse_run(struct http_parse *parse, struct buf *in)
{
    if (parse->stage == HTTP_STAGE_HEAD)
        parse_head(parse, in);
    if (parse->stage == HTTP_STAGE_BODY)
        http_parse_body(parse, in);
    return parse->stage;
}

enum http_stage http_parse_accept(struct http_parse *parse, size_t max_body)
{
    assert(parse->stage == HTTP_STAGE_DUE);
    if (parse->left > max_body)
        return http_parse_refuse(parse, HTTP_REFUSED_BODY_SIZE);
    parse->max_body = max_body;
    parse->stage = HTTP_STAGE_BODY;
    return parse->stage;
}
