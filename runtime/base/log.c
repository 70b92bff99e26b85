/* log.c - see log.h. */
#include "base/log.h"

#include "base/json.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

static const char *const level_names[] = {
    [LOG_DEBUG] = "debug",
    [LOG_INFO] = "info",
    [LOG_WARN] = "warn",
    [LOG_ERROR] = "error",
};

static bool is_control(char c)
{
    return (unsigned char)c < ' ' || c == 0x7f;
}

static bool needs_quotes(const char *text)
{
    if (*text == '\0')
        return true;
    while (*text != '\0') {
        size_t len = utf8_len(text);

        if (len == 0 || is_control(*text) || strchr(" =\"", *text) != NULL)
            return true;
        text += len;
    }
    return false;
}

static void put_logfmt_text(struct buf *out, const char *text)
{
    if (needs_quotes(text))
        json_put_string(out, text, strlen(text));
    else
        buf_put_str(out, text);
}

/* A logfmt key cannot be quoted, so what would end it becomes "_". */
static void put_logfmt_key(struct buf *out, const char *key)
{
    buf_put_char(out, ' ');
    for (; *key != '\0'; key++) {
        bool ends = is_control(*key) || strchr(" =\"", *key) != NULL;

        buf_put_char(out, ends ? '_' : *key);
    }
    buf_put_char(out, '=');
}

/* Not %f, which would write the locale's decimal comma. */
static void put_ms(struct buf *out, int64_t ns)
{
    uint64_t us = (ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns) / 1000;

    buf_printf(out, "%s%" PRIu64 ".%03u", ns < 0 ? "-" : "", us / 1000,
               (unsigned)(us % 1000));
}

/* The value of a field that is no text, the same in both formats. */
static void put_plain(struct buf *out, const struct log_field *field)
{
    if (field->type == LOG_MS_TYPE)
        put_ms(out, field->number);
    else
        buf_printf(out, "%" PRId64, field->number);
}

/* A text that there is none of is no field. */
static bool is_absent(const struct log_field *field)
{
    return field->type == LOG_STR_TYPE && field->text == NULL;
}

/* RFC 3339 in UTC, with milliseconds. */
static void put_time(struct buf *out, uint64_t unix_ns)
{
    time_t seconds = (time_t)(unix_ns / 1000000000);
    unsigned ms = (unsigned)(unix_ns / 1000000 % 1000);
    struct tm tm = { 0 };

    gmtime_r(&seconds, &tm);
    buf_printf(out, "%04d-%02d-%02dT%02d:%02d:%02d.%03uZ", tm.tm_year + 1900,
               tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, ms);
}

void log_fields(const struct log *log, enum log_level level, const char *event,
                const struct log_field *fields)
{
    assert(event != NULL && fields != NULL);
    if (log == NULL || log->sink == NULL || level < log->level)
        return;
    log->sink(log->ud, level, event, fields);
}

static void put_logfmt_fields(struct buf *out, const struct log_field *fields)
{
    for (; fields->type != LOG_END_TYPE; fields++) {
        if (is_absent(fields))
            continue;
        put_logfmt_key(out, fields->key);
        if (fields->type == LOG_STR_TYPE)
            put_logfmt_text(out, fields->text);
        else
            put_plain(out, fields);
    }
}

void log_format_logfmt(struct buf *out, const struct log_line *line)
{
    buf_put_str(out, "ts=");
    put_time(out, line->unix_ns);
    buf_printf(out, " level=%s msg=", level_names[line->level]);
    put_logfmt_text(out, line->event);
    if (line->origin != NULL)
        put_logfmt_fields(out, line->origin);
    put_logfmt_fields(out, line->fields);
}

static void put_json_fields(struct buf *out, const struct log_field *fields)
{
    for (; fields->type != LOG_END_TYPE; fields++) {
        if (is_absent(fields))
            continue;
        buf_put_char(out, ',');
        json_put_string(out, fields->key, strlen(fields->key));
        buf_put_char(out, ':');
        if (fields->type == LOG_STR_TYPE)
            json_put_string(out, fields->text, strlen(fields->text));
        else
            put_plain(out, fields);
    }
}

void log_format_json(struct buf *out, const struct log_line *line)
{
    buf_put_str(out, "{\"ts\":\"");
    put_time(out, line->unix_ns);
    buf_printf(out, "\",\"level\":\"%s\",\"msg\":", level_names[line->level]);
    json_put_string(out, line->event, strlen(line->event));
    if (line->origin != NULL)
        put_json_fields(out, line->origin);
    put_json_fields(out, line->fields);
    buf_put_char(out, '}');
}
