/* link.c - a connection: dialling, greeting, and what the pool asks of it. */
#include <stdlib.h>
#include <string.h>

#include "pool/driver.h"
#include "redis/greeting.h"
#include "redis/internal.h"
#include "redis/reply.h"
#include "redis/request_inside.h"

/* Of one reply: 128 MiB of pointers, before the elements themselves. */
enum { ELEMENTS_MAX = 16 * 1024 * 1024 };

/* ---- connecting: address by address, then AUTH, SELECT and PING at once */

static void fail_opening(struct redis_link *link, const struct err_text *text)
{
    pool_conn_failed(&link->conn, text, redis_now(link->redis));
}

static enum err dial(struct redis_link *link, const struct sockaddr *address)
{
    struct redis_pool *redis = link->redis;
    enum err err = stream_connect(&link->stream, redis->loop, address,
                                  &redis_wire_events, link);

    if (err == ERR_OK && redis->tls != NULL)
        err = stream_start_tls(link->stream, redis->tls, redis->target.host);
    return err;
}

static void dial_next(struct redis_link *link, const struct err_text *text)
{
    stream_close(link->stream);
    link->stream = NULL;
    while (link->at_address < link->n_addresses) {
        const union link_address *address =
            &link->addresses[link->at_address++];

        pool_conn_phase(&link->conn, WAIT_TCP, redis_now(link->redis));
        if (dial(link, &address->any) == ERR_OK)
            return;
        stream_close(link->stream);
        link->stream = NULL;
    }
    fail_opening(link, text);
}

static size_t address_size(const struct sockaddr *address)
{
    switch (address->sa_family) {
    case AF_INET: return sizeof(struct sockaddr_in);
    case AF_INET6: return sizeof(struct sockaddr_in6);
    default: return 0;
    }
}

/* But for the port: that is the same for all. */
static bool is_same(const union link_address *a, const union link_address *b)
{
    if (a->any.sa_family != b->any.sa_family)
        return false;
    if (a->any.sa_family == AF_INET)
        return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
    return memcmp(a->v6.sin6_addr.s6_addr, b->v6.sin6_addr.s6_addr,
                  sizeof(a->v6.sin6_addr.s6_addr)) == 0;
}

/* What did not answer in time when it was dialled last comes after the others:
 * the attempt has one deadline for all of them. */
static void put_slow_last(struct redis_link *link)
{
    union link_address *addresses = link->addresses;

    for (unsigned i = 0; i + 1 < link->n_addresses; i++) {
        if (is_same(&addresses[i], &link->redis->slow)) {
            addresses[i] = addresses[i + 1];
            addresses[i + 1] = link->redis->slow;
        }
    }
}

static void copy_addresses(struct redis_link *link,
                           const struct addrinfo *addresses)
{
    for (; addresses != NULL && link->n_addresses < LINK_ADDRESSES_MAX;
         addresses = addresses->ai_next) {
        size_t size = address_size(addresses->ai_addr);

        if (size > 0)
            memcpy(&link->addresses[link->n_addresses++], addresses->ai_addr,
                   size);
    }
    put_slow_last(link);
}

static void on_resolved(struct resolve *resolve, enum err err,
                        const struct addrinfo *addresses,
                        const struct err_text *why, void *ud)
{
    struct redis_link *link = ud;
    struct err_text text = { 0 };

    (void)resolve;
    link->resolve = NULL;
    if (err != ERR_OK) {
        fail_opening(link, why);
        return;
    }
    copy_addresses(link, addresses);
    err_text_set(&text, "%s has no address that can be dialled",
                 link->redis->target.host);
    dial_next(link, &text);
}

static void begin(struct loop_job *job)
{
    struct redis_link *link = container_of(job, struct redis_link, job);
    const struct redis_target *target = &link->redis->target;
    struct loop *loop = link->redis->loop;
    struct err_text text = { 0 };
    enum err err;

    if (target->path != NULL) {
        pool_conn_phase(&link->conn, WAIT_TCP, redis_now(link->redis));
        err = stream_connect_unix(&link->stream, loop, target->path,
                                  &redis_wire_events, link);
    } else {
        err = resolve_start(&link->resolve, loop, target->host, target->port,
                            on_resolved, link);
    }
    if (err != ERR_OK) {
        err_text_set(&text, "%s", err_sentence(err));
        fail_opening(link, &text);
    }
}

