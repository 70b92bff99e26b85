/* embed.h - what every test of the embedding API includes: cmocka, the one
 * public header, and a few checks. */
#ifndef TIDEPOOL_EMBED_H
#define TIDEPOOL_EMBED_H

/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h> /* needs the four above it */
/* clang-format on */

#include "tidepool.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Compare names, so that a failure prints "busy" != "ok". */
#define assert_code(call, expected) \
    assert_string_equal(tide_error_name(call), tide_error_name(expected))
#define assert_done(call) assert_code(call, TIDE_OK)

static inline uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

/* What went wrong in scripts is shown. */
static inline void show_log(void *ud, const char *line, size_t len)
{
    (void)ud;
    fprintf(stderr, "# %.*s", (int)len, line);
}

static inline tide_runtime *open_runtime(void)
{
    tide_options options;
    tide_runtime *runtime = NULL;

    tide_options_init(&options);
    options.write_log = show_log;
    assert_done(tide_open(&runtime, &options));
    return runtime;
}

/* Waits on the runtime's descriptor and steps until condition is true. */
#define step_until(runtime, condition)                         \
    do {                                                       \
        uint64_t give_up_ns = now_ns() + 30000000000ULL;       \
                                                               \
        while (!(condition)) {                                 \
            if (now_ns() > give_up_ns)                         \
                fail_msg("%s did not come true", #condition);  \
            wait_for_work(runtime);                            \
            assert_done(tide_step(runtime, 1000000000, NULL)); \
        }                                                      \
    } while (0)

/* For 20 s at most. */
void wait_for_work(const tide_runtime *runtime);

/* With this text as its script, or the test fails. */
tide_runtime *open_script(const char *text);

/* What came of a call. */
struct answer {
    int count; /* how often it was told */
    int freed;
    int code;
    char error[256];
    char payload[256];
};

/* A request by this name whose ud is answer, and what tells that. */
tide_request request_for(struct answer *answer, const char *name,
                         const char *payload);
void on_reply(void *ud, const tide_reply *reply);

/* A socket that takes connections into its backlog and never says a word; its
 * port goes into the url by form. */
int open_black_hole(char *url, size_t size, const char *form);

/* Calls a handler and steps until it has answered. */
void ask(tide_runtime *runtime, struct answer *answer, const char *name,
         const char *payload);

#endif
