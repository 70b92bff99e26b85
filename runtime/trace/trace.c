/* trace.c - see trace.h: writing. */
#include "trace/trace.h"

#include "pool/conn_state.h"
#include "pool/event.h"

#include <stdio.h>
#include <string.h>

/* ---- words without libc's printf, which signal handlers may not call */

static char *put_text(char *at, const char *text)
{
    while (*text != '\0')
        *at++ = *text++;
    return at;
}

static char *put_number(char *at, uint64_t number)
{
    char digits[20];
    unsigned count = 0;

    do
        digits[count++] = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    while (count > 0)
        *at++ = digits[--count];
    return at;
}

static char *put_field(char *at, uint64_t number)
{
    at = put_number(at, number);
    *at++ = ' ';
    return at;
}

size_t trace_begin(char *out, uint64_t began_us)
{
    char *at = put_text(out, "# tidepool trace 1 began_us ");

    at = put_number(at, began_us);
    *at++ = '\n';
    return (size_t)(at - out);
}

size_t trace_columns(char *out)
{
    return (size_t)(put_text(out, "# us pool what outcome wait_us service_us "
                                  "conn class\n") -
                    out);
}

size_t trace_lost(char *out, uint64_t count)
{
    char *at = put_number(put_text(out, "# lost "), count);

    *at++ = '\n';
    return (size_t)(at - out);
}

static char *put_event(char *at, const struct flight_note *note)
{
    static const char *const words[POOL_EVENTS] = {
        [POOL_EVENT_OPENED] = "opened",
        [POOL_EVENT_CLOSED] = "closed",
        [POOL_EVENT_CONNECT_FAILED] = "connect_failed",
        [POOL_EVENT_OUTDATED] = "outdated",
        [POOL_EVENT_SLOW_ACQUIRE] = "slow_acquire",
        [POOL_EVENT_TIMEOUT] = "timeout",
        [POOL_EVENT_LEAK] = "leak",
        [POOL_EVENT_RECLAIMED] = "reclaimed",
        [POOL_EVENT_EXHAUSTED] = "exhausted",
        [POOL_EVENT_DEGRADED] = "degraded",
        [POOL_EVENT_RECOVERED] = "recovered",
    };

    at = put_text(at, "event ");
    at = put_text(at, words[note->what]);
    *at++ = ' ';
    at = put_field(at, note->wait_us);
    at = put_text(at, "- ");
    at = put_field(at, note->conn);
    return put_text(at, note->what == POOL_EVENT_CLOSED
                            ? close_reason_name(note->detail)
                            : "-");
}

static char *put_demand(char *at, const struct flight_note *note)
{
    at = put_text(at, note->is_shared ? "statement " : "lease ");
    at = put_text(at, demand_end_name(note->what));
    *at++ = ' ';
    at = put_field(at, note->wait_us);
    at = put_field(at, note->service_us);
    at = put_field(at, note->conn);
    return put_text(at, pool_class_name(note->detail));
}

size_t trace_note(char *out, unsigned pool, const struct flight_note *note,
                  uint64_t zero_ns)
{
    uint64_t since_ns = note->at_ns > zero_ns ? note->at_ns - zero_ns : 0;
    char *at = put_field(out, since_ns / 1000);

    at = put_field(at, pool);
    at = note->is_event ? put_event(at, note) : put_demand(at, note);
    *at++ = '\n';
    return (size_t)(at - out);
}

/* ---- the head of a pool */

/* Names are words here. */
static void put_word(char *out, size_t size, const char *name)
{
    snprintf(out, size, "%s", name);
    for (; *out != '\0'; out++)
        if (*out <= ' ')
            *out = '_';
}

size_t trace_pool(char *out, unsigned index, const char *name, const char *kind,
                  const struct pool_settings *settings)
{
    char word[TRACE_NAME_MAX];
    size_t len;

    put_word(word, sizeof(word), name);
    len = (size_t)snprintf(out, TRACE_HEAD_MAX, "# pool %u %s %s", index, word,
                           kind);
    for (const struct pool_setting *setting = pool_setting_table;
         settings != NULL && setting->name != NULL && len < TRACE_HEAD_MAX - 64;
         setting++)
        len += (size_t)snprintf(out + len, TRACE_HEAD_MAX - len, " %s=%.9g",
                                setting->name,
                                pool_settings_get(settings, setting));
    out[len++] = '\n';
    return len;
}
