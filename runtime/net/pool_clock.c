/* pool_clock.c - see pool_clock.h. */
#include "net/pool_clock.h"

#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "pool/conn.h"
#include "pool/conn_state.h"
#include "pool/driver.h"
#include "pool/event.h"
#include "pool/flight.h"
#include "pool/pool.h"

/* A connect that goes on failing for the same reason is told this often. */
static const uint64_t REPEAT_NS = 60 * (uint64_t)1000000000;

static const uint64_t TIMEOUT_REPEAT_NS = 1000000000;

static void on_deadline(struct deadline *deadline)
{
    struct pool_clock *clock =
        container_of(deadline, struct pool_clock, deadline);
    uint64_t next_ns = pool_tick(clock->pool, loop_now_ns(clock->loop));

    if (next_ns != WHEEL_NEVER)
        deadline_start(clock->loop, &clock->deadline, next_ns);
}

static void wake_at(void *ud, uint64_t at_ns)
{
    struct pool_clock *clock = ud;

    deadline_start(clock->loop, &clock->deadline, at_ns);
}

static bool is_over(void *ud)
{
    const struct pool_clock *clock = ud;

    return loop_is_over(clock->loop);
}

static void on_closed(void *ud)
{
    struct pool_clock *clock = ud;

    loop_defer(clock->loop, LOOP_RUN, &clock->closed);
}

/* The owner frees the pool from here, so it is not called from inside it. */
static void on_closed_job(struct loop_job *job)
{
    struct pool_clock *clock = container_of(job, struct pool_clock, closed);

    deadline_stop(clock->loop, &clock->deadline);
    if (clock->on_closed != NULL)
        clock->on_closed(clock);
}

/* ---- the log */

/* NULL when there is none, as for what is to be logged. */
static const char *text_or_null(const char *text)
{
    return text != NULL && text[0] != '\0' ? text : NULL;
}

static const char *text_of(const struct pool_event *event)
{
    return event->text != NULL ? text_or_null(event->text->text) : NULL;
}

static const char *sqlstate_of(const struct pool_event *event)
{
    return event->text != NULL ? text_or_null(event->text->sqlstate) : NULL;
}

static void log_connect_failed(struct pool_clock *clock,
                               const struct pool_event *event)
{
    const char *text = text_of(event);
    uint64_t hash = text != NULL ? map_hash(text, strlen(text)) : 0;
    uint64_t now_ns = loop_now_ns(clock->loop);
    bool is_told = clock->told_ns != 0 && clock->told_hash == hash &&
                   now_ns - clock->told_ns < REPEAT_NS;

    if (!is_told) {
        clock->told_hash = hash;
        clock->told_ns = now_ns;
    }
    log_event(clock->log, is_told ? LOG_DEBUG : LOG_WARN, "connect failed",
              LOG_STR("pool", clock->name), LOG_INT("conn", event->conn->id),
              LOG_STR("error", text), LOG_STR("sqlstate", sqlstate_of(event)),
              LOG_MS("retry_ms", event->retry_ns));
}

/* Whether a connection was closed for a reason that nobody asked for. */
static bool is_unexpected(enum close_reason reason)
{
    switch (reason) {
    case CLOSE_IDLE_TIMEOUT:
    case CLOSE_LIFETIME:
    case CLOSE_SHRUNK:
    case CLOSE_YIELDED:
    case CLOSE_DRAINED:
    case CLOSE_OUTDATED:
    case CLOSE_POOL_CLOSED: return false;
    default: return true;
    }
}

static void log_closed(struct pool_clock *clock, const struct pool_event *event)
{
    log_event(clock->log, is_unexpected(event->reason) ? LOG_INFO : LOG_DEBUG,
              "connection closed", LOG_STR("pool", clock->name),
              LOG_INT("conn", event->conn->id),
              LOG_STR("reason", close_reason_name(event->reason)),
              LOG_MS("age_ms", event->duration_ns),
              LOG_STR("error", text_of(event)));
}

static void log_outdated(struct pool_clock *clock,
                         const struct pool_event *event)
{
    log_event(clock->log, LOG_WARN,
              "the server changed: connections are replaced",
              LOG_STR("pool", clock->name), LOG_INT("conn", event->conn->id),
              LOG_STR("error", text_of(event)),
              LOG_STR("sqlstate", sqlstate_of(event)));
}

static void log_slow_acquire(struct pool_clock *clock,
                             const struct pool_event *event)
{
    const uint64_t *phase_ns = event->phase_ns;

    log_event(clock->log, LOG_WARN, "slow acquire",
              LOG_STR("pool", clock->name), LOG_STR("site", event->site),
              LOG_MS("waited_ms", event->duration_ns),
              LOG_MS("queue_ms", phase_ns[WAIT_QUEUE]),
              LOG_MS("dns_ms", phase_ns[WAIT_DNS]),
              LOG_MS("tcp_ms", phase_ns[WAIT_TCP]),
              LOG_MS("tls_ms", phase_ns[WAIT_TLS]),
              LOG_MS("auth_ms", phase_ns[WAIT_AUTH]),
              LOG_MS("init_ms", phase_ns[WAIT_INIT]),
              LOG_MS("test_ms", phase_ns[WAIT_TEST]));
}

