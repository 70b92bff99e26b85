/* why.c - see why.h. */
#include "pool/why.h"

#include "pool/budget_census.h"
#include "pool/internal.h"
#include "pool/lists.h"
#include "pool/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const uint64_t NS_PER_MS = 1000000;
static const double NS_PER_S = 1e9;

/* The oldest lease that is to come back. */
static const struct conn *first_holder(const struct pool *pool)
{
    list_each (node, &pool->by_state[CONN_LEASED]) {
        const struct conn *conn = pool_conn_of(node);

        if (!conn->is_standing)
            return conn;
    }
    return NULL;
}

static void add_holder(const struct pool *pool, struct pool_why *why)
{
    const struct conn *conn = first_holder(pool);

    if (conn == NULL)
        return;
    why->holder_ns = pool->now_ns - conn->state_ns;
    if (conn->site != NULL)
        snprintf(why->holder_site, sizeof(why->holder_site), "%s", conn->site);
}

void pool_explain(const struct pool *pool, const struct pool_waiter *waiter,
                  enum err err, uint64_t now_ns, struct pool_why *why)
{
    struct budget_census census;

    memset(why, 0, sizeof(*why));
    why->err = err;
    why->open = pool->open;
    why->max = (uint32_t)pool->settings.max_connections;
    why->waiting = pool->line.len;
    why->is_delayed = pool->is_delayed;
    pool_census(pool, &census);
    why->others = census.others;
    why->ghosts = census.ghosts;
    why->is_shed =
        err == ERR_BUSY && pool->shed_ns != 0 && pool->shed_ns == pool->now_ns;
    for (enum conn_state state = 0; state < CONN_STATES; state++)
        why->states[state] = pool_count(pool, state);
    if (waiter != NULL)
        memcpy(why->phase_ns, waiter->phase_ns, sizeof(why->phase_ns));
    for (size_t i = 0; i < WAIT_PHASES; i++)
        why->waited_ns += why->phase_ns[i];
    if (pool->is_last_failed) {
        why->last_error = pool->last_error;
        if (now_ns > pool->last_error_ns)
            why->last_error_age_ns = now_ns - pool->last_error_ns;
    }
    add_holder(pool, why);
}

/* ---- the sentence */

struct line {
    char text[ERR_TEXT_MAX];
    size_t len;
};

static void add(struct line *line, const char *format, ...) PRINTF_LIKE(2, 3);

static void add(struct line *line, const char *format, ...)
{
    size_t room = sizeof(line->text) - line->len;
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(line->text + line->len, room, format, args);
    va_end(args);
    if (len > 0)
        line->len += (size_t)len < room ? (size_t)len : room - 1;
}

static unsigned long long in_ms(uint64_t ns)
{
    return ns / NS_PER_MS;
}

static void add_phases(struct line *line, const struct pool_why *why)
{
    const char *separator = "";

    if (in_ms(why->waited_ns) == 0)
        return;
    add(line, " (");
    for (enum wait_phase phase = 0; phase < WAIT_PHASES; phase++) {
        if (in_ms(why->phase_ns[phase]) == 0)
            continue;
        add(line, "%s%s %llu ms", separator, wait_phase_name(phase),
            in_ms(why->phase_ns[phase]));
        separator = ", ";
    }
    add(line, ")");
}

static void add_outcome(struct line *line, const struct pool_why *why)
{
    switch (why->err) {
    case ERR_TIMEOUT:
        add(line, "no connection came free in %llu ms", in_ms(why->waited_ns));
        break;
    case ERR_REFUSED:
        add(line, "%s: %.200s", err_sentence(why->err),
            why->last_error.text[0] != '\0' ? why->last_error.text
                                            : "no reason was given");
        if (in_ms(why->waited_ns) > 0)
            add(line, ", after %llu ms", in_ms(why->waited_ns));
        break;
    case ERR_BUSY:
        if (why->is_shed) {
            add(line, "shed, for waits stay over codel_target");
            break;
        } /* fall through */
    default: add(line, "%s", err_sentence(why->err)); break;
    }
    add_phases(line, why);
}

static void add_counts(struct line *line, const struct pool_why *why,
                       const char *pool_name)
{
    add(line, ": pool \"%s\" %u of %u open: %u leased, %u idle, %u opening",
        pool_name, why->open, why->max, why->states[CONN_LEASED],
        why->states[CONN_IDLE], why->states[CONN_OPENING]);
    for (enum conn_state state = 0; state < CONN_STATES; state++) {
        if (state == CONN_LEASED || state == CONN_IDLE || state == CONN_OPENING)
            continue;
        if (why->states[state] > 0)
            add(line, ", %u %s", why->states[state], conn_state_name(state));
    }
    if (why->others > 0)
        add(line, ", %u of %u are other workers'", why->others, why->max);
    if (why->ghosts > 0)
        add(line, ", %u of %u are dead workers' that the server still has",
            why->ghosts, why->max);
    if (why->is_delayed)
        add(line, ", connects wait for connect_rate");
    add(line, "; %u waiting", why->waiting);
}

void pool_why_text(const struct pool_why *why, const char *pool_name,
                   struct err_text *out)
{
    struct line line = { .len = 0 };

    add_outcome(&line, why);
    add_counts(&line, why, pool_name);
    if (why->states[CONN_LEASED] > 0)
        add(&line, "; oldest lease %s for %.1f s",
            why->holder_site[0] != '\0' ? why->holder_site : "(unnamed)",
            (double)why->holder_ns / NS_PER_S);
    if (why->err != ERR_REFUSED && why->last_error.text[0] != '\0')
        add(&line, "; last connect error: %s (%.1f s ago)",
            why->last_error.text, (double)why->last_error_age_ns / NS_PER_S);
    err_text_set(out, "%s", line.text);
}
