/* load.c - see load.h.  The schedule, the beginning and the end. */
#include "http/load_inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

static const uint64_t SECOND_NS = 1000000000;
static const uint64_t TICK_NS =
    50000; /* requests due within it leave at once */

/* ---- the end */

static void finish(struct loop_job *job)
{
    struct load *load = container_of(job, struct load, finish);

    load->on_end(load, load->ud); /* which may free it */
}

static void end_now(struct load *load)
{
    if (load->is_over)
        return;
    load->is_over = true;
    for (unsigned i = 0; i < load->options.connections; i++)
        if (load->conns[i].load != NULL)
            load_conn_shut(&load->conns[i]);
    deadline_stop(load->loop, &load->end);
    watch_close(load->timer);
    load->timer = NULL;
    loop_defer(load->loop, LOOP_RUN, &load->finish);
}

/* Nothing is sent from now on. */
static void stop_sending(struct load *load)
{
    struct load_stats *stats = &load->stats;

    if (stats->stop_ns != 0)
        return;
    stats->stop_ns = loop_now_ns(load->loop);
    stats->answered_at_stop = stats->answered;
    if (load->options.rate > 0 && stats->start_ns != 0)
        stats->unsent = pace_count(&load->pace, stats->stop_ns) - stats->sent;
}

/* Those in flight may come to their end, within their timeout. */
static void on_duration_over(struct deadline *deadline)
{
    struct load *load = container_of(deadline, struct load, end);

    load_pump(load); /* the last ones that are due */
    stop_sending(load);
    load_settled(load);
}

static uint64_t most_requests(const struct load *load)
{
    if (load->options.rate > 0)
        return load->pace.total;
    return load->options.max_requests > 0 ? load->options.max_requests
                                          : UINT64_MAX;
}

void load_settled(struct load *load)
{
    struct load_stats *stats = &load->stats;

    if (stats->in_flight > 0 || load->is_over || stats->start_ns == 0)
        return;
    if (load->options.max_requests > 0 && stats->sent == most_requests(load))
        stop_sending(load);
    if (stats->stop_ns != 0)
        end_now(load);
}

void load_count(struct load *load, enum load_error error, const char *why)
{
    load->stats.errors[error]++;
    err_text_set(&load->stats.why, "%s", why);
}

/* ---- sending */

