/* log.h - events with fields, handed to a sink that the owner chose. */
#ifndef TIDEPOOL_BASE_LOG_H
#define TIDEPOOL_BASE_LOG_H

#include "base/buf.h"

#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_type { LOG_END_TYPE, LOG_STR_TYPE, LOG_INT_TYPE, LOG_MS_TYPE };

/* One field; text is borrowed for the duration of the call. */
struct log_field {
    const char *key;
    enum log_type type;
    const char *text;
    int64_t number; /* LOG_MS_TYPE: nanoseconds, printed as milliseconds */
};

/* fields end with one of type LOG_END_TYPE.  The sink must not call back. */
typedef void (*log_sink_fn)(void *ud, enum log_level level, const char *event,
                            const struct log_field *fields);

/* Borrowed by everything that logs; its owner outlives them. */
struct log {
    log_sink_fn sink; /* NULL: nothing is logged */
    void *ud;
    enum log_level level; /* less important events do not reach the sink */
};

/* clang-format off */
#define LOG_STR(key, text)  { (key), LOG_STR_TYPE, (text), 0 }
#define LOG_INT(key, value) { (key), LOG_INT_TYPE, NULL, (int64_t)(value) }
#define LOG_MS(key, ns)     { (key), LOG_MS_TYPE, NULL, (int64_t)(ns) }
/* clang-format on */

/*
 * Logs event with at least one field; log may be NULL.  Example:
 * log_event(log, LOG_WARN, "slow acquire", LOG_STR("pool", name),
 *           LOG_MS("waited_ms", ns));
 */
#define log_event(log, level, event, ...)               \
    log_fields((log), (level), (event),                 \
               (const struct log_field[]){ __VA_ARGS__, \
                                           { NULL, LOG_END_TYPE, NULL, 0 } })

void log_fields(const struct log *log, enum log_level level, const char *event,
                const struct log_field *fields);

struct log_line {
    uint64_t unix_ns; /* wall time */
    enum log_level level;
    const char *event;
    const struct log_field *origin; /* of all lines of a process; or NULL */
    const struct log_field *fields;
};

/* The two line formats, without the newline. */
void log_format_logfmt(struct buf *out, const struct log_line *line);
void log_format_json(struct buf *out, const struct log_line *line);

#endif
