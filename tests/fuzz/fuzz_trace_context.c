/*
 * fuzz_trace_context.c - traceparent and tracestate, and the ids of requests.
 *
 * Input: three lines: traceparent, tracestate, x-request-id.
 */
#include "fuzz.h"

#include "base/trace_context.h"
#include "http/header.h"
#include "script/origin.h"

#include <string.h>

/* What was read is written as it came, and read again as the same. */
static void check_parent(const char *text, size_t len)
{
    const struct trace_parent none = { .trace_id = "none" };
    struct trace_parent parent = none, again;
    char written[TRACEPARENT_LEN + 1];

    if (!trace_parent_read(&parent, text, len)) {
        FUZZ_CHECK(memcmp(&parent, &none, sizeof(none)) == 0);
        return;
    }
    trace_parent_write(written, &parent);
    FUZZ_CHECK(strlen(written) == TRACEPARENT_LEN);
    FUZZ_CHECK(memcmp(written + 3, text + 3, TRACE_ID_LEN) == 0);
    FUZZ_CHECK(trace_parent_read(&again, written, TRACEPARENT_LEN));
    FUZZ_CHECK(strcmp(again.span_id, parent.span_id) == 0);
    FUZZ_CHECK(again.is_sampled == parent.is_sampled);
}

/* An id goes into a line of the log as it is. */
static void check_id(const char *id)
{
    FUZZ_CHECK(id[0] != '\0' && strlen(id) <= 64);
    for (; *id != '\0'; id++)
        FUZZ_CHECK(*id > ' ' && *id <= '~' && *id != '"');
}

FUZZ_TARGET(trace_context)
{
    static struct origin_source source = { .high = { 1 }, .low = { 2 } };
    static const char *const names[] = { "traceparent", "tracestate",
                                         "x-request-id" };
    struct fuzz_input input = { bytes, size };
    struct http_header headers[3];
    char *texts[3];
    struct origin *origin;

    for (size_t i = 0; i < 3; i++) {
        size_t len;

        texts[i] = fuzz_line(&input, &len);
        headers[i] = (struct http_header){ { names[i], strlen(names[i]) },
                                           { texts[i], len } };
    }
    check_parent(texts[0], headers[0].value.len);
    origin = origin_new(&source, headers, 3);
    FUZZ_CHECK(origin != NULL);
    check_id(origin->id);
    origin_unref(origin);
    for (size_t i = 0; i < 3; i++)
        free(texts[i]);
    return 0;
}
