/* log.c - see log.h. */
#include "base/log.h"

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

static bool is_between(unsigned char c, unsigned char low, unsigned char high)
{
    return c >= low && c <= high;
}

/*
 * The length of the UTF-8 sequence at the start of text, 0 when it is not one
 * (table 3-7 of the Unicode standard).  The final NUL of text is no
 * continuation byte, so nothing beyond it is read.
 */
static size_t utf8_len(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    unsigned char low = 0x80;
    unsigned char high = 0xbf;
    size_t len = 2;

    if (s[0] < 0x80)
        return 1;
    if (!is_between(s[0], 0xc2, 0xf4))
        return 0;
    if (s[0] >= 0xe0)
        len = s[0] >= 0xf0 ? 4 : 3;
    if (s[0] == 0xe0)
        low = 0xa0; /* below are longer forms of shorter sequences */
    if (s[0] == 0xed)
        high = 0x9f; /* above are surrogates */
    if (s[0] == 0xf0)
        low = 0x90;
    if (s[0] == 0xf4)
        high = 0x8f; /* above is beyond Unicode */
    if (!is_between(s[1], low, high))
        return 0;
    for (size_t i = 2; i < len; i++) {
        if (!is_between(s[i], 0x80, 0xbf))
            return 0;
    }
    return len;
}

static bool is_control(char c)
{
    return (unsigned char)c < ' ' || c == 0x7f;
}

static void put_escaped(struct buf *out, char c)
{
    switch (c) {
    case '"': buf_put_str(out, "\\\""); break;
    case '\\': buf_put_str(out, "\\\\"); break;
    case '\n': buf_put_str(out, "\\n"); break;
    case '\r': buf_put_str(out, "\\r"); break;
    case '\t': buf_put_str(out, "\\t"); break;
    default: buf_printf(out, "\\u%04x", (unsigned)(unsigned char)c); break;
    }
}

/* Writes a JSON string; bytes that are not UTF-8 become U+FFFD each. */
static void put_quoted(struct buf *out, const char *text)
{
    const char *start = text; /* of what is copied as it is */

    buf_put_char(out, '"');
    while (*text != '\0') {
        size_t len = utf8_len(text);

        if (len > 0 && *text != '"' && *text != '\\' && !is_control(*text)) {
            text += len;
            continue;
        }
        buf_put(out, start, (size_t)(text - start));
        if (len > 0)
            put_escaped(out, *text);
        else
            buf_put_str(out, "\xef\xbf\xbd");
        text++;
        start = text;
    }
    buf_put(out, start, (size_t)(text - start));
    buf_put_char(out, '"');
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
        put_quoted(out, text);
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
    else if (field->type == LOG_INT_TYPE)
        buf_printf(out, "%" PRId64, field->number);
    else
        buf_put_str(out, "null");
}

static bool is_text(const struct log_field *field)
{
    return field->type == LOG_STR_TYPE && field->text != NULL;
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

void log_format_logfmt(struct buf *out, uint64_t unix_ns, enum log_level level,
                       const char *event, const struct log_field *fields)
{
    buf_put_str(out, "ts=");
    put_time(out, unix_ns);
    buf_printf(out, " level=%s msg=", level_names[level]);
    put_logfmt_text(out, event);
    for (; fields->type != LOG_END_TYPE; fields++) {
        put_logfmt_key(out, fields->key);
        if (is_text(fields))
            put_logfmt_text(out, fields->text);
        else
            put_plain(out, fields);
    }
}

void log_format_json(struct buf *out, uint64_t unix_ns, enum log_level level,
                     const char *event, const struct log_field *fields)
{
    buf_put_str(out, "{\"ts\":\"");
    put_time(out, unix_ns);
    buf_printf(out, "\",\"level\":\"%s\",\"msg\":", level_names[level]);
    put_quoted(out, event);
    for (; fields->type != LOG_END_TYPE; fields++) {
        buf_put_char(out, ',');
        put_quoted(out, fields->key);
        buf_put_char(out, ':');
        if (is_text(fields))
            put_quoted(out, fields->text);
        else
            put_plain(out, fields);
    }
    buf_put_char(out, '}');
}