/* In an overload there are thousands. */
static void log_timeout(struct pool_clock *clock,
                        const struct pool_event *event)
{
    uint64_t now_ns = loop_now_ns(clock->loop);
    bool is_told = clock->timeout_ns != 0 &&
                   now_ns - clock->timeout_ns < TIMEOUT_REPEAT_NS;

    if (!is_told)
        clock->timeout_ns = now_ns;
    log_event(clock->log, is_told ? LOG_DEBUG : LOG_WARN,
              "no connection came in time", LOG_STR("pool", clock->name),
              LOG_STR("site", event->site),
              LOG_MS("waited_ms", event->duration_ns));
}

static void log_held(struct pool_clock *clock, const struct pool_event *event,
                     const char *text)
{
    log_event(clock->log, LOG_WARN, text, LOG_STR("pool", clock->name),
              LOG_INT("conn", event->conn->id), LOG_STR("site", event->site),
              LOG_MS("held_ms", event->duration_ns));
}

static void log_alarm(struct pool_clock *clock, const struct pool_event *event)
{
    static const char *const words[POOL_EVENTS] = {
        [POOL_EVENT_EXHAUSTED] = "pool exhausted: all are in use",
        [POOL_EVENT_DEGRADED] = "pool degraded: the server cannot be reached",
        [POOL_EVENT_RECOVERED] = "pool recovered",
    };
    bool is_well = event->kind == POOL_EVENT_RECOVERED;

    log_event(clock->log, is_well ? LOG_INFO : LOG_WARN, words[event->kind],
              LOG_STR("pool", clock->name), LOG_STR("held_by", event->site),
              LOG_STR("error", text_of(event)),
              LOG_MS("for_ms", event->duration_ns));
}

static void on_event(void *ud, const struct pool_event *event)
{
    struct pool_clock *clock = ud;

    switch (event->kind) {
    case POOL_EVENT_OPENED:
        clock->told_ns = 0; /* the next failure is news */
        log_event(clock->log, LOG_DEBUG, "connection opened",
                  LOG_STR("pool", clock->name),
                  LOG_INT("conn", event->conn->id),
                  LOG_MS("took_ms", event->duration_ns));
        break;
    case POOL_EVENT_CLOSED: log_closed(clock, event); break;
    case POOL_EVENT_CONNECT_FAILED: log_connect_failed(clock, event); break;
    case POOL_EVENT_OUTDATED: log_outdated(clock, event); break;
    case POOL_EVENT_TIMEOUT: log_timeout(clock, event); break;
    case POOL_EVENT_SLOW_ACQUIRE: log_slow_acquire(clock, event); break;
    case POOL_EVENT_LEAK: log_held(clock, event, "lease held too long"); break;
    case POOL_EVENT_RECLAIMED:
        log_held(clock, event, "lease taken back: held over leak_reclaim");
        break;
    case POOL_EVENT_EXHAUSTED:
    case POOL_EVENT_DEGRADED:
    case POOL_EVENT_RECOVERED: log_alarm(clock, event); break;
    case POOL_EVENTS: break;
    }
}

static void on_bell(struct budget_member *member)
{
    struct pool_clock *clock = container_of(member, struct pool_clock, member);

    pool_look(clock->pool, loop_now_ns(clock->loop));
}

/* Takes its part in the budget, if there is one. */
static enum err join(struct pool_clock *clock, struct pool_config *config,
                     struct err_text *why)
{
    uint64_t max = config->settings.max_connections;
    char name[BUDGET_NAME_MAX + 1];

    clock->member = (struct budget_member){ .look = on_bell };
    if (clock->budget == NULL)
        return ERR_OK;
    snprintf(name, sizeof(name), "%s/%s", config->ops->name, clock->name);
    config->share = &clock->member.share;
    if (budget_member_join(&clock->member, clock->budget, name,
                           (uint32_t)max) == ERR_OK)
        return ERR_OK;
    err_text_set(why,
                 "pool \"%s\" cannot share its connections with other workers: "
                 "its name is longer than %d bytes, or there are %d pools",
                 clock->name, BUDGET_NAME_MAX - 10, BUDGET_ROWS);
    return ERR_BADARG;
}

enum err pool_clock_open(struct pool_clock *clock,
                         const struct pool_config *config, struct err_text *why)
{
    struct pool_config ours = *config;
    uint64_t now_ns = loop_now_ns(clock->loop);
    enum err err = join(clock, &ours, why);

    if (err != ERR_OK)
        return err;
    ours.host.ud = clock;
    ours.host.wake_at = wake_at;
    ours.host.on_event = on_event;
    ours.host.on_closed = on_closed;
    ours.host.is_over = is_over;
    clock->deadline = (struct deadline){ .fn = on_deadline };
    clock->closed = (struct loop_job){ .fn = on_closed_job };
    clock->told_ns = 0;
    clock->timeout_ns = 0;
    clock->flight = flight_new();
    ours.flight = clock->flight;
    err = clock->flight != NULL ? pool_new(&clock->pool, &ours, now_ns)
                                : ERR_NOMEM;
    if (err != ERR_OK) {
        flight_free(clock->flight);
        clock->flight = NULL;
        budget_member_leave(&clock->member);
        deadline_stop(clock->loop, &clock->deadline);
        return err;
    }
    deadline_start(clock->loop, &clock->deadline, now_ns);
    return ERR_OK;
}

void pool_clock_free(struct pool_clock *clock)
{
    deadline_stop(clock->loop, &clock->deadline);
    loop_cancel(clock->loop, LOOP_RUN, &clock->closed);
    pool_free(clock->pool);
    clock->pool = NULL;
    budget_member_leave(&clock->member);
    flight_free(clock->flight);
    clock->flight = NULL;
}