static void on_greeted(struct redis_request *own, enum err err,
                       const struct err_text *text)
{
    struct redis_link *link = container_of(own, struct redis_link, own);
    struct err_text words = { 0 };

    (void)err; /* what goes wrong on the wire is not told here */
    (void)text;
    if (redis_greeting_is_refused(own, link->redis, &words))
        fail_opening(link, &words);
    else
        pool_conn_opened(&link->conn, redis_now(link->redis));
}

static void begin_own(struct redis_link *link, redis_request_fn on_done)
{
    link->own.state = REDIS_REQUEST_DONE;
    redis_request_deinit(&link->own);
    redis_request_init(&link->own);
    link->own.on_done = on_done;
}

void redis_link_on_greeting(struct stream *stream, void *ud)
{
    struct redis_link *link = ud;

    (void)stream;
    pool_conn_phase(&link->conn, WAIT_TLS, redis_now(link->redis));
}

void redis_link_on_open(struct stream *stream, void *ud)
{
    struct redis_link *link = ud;
    bool has_auth = redis_greeting_has_login(link->redis);
    struct err_text text = { 0 };
    enum err err;

    (void)stream;
    pool_conn_phase(&link->conn, has_auth ? WAIT_AUTH : WAIT_INIT,
                    redis_now(link->redis));
    begin_own(link, on_greeted);
    err = redis_greeting_put(&link->own, link->redis);
    if (err == ERR_OK)
        err = redis_wire_write(link, &link->own);
    if (err != ERR_OK) {
        err_text_set(&text, "%s", err_sentence(err));
        fail_opening(link, &text);
    }
}

static struct conn *open_link(void *driver)
{
    struct redis_link *link = calloc(1, sizeof(*link));

    if (link == NULL)
        return NULL;
    link->redis = driver;
    link->reader = redis_reader_new(ELEMENTS_MAX);
    if (link->reader == NULL) {
        free(link);
        return NULL;
    }
    link->job.fn = begin;
    link->read_job.fn = redis_wire_read_on;
    loop_defer(link->redis->loop, LOOP_RUN, &link->job);
    return &link->conn;
}

/* ---- what becomes of one that failed */

void redis_link_break(struct redis_link *link, enum close_reason reason,
                      enum err err, const struct err_text *text)
{
    bool was_greeted = link->own.n_commands > 0;

    switch (link->conn.state) {
    case CONN_OPENING:
        if (was_greeted)
            fail_opening(link, text);
        else
            dial_next(link, text);
        return;
    case CONN_SHARED: redis_lane_lose(link, reason, err, text); return;
    case CONN_LEASED: redis_lease_lose(link, reason, err, text); return;
    case CONN_CLOSING: return;
    default: link->is_broken = true;
    }
    pool_conn_lost(&link->conn, text, redis_now(link->redis));
}

/* Those that were still on it when the pool closed it. */
static void end_all_on(struct redis_link *link, enum close_reason reason)
{
    struct redis_pool *redis = link->redis;
    enum err err = redis->is_closing ? ERR_CLOSED : ERR_LOST;
    struct redis_request *request;

    if (link->head == link->tail)
        return;
    if (err == ERR_LOST)
        err_text_set(&redis->lost_text, "the connection was closed: %s",
                     close_reason_name(reason));
    while ((request = redis_wire_take_back(link)) != NULL)
        redis_request_end_later(request, err);
}

static void close_link(struct conn *conn, enum close_reason reason)
{
    struct redis_link *link = redis_link_at(conn);
    struct redis_pool *redis = link->redis;

    if (reason == CLOSE_CONNECT_TIMEOUT && link->at_address > 0)
        redis->slow = link->addresses[link->at_address - 1];
    end_all_on(link, reason);
    redis_pubsub_lose(link, "the pool closed the connection");
    redis_lane_deinit(link);
    loop_cancel(redis->loop, LOOP_RUN, &link->job);
    loop_cancel(redis->loop, LOOP_RUN, &link->read_job);
    resolve_cancel(link->resolve);
    stream_close(link->stream);
    pool_conn_closed(conn, redis_now(redis));
    link->is_gone = true;
    if (!link->is_reading)
        redis_link_free(link);
}

void redis_link_free(struct redis_link *link)
{
    link->own.state = REDIS_REQUEST_DONE;
    redis_request_deinit(&link->own);
    redis_wire_free(link);
    free(link);
}

/* ---- what the pool asks of one that is open */

