/*
 * pattern.h - Lua 5.1's patterns, in a number of steps that somebody else may
 * bound: a pattern with several repetitions can take longer than anybody waits,
 * ('.-'):rep(6) on 4 KB does.
 *
 * %a and its kin go by the C locale; a set ends at the first ] that is not its
 * first character; captures, back references, %b, %f and $ are as the manual of
 * Lua 5.1 (5.4.1) has them, %f as LuaJIT does.
 */
#ifndef TIDEPOOL_BASE_PATTERN_H
#define TIDEPOOL_BASE_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PATTERN_CAPTURES = 32 };

/* len of a capture: it is a position, or not closed yet. */
#define PATTERN_POSITION ((size_t)-1)
#define PATTERN_OPEN     ((size_t)-2)

struct pattern_capture {
    const char *at;
    size_t len;
};

/* The caller sets the first part. */
struct pattern {
    const char *subject, *subject_end;
    const char *text, *text_end; /* of the pattern, without its ^ */
    bool (*is_over)(void *ud);   /* asked now and then; or NULL */
    void *ud;
    uint64_t max_steps; /* 0: no limit */

    struct pattern_capture captures[PATTERN_CAPTURES];
    unsigned n_captures;
    uint64_t steps;
    bool is_stopped;   /* too many steps, or is_over() */
    const char *error; /* the pattern is wrong: a sentence; or NULL */
    unsigned depth;
};

/* Matches at one place of the subject: the end of the match, or NULL: none, or
 * is_stopped, or error. */
const char *pattern_match(struct pattern *pattern, const char *at);

/* The first place from at on where it matches, and *end; an anchored pattern
 * matches at at only.  NULL as above. */
const char *pattern_find(struct pattern *pattern, const char *at,
                         bool is_anchored, const char **end);

/* Whether a pattern has none of the characters that mean more than themselves.
 */
bool pattern_is_plain(const char *text, size_t len);

#endif
