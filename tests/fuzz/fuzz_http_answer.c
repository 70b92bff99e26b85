/*
 * fuzz_http_answer.c - replies as a client reads them, whole and in pieces.
 *
 * Input: a byte, the size of the pieces; a byte, its first bit: to a HEAD, its
 * second: the server ends its side; the rest is what the server sends.
 */
#include "fuzz.h"

#include "http/answer.h"

#include <string.h>

static void tell(struct buf *out, const struct http_answer *answer)
{
    if (answer->stage == HTTP_ANSWER_BAD)
        FUZZ_CHECK(answer->why != NULL);
    if (answer->stage == HTTP_ANSWER_WHOLE)
        FUZZ_CHECK(answer->status >= 200);
    buf_printf(out, "stage %d status %d\n", (int)answer->stage, answer->status);
}

/* How it goes is the same however it came; what of a body came before it was
 * found bad is not. */
static void read_all(struct buf *out, const struct fuzz_input *input,
                     size_t piece, unsigned how)
{
    struct http_answer *answer;
    struct buf in = { 0 }, body = { 0 };
    size_t at = 0;

    FUZZ_CHECK(http_answer_new(&answer) == ERR_OK);
    answer->body = &body;
    http_answer_begin(answer, how & 1);
    for (;;) {
        if (answer->stage == HTTP_ANSWER_WHOLE) {
            tell(out, answer);
            buf_put(out, body.data, body.len);
            buf_clear(&body);
            http_answer_begin(answer, how & 1);
        }
        if (answer->stage == HTTP_ANSWER_BAD)
            break;
        if (in.len == 0) {
            size_t left = input->left - at;

            if (left == 0)
                break;
            buf_put(&in, input->at + at, piece < left ? piece : left);
            at += piece < left ? piece : left;
        }
        http_answer_take(answer, &in);
    }
    if ((how & 2) != 0 && answer->stage == HTTP_ANSWER_DUE)
        http_answer_end(answer);
    tell(out, answer);
    http_answer_free(answer);
    buf_free(&in);
    buf_free(&body);
}

FUZZ_TARGET(http_answer)
{
    struct fuzz_input input = { bytes, size };
    size_t piece = fuzz_byte(&input) % 64 + 1U;
    unsigned how = fuzz_byte(&input);
    struct buf whole = { 0 }, pieces = { 0 };

    if (input.left == 0)
        return 0;
    read_all(&whole, &input, input.left, how);
    read_all(&pieces, &input, piece, how);
    FUZZ_CHECK(whole.len == pieces.len);
    FUZZ_CHECK(memcmp(whole.data, pieces.data, whole.len) == 0);
    buf_free(&whole);
    buf_free(&pieces);
    return 0;
}
