/*
 * trace_context.h - the W3C's trace context, as it comes with a request: the
 * header traceparent, read strictly; tracestate, passed on as it is.
 */
#ifndef TIDEPOOL_BASE_TRACE_CONTEXT_H
#define TIDEPOOL_BASE_TRACE_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TRACE_ID_LEN = 32, /* lower-case hexadecimal digits */
    SPAN_ID_LEN = 16,
    TRACEPARENT_LEN = 55,
    TRACESTATE_MOST = 512, /* characters; a longer one is left out */
};

struct trace_parent {
    char trace_id[TRACE_ID_LEN + 1];
    char span_id[SPAN_ID_LEN + 1];
    bool is_sampled;
};

/* False, with *out as it was, for what must be ignored: no traceparent, ids of
 * zeros only, upper case, version ff.  Of later versions the part that version
 * 00 has is read. */
bool trace_parent_read(struct trace_parent *out, const char *text, size_t len);

/* Writes "00-...-...-01", with a zero at the end. */
void trace_parent_write(char out[TRACEPARENT_LEN + 1],
                        const struct trace_parent *parent);

/* Whether text is fit to be passed on: printable, and not too long. */
bool trace_state_is_fit(const char *text, size_t len);

/* 16 lower-case digits, and a zero at the end. */
void trace_put_hex(char out[17], uint64_t number);

#endif
