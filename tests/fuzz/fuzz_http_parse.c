/*
 * fuzz_http_parse.c - requests from their bytes.  Whatever pieces they come in,
 * the same requests are read and the same one is refused.
 *
 * Input: a byte, the size of the pieces; the rest is what a client sends.
 */
#include "fuzz.h"

#include "base/buf.h"
#include "http/limits.h"
#include "http/parse.h"

#include <string.h>

static const struct http_limits limits = {
    .max_header_bytes = 2000,
    .max_headers = 12,
    .max_body_bytes = 500,
};

static void put_text(struct buf *out, struct http_text text)
{
    buf_put(out, text.bytes, text.len);
    buf_put_char(out, '|');
}

static void tell(struct buf *out, const struct http_parse *parse)
{
    put_text(out, parse->method);
    put_text(out, parse->target);
    FUZZ_CHECK(parse->n_headers <= limits.max_headers);
    FUZZ_CHECK(parse->body.len <= limits.max_body_bytes);
    for (size_t i = 0; i < parse->n_headers; i++) {
        put_text(out, parse->headers[i].name);
        put_text(out, parse->headers[i].value);
    }
    put_text(out, (struct http_text){ parse->body.data, parse->body.len });
    buf_printf(out, "%d%d\n", parse->keeps_alive, parse->is_1_1);
}

/* As far as in goes; false: it was refused. */
static bool take(struct buf *out, struct http_parse *parse, struct buf *in)
{
    for (;;) {
        enum http_stage stage = http_parse_run(parse, in);

        if (stage == HTTP_STAGE_DUE)
            stage = http_parse_accept(parse, limits.max_body_bytes);
        else if (stage == HTTP_STAGE_HEAD || stage == HTTP_STAGE_BODY)
            return true;
        if (stage == HTTP_STAGE_REFUSED) {
            FUZZ_CHECK(http_refusal_status(parse->refusal) >= 400);
            buf_printf(out, "refused %d\n", (int)parse->refusal);
            return false;
        }
        if (stage == HTTP_STAGE_WHOLE) {
            tell(out, parse);
            http_parse_reset(parse);
        }
    }
}

static void read_all(struct buf *out, const uint8_t *bytes, size_t size,
                     size_t piece)
{
    struct http_parse parse;
    struct buf in = { 0 };

    http_parse_init(&parse, &limits);
    for (size_t at = 0; at < size; at += piece) {
        buf_put(&in, bytes + at, piece < size - at ? piece : size - at);
        if (!take(out, &parse, &in))
            break;
    }
    http_parse_free(&parse);
    buf_free(&in);
}

FUZZ_TARGET(http_parse)
{
    struct fuzz_input input = { bytes, size };
    size_t piece = fuzz_byte(&input) % 64 + 1U;
    struct buf whole = { 0 }, pieces = { 0 };

    if (input.left == 0)
        return 0;
    read_all(&whole, input.at, input.left, input.left);
    read_all(&pieces, input.at, input.left, piece);
    FUZZ_CHECK(whole.len == pieces.len);
    FUZZ_CHECK(whole.len == 0 ||
               memcmp(whole.data, pieces.data, whole.len) == 0);
    buf_free(&whole);
    buf_free(&pieces);
    return 0;
}