/* Fires when request i is due, a tick later at the earliest. */
static void arm_timer(struct load *load, uint64_t i, uint64_t now)
{
    uint64_t at = pace_due_ns(&load->pace, i);
    struct itimerspec spec = { 0 };

    if (at < now + TICK_NS)
        at = now + TICK_NS;
    spec.it_value.tv_sec = (time_t)(at / SECOND_NS);
    spec.it_value.tv_nsec = (long)(at % SECOND_NS);
    timerfd_settime(load->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

static struct load_conn *first_idle(struct load *load)
{
    struct list_node *node = list_first(&load->idle);

    return node != NULL ? container_of(node, struct load_conn, node) : NULL;
}

static void pump_open(struct load *load)
{
    struct load_stats *stats = &load->stats;
    uint64_t now = loop_now_ns(load->loop);
    uint64_t due = pace_count(&load->pace, now);
    struct load_conn *conn;

    while (stats->sent < due && (conn = first_idle(load)) != NULL)
        load_conn_send(conn, pace_due_ns(&load->pace, stats->sent), now);
}

static void pump_closed(struct load *load)
{
    uint64_t now = loop_now_ns(load->loop);
    struct load_conn *conn;

    while (load->stats.sent < most_requests(load) &&
           (conn = first_idle(load)) != NULL)
        load_conn_send(conn, now, now);
}

void load_pump(struct load *load)
{
    if (load->stats.start_ns == 0 || load->stats.stop_ns != 0)
        return;
    if (load->options.rate > 0)
        pump_open(load);
    else
        pump_closed(load);
}

/* Goes on while all that is due was sent, and sleeps while connections are
 * awaited: who comes free pumps. */
static void on_timer(struct watch *watch, int what, void *ud)
{
    struct load *load = ud;
    uint64_t times, next;
    ssize_t size = read(watch_fd(watch), &times, sizeof(times));

    (void)what;
    if (size < 0 || load->stats.stop_ns != 0)
        return;
    load_pump(load);
    next = pace_count(&load->pace, loop_now_ns(load->loop));
    if (next < load->pace.total)
        arm_timer(load, next, loop_now_ns(load->loop));
}

/* ---- the beginning */

static enum err open_timer(struct load *load)
{
    load->timer_fd =
        timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (load->timer_fd < 0)
        return ERR_NOMEM;
    return watch_open(&load->timer, load->loop, load->timer_fd, on_timer, load);
}

/* All connections were tried: the clock starts. */
static void begin(struct load *load)
{
    const struct load_options *options = &load->options;
    uint64_t now = loop_now_ns(load->loop);

    load->stats.start_ns = now;
    if (options->rate > 0)
        pace_init(&load->pace, now, options->rate, options->duration_ns,
                  options->max_requests);
    if (load->stats.connects == 0) { /* nobody is there */
        stop_sending(load);
        end_now(load);
        return;
    }
    deadline_start(load->loop, &load->end, now + options->duration_ns);
    if (options->rate > 0) {
        watch_want(load->timer, WATCH_READ);
        arm_timer(load, 0, now);
    }
    load_pump(load);
}

void load_tried(struct load *load)
{
    if (--load->untried == 0 && load->stats.start_ns == 0 && !load->is_over)
        begin(load);
}

static void connect_all(struct load *load)
{
    for (unsigned i = 0; i < load->options.connections && !load->is_over; i++)
        load_conn_open(&load->conns[i]);
}

static void on_resolved(struct resolve *resolve, enum err err,
                        const struct addrinfo *addresses,
                        const struct err_text *why, void *ud)
{
    struct load *load = ud;

    (void)resolve;
    load->resolve = NULL;
    if (err != ERR_OK) {
        load_count(load, LOAD_CONNECT, why->text);
        stop_sending(load);
        end_now(load);
        return;
    }
    for (; addresses != NULL && load->n_addresses < LOAD_ADDRESSES_MAX;
         addresses = addresses->ai_next)
        memcpy(&load->addresses[load->n_addresses++], addresses->ai_addr,
               addresses->ai_addrlen);
    connect_all(load);
}

static enum err make_conns(struct load *load)
{
    load->conns = calloc(load->options.connections, sizeof(*load->conns));
    if (load->conns == NULL)
        return ERR_NOMEM;
    for (unsigned i = 0; i < load->options.connections; i++) {
        struct load_conn *conn = &load->conns[i];
        enum err err = http_answer_new(&conn->answer);

        if (err != ERR_OK)
            return err;
        conn->load = load;
        conn->state = LOAD_SHUT;
        if (load->options.keeps_body)
            conn->answer->body = &load->stats.body;
    }
    load->untried = load->options.connections;
    return ERR_OK;
}

static void on_connect_turn(struct loop_job *job)
{
    struct load *load = container_of(job, struct load, finish);

    load->finish.fn = finish;
    connect_all(load);
}

/* Connecting begins in a call of the loop, as after a look-up. */
static enum err find_server(struct load *load)
{
    const struct load_options *options = &load->options;

    if (options->tls != NULL) {
        load->tls = tls_context_ref(options->tls);
        load->host = strdup(options->host);
        if (load->host == NULL)
            return ERR_NOMEM;
    }
    if (options->host != NULL)
        return resolve_start(&load->resolve, load->loop, options->host,
                             options->port, on_resolved, load);
    load->unix_path = strdup(options->unix_path);
    if (load->unix_path == NULL)
        return ERR_NOMEM;
    load->finish.fn = on_connect_turn;
    loop_defer(load->loop, LOOP_RUN, &load->finish);
    return ERR_OK;
}

static enum err prepare(struct load *load)
{
    const struct load_options *options = &load->options;
    enum err err = ERR_OK;

    buf_put(&load->request, options->request, options->request_len);
    if (buf_failed(&load->request))
        return ERR_NOMEM;
    err = make_conns(load);
    if (err == ERR_OK && options->rate > 0)
        err = open_timer(load);
    return err == ERR_OK ? find_server(load) : err;
}

enum err load_start(struct load **out, struct loop *loop,
                    const struct load_options *options, load_fn on_end,
                    void *ud)
{
    struct load *load = calloc(1, sizeof(*load));
    enum err err;

    assert(options->connections > 0 && options->duration_ns > 0);
    if (load == NULL)
        return ERR_NOMEM;
    load->loop = loop;
    load->options = *options;
    load->timer_fd = -1;
    load->end.fn = on_duration_over;
    load->finish.fn = finish;
    load->on_end = on_end;
    load->ud = ud;
    list_init(&load->idle);
    err = prepare(load);
    load->options.request = NULL; /* the caller's */
    load->options.host = NULL;
    if (err != ERR_OK) {
        load_free(load);
        return err;
    }
    *out = load;
    return ERR_OK;
}

void load_stop(struct load *load)
{
    if (load->is_over)
        return;
    stop_sending(load);
    load->stats.abandoned = load->stats.in_flight;
    resolve_cancel(load->resolve);
    load->resolve = NULL;
    loop_cancel(load->loop, LOOP_RUN, &load->finish); /* not yet connecting */
    load->finish.fn = finish;
    end_now(load);
}

const struct load_stats *load_stats(const struct load *load)
{
    return &load->stats;
}

void load_free(struct load *load)
{
    if (load == NULL)
        return;
    load->is_over = true;
    resolve_cancel(load->resolve);
    for (unsigned i = 0; load->conns != NULL && i < load->options.connections;
         i++) {
        if (load->conns[i].load != NULL)
            load_conn_shut(&load->conns[i]);
        http_answer_free(load->conns[i].answer);
    }
    free(load->conns);
    deadline_stop(load->loop, &load->end);
    watch_close(load->timer);
    if (load->timer_fd >= 0)
        close(load->timer_fd);
    loop_cancel(load->loop, LOOP_RUN, &load->finish);
    buf_free(&load->request);
    buf_free(&load->stats.body);
    tls_context_free(load->tls);
    free(load->host);
    free(load->unix_path);
    free(load);
}
