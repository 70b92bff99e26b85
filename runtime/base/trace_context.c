/* trace_context.c - see trace_context.h. */
#include "base/trace_context.h"

#include <stdio.h>
#include <string.h>

/* version "-" trace-id "-" parent-id "-" flags */
enum { TRACE_AT = 3, SPAN_AT = 36, FLAGS_AT = 53, SAMPLED = 1 };

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

static bool is_hex(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (digit(text[i]) < 0)
            return false;
    return true;
}

/* The ids that stand for none. */
static bool is_zero(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] != '0')
            return false;
    return true;
}

/* A later version may have more behind another "-". */
static bool is_of_known_length(const char *text, size_t len)
{
    bool is_first = text[0] == '0' && text[1] == '0';

    if (text[0] == 'f' && text[1] == 'f')
        return false;
    return len == TRACEPARENT_LEN ||
           (!is_first && text[TRACEPARENT_LEN] == '-');
}

bool trace_parent_read(struct trace_parent *out, const char *text, size_t len)
{
    if (len < TRACEPARENT_LEN || !is_hex(text, 2) ||
        !is_of_known_length(text, len))
        return false;
    if (text[TRACE_AT - 1] != '-' || text[SPAN_AT - 1] != '-' ||
        text[FLAGS_AT - 1] != '-')
        return false;
    if (!is_hex(text + TRACE_AT, TRACE_ID_LEN) ||
        !is_hex(text + SPAN_AT, SPAN_ID_LEN) || !is_hex(text + FLAGS_AT, 2))
        return false;
    if (is_zero(text + TRACE_AT, TRACE_ID_LEN) ||
        is_zero(text + SPAN_AT, SPAN_ID_LEN))
        return false;
    memcpy(out->trace_id, text + TRACE_AT, TRACE_ID_LEN);
    memcpy(out->span_id, text + SPAN_AT, SPAN_ID_LEN);
    out->trace_id[TRACE_ID_LEN] = out->span_id[SPAN_ID_LEN] = '\0';
    out->is_sampled = (digit(text[FLAGS_AT + 1]) & SAMPLED) != 0;
    return true;
}

/* Other flags than sampled are not ours to set. */
void trace_parent_write(char out[TRACEPARENT_LEN + 1],
                        const struct trace_parent *parent)
{
    snprintf(out, TRACEPARENT_LEN + 1, "00-%s-%s-0%c", parent->trace_id,
             parent->span_id, parent->is_sampled ? '1' : '0');
}

bool trace_state_is_fit(const char *text, size_t len)
{
    if (len == 0 || len > TRACESTATE_MOST)
        return false;
    for (size_t i = 0; i < len; i++)
        if (text[i] < ' ' || text[i] > '~')
            return false;
    return true;
}

void trace_put_hex(char out[17], uint64_t number)
{
    static const char digits[] = "0123456789abcdef";

    for (int i = 15; i >= 0; i--, number >>= 4)
        out[i] = digits[number & 15];
    out[16] = '\0';
}
