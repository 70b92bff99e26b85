/* settings.h - the pool's settings: one table with names, units and limits. */
#ifndef TIDEPOOL_POOL_SETTINGS_H
#define TIDEPOOL_POOL_SETTINGS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { POOL_MAX_CONNECTIONS = 10000 };

/*
 * COUNT(name, default, min, max, text)
 * TIME(name, default, min, max, text)   seconds outside, nanoseconds inside
 * FLAG(name, default, text)
 * A count of 0 as max_connections' or lanes' default means "by the cores",
 * see pool_settings_init().
 */
/* clang-format off */
#define POOL_SETTINGS_MAP(COUNT, TIME, FLAG)                                   \
    COUNT(max_connections, 0, 1, POOL_MAX_CONNECTIONS,                         \
          "hard cap, opening ones included")                                   \
    COUNT(min_connections, 0, 0, POOL_MAX_CONNECTIONS, "kept open")            \
    TIME(acquire_timeout, 30, 0.001, 86400,                                    \
         "deadline of a lease, queue included")                                \
    TIME(connect_timeout, 5, 0.01, 3600,                                       \
         "one attempt: dns + tcp + tls + auth")                                \
    TIME(statement_timeout, 30, 0.001, 86400, "default deadline of a statement") \
    TIME(idle_timeout, 600, 0.01, 864000, "idle beyond min is closed")         \
    TIME(max_lifetime, 1800, 0.1, 864000, "then replaced; jitter 10 %, paced") \
    FLAG(test_before_acquire, true, "round trip before a lease after a quiet time") \
    TIME(test_after, 1, 0, 86400, "the quiet time, since the last byte")       \
    COUNT(max_waiters, 10000, 0, 10000000, "beyond: refused at once, busy")    \
    COUNT(connect_rate, 50, 0, 1000000,                                        \
          "connects a second, max_connections of them at once; 0: no limit")   \
    COUNT(concurrency, 0, 0, POOL_MAX_CONNECTIONS,                             \
          "most connections lent at once; 0: all")                             \
    TIME(codel_target, 0, 0, 3600,                                             \
         "waits that stay over this are shed, the newest go first; 0 never")   \
    TIME(codel_interval, 0.1, 0.001, 3600, "how long they have to stay so")    \
    COUNT(share_critical, 8, 1, 1000,                                          \
          "turns of the class critical, while several classes wait")           \
    COUNT(share_normal, 4, 1, 1000, "the same of the class normal")            \
    COUNT(share_batch, 1, 1, 1000, "the same of the class batch")              \
    COUNT(shed_critical, 3, 1, 3,                                              \
          "when the class critical is shed: the lowest first")                 \
    COUNT(shed_normal, 2, 1, 3, "the same of the class normal")                \
    COUNT(shed_batch, 1, 1, 3, "the same of the class batch")                  \
    COUNT(lanes, 0, 1, POOL_MAX_CONNECTIONS,                                   \
          "most connections shared as lanes at once")                          \
    COUNT(group_max, 64, 1, 10000, "most statements in a group on a lane")     \
    TIME(group_target, 0.002, 0.00001, 3600,                                   \
         "longest planned group; slower statements run on a lease")            \
    TIME(stall_timeout, 2, 0.01, 3600,                                         \
         "a lane with replies due and no byte for this long is closed")        \
    COUNT(statement_cache, 256, 0, 100000,                                     \
          "prepared statements kept per connection")                           \
    TIME(acquire_slow_threshold, 2, 0, 86400, "warn of a wait this long")      \
    TIME(leak_threshold, 30, 0, 864000, "warn of a lease this long; 0 never")   \
    TIME(leak_reclaim, 0, 0, 864000, "take back a lease this long; 0 never")
/* clang-format on */

/* Times are nanoseconds. */
struct pool_settings {
#define COUNT(name, def, min, max, text) uint64_t name;
#define TIME(name, def, min, max, text)  uint64_t name##_ns;
#define FLAG(name, def, text)            bool name;
    POOL_SETTINGS_MAP(COUNT, TIME, FLAG)
#undef COUNT
#undef TIME
#undef FLAG
};

enum pool_setting_kind { SETTING_COUNT, SETTING_TIME, SETTING_FLAG };

/* What is known of one setting; min, max and def in seconds or as counts. */
struct pool_setting {
    const char *name;
    enum pool_setting_kind kind;
    double def, min, max;
    const char *text;
    size_t offset;
};

/* Ends with a NULL name; in the order of the map. */
extern const struct pool_setting pool_setting_table[];

/* By name, or by the alias connection_timeout for acquire_timeout; or NULL. */
const struct pool_setting *pool_setting_find(const char *name);

/* Fills defaults: max_connections = cores * 2 + 1, lanes = cores + 1. */
void pool_settings_init(struct pool_settings *settings, unsigned cores);

/* In seconds, as a count, or 0 and 1. */
double pool_settings_get(const struct pool_settings *settings,
                         const struct pool_setting *setting);

/*
 * Sets one value.  Returns ERR_BADARG and leaves settings alone when the value
 * is out of range; why (may be NULL) then says what was expected.
 */
enum err pool_settings_set(struct pool_settings *settings,
                           const struct pool_setting *setting, double value,
                           struct err_text *why) MUST_CHECK;

/* Checks what lies between settings: min_connections <= max_connections. */
enum err pool_settings_check(const struct pool_settings *settings,
                             struct err_text *why) MUST_CHECK;

#endif