static enum conn_wire read_wire(const struct conn *conn)
{
    const struct redis_link *link =
        container_of(conn, const struct redis_link, conn);

    if (link->is_broken || !redis_wire_is_clean(link))
        return CONN_BROKEN;
    if (link->n_due > 0)
        return CONN_BUSY;
    if (link->is_spent)
        return CONN_SPENT;
    return link->is_session ? CONN_DIRTY : CONN_CLEAN;
}

static void on_pong(struct redis_request *own, enum err err,
                    const struct err_text *text)
{
    struct redis_link *link = container_of(own, struct redis_link, own);

    (void)err;
    (void)text;
    /* Whatever it says to PING, it answers. */
    pool_conn_tested(&link->conn, true, redis_now(link->redis));
}

static void fail_test(struct loop_job *job)
{
    struct redis_link *link = container_of(job, struct redis_link, job);

    pool_conn_tested(&link->conn, false, redis_now(link->redis));
}

static void answer_later(struct redis_link *link,
                         void (*answer)(struct loop_job *job))
{
    link->job.fn = answer;
    loop_defer(link->redis->loop, LOOP_RUN, &link->job);
}

static void test_link(struct conn *conn)
{
    struct redis_link *link = redis_link_at(conn);
    const char *ping = "PING";

    begin_own(link, on_pong);
    if (redis_request_append(&link->own, 1, &ping, NULL) != ERR_OK ||
        redis_wire_write(link, &link->own) != ERR_OK)
        answer_later(link, fail_test);
}

static void fail_reset(struct loop_job *job)
{
    struct redis_link *link = container_of(job, struct redis_link, job);

    pool_conn_reset(&link->conn, false, redis_now(link->redis));
}

/* DISCARD fails when no MULTI is open, as it should be. */
static void on_reset(struct redis_request *own, enum err err,
                     const struct err_text *text)
{
    struct redis_link *link = container_of(own, struct redis_link, own);
    const struct redis_reply *select =
        redis_request_reply(own, own->n_commands - 1);

    (void)err;
    (void)text;
    link->is_session = redis_reply_kind(select) == REDIS_ERROR;
    link->is_open = false;
    pool_conn_bare(&link->conn);
    pool_conn_reset(&link->conn, !link->is_session, redis_now(link->redis));
}

static void reset_link(struct conn *conn)
{
    struct redis_link *link = redis_link_at(conn);
    const char *discard = "DISCARD", *unwatch = "UNWATCH";

    begin_own(link, on_reset);
    if (redis_request_append(&link->own, 1, &discard, NULL) != ERR_OK ||
        redis_request_append(&link->own, 1, &unwatch, NULL) != ERR_OK ||
        redis_greeting_put_select(&link->own, link->redis->target.db) !=
            ERR_OK ||
        redis_wire_write(link, &link->own) != ERR_OK)
        answer_later(link, fail_reset);
}

static void answer_cancel(struct loop_job *job)
{
    struct redis_link *link = container_of(job, struct redis_link, job);

    pool_conn_cancelled(&link->conn, false, redis_now(link->redis));
}

/* Redis cannot stop a command from outside: the connection is given up. */
static void cancel_link(struct conn *conn)
{
    answer_later(redis_link_at(conn), answer_cancel);
}

static bool keep_link(struct conn *conn, bool is_baseline)
{
    struct redis_link *link = redis_link_at(conn);

    if (link->is_broken || !redis_wire_is_clean(link) || link->n_due > 0 ||
        link->is_open)
        return false;
    if (is_baseline) {
        link->is_session = false;
        link->is_spent = false;
    }
    return true;
}

/* Its requests end for their holder; their replies are dropped. */
static void abandon_link(struct conn *conn)
{
    struct redis_link *link = redis_link_at(conn);
    struct redis_request *request;

    while ((request = redis_wire_first_wanted(link)) != NULL) {
        redis_wire_forget(request);
        redis_request_end_later(request, ERR_CLOSED);
    }
}

static void unshare_link(struct conn *conn)
{
    lane_finish(&redis_link_at(conn)->lane);
}

const struct conn_ops redis_link_ops = {
    .name = "redis",
    .open = open_link,
    .wire = read_wire,
    .test = test_link,
    .reset = reset_link,
    .cancel = cancel_link,
    .keep = keep_link,
    .abandon = abandon_link,
    .unshare = unshare_link,
    .close = close_link,
};
