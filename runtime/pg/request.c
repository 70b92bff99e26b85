/* request.c - a request's way: the line, a link, its end; see request.h and
 * request_inside.h. */
#include "pg/request.h"

#include "pg/cancel.h"
#include "pg/chore.h"
#include "pg/heed.h"
#include "pg/lane.h"
#include "pg/phase.h"
#include "pg/query.h"
#include "pg/request_inside.h"
#include "pg/words.h"
#include "pool/lease.h"
#include "pool/line.h"
#include "pool/pool.h"
#include "pool/why.h"

static const double NS_PER_S = 1e9;
static const uint64_t TIMEOUT_MAX_NS = (uint64_t)1 << 56; /* two years */

const char pg_taken_text[] =
    "the connection was taken back: it was held longer than leak_reclaim";

/* ---- the end */

static void tell(struct pg_request *request, enum err err, PGresult *result,
                 const struct err_text *text)
{
    known_unuse(request->known);
    request->known = NULL;
    request->loop = NULL;
    request->pg = NULL;
    request->on_done(request, err, (struct pg_rows *)result, text);
}

/*
 * The connection goes back before on_done is called, so that a statement sent
 * from there finds it; the release runs code of others, who may cancel this
 * very request.
 */
static void give_back(struct pg_link *link, struct pg_request *request,
                      enum err err, PGresult *result,
                      const struct err_text *text)
{
    bool is_forgotten = false;

    if (request->pg != NULL) {
        request->is_forgotten = &is_forgotten;
        pool_release(request->pg->clock.pool, &link->conn,
                     loop_now_ns(request->loop));
        if (is_forgotten) {
            PQclear(result);
            return;
        }
        request->is_forgotten = NULL;
    }
    tell(request, err, result, text);
}

/* Takes the request off the link. */
static struct pg_request *detach(struct pg_link *link)
{
    struct pg_request *request = link->request;

    deadline_stop(link->pg->loop, &link->deadline);
    loop_cancel(link->pg->loop, LOOP_RUN, &request->job);
    link->request = NULL;
    request->link = NULL;
    return request;
}

static void explain_timeout(const struct pg_request *request,
                            const struct pg_link *link, struct err_text *text)
{
    *text = (struct err_text){ 0 };
    err_text_set(text, "the statement did not end within %.3g s%s",
                 (double)request->timeout_ns / NS_PER_S,
                 link->phase == LINK_BROKEN
                     ? ", nor did the server answer a cancel"
                     : "");
}

void request_finish(struct pg_link *link, enum err err)
{
    PGresult *result = link->result;
    struct pg_request *request = detach(link);
    struct err_text text;

    link->result = NULL;
    if (err == ERR_OK) {
        give_back(link, request, ERR_OK, result, NULL);
        return;
    }
    if (err == ERR_TIMEOUT)
        explain_timeout(request, link, &link->text);
    else if (err == ERR_NOMEM)
        err_text_set(&link->text, "%s", err_sentence(err));
    if (err == ERR_LOST && link->preparing != NULL)
        request->was_sent = false; /* it was parsed at most */
    if (err != ERR_SERVER) {
        PQclear(result);
        result = NULL;
    }
    text = link->text;
    give_back(link, request, err, result, &text);
}

/* A timeout must not leave a transaction that can be committed, whether or not
 * the cancel came in time. */
static bool must_poison(const struct pg_link *link)
{
    return link->err == ERR_TIMEOUT && link->phase == LINK_QUIET &&
           PQtransactionStatus(link->pq) == PQTRANS_INTRANS;
}

/* There is no result, or an error that is the connection's. */
static bool is_lost(const struct pg_link *link)
{
    const PGresult *result = link->result;

    return link->phase == LINK_BROKEN &&
           (result == NULL || link_is_fatal(result) || link_is_garbled(result));
}

void request_end(struct pg_link *link)
{
    enum err err = link->err;

    if (must_poison(link)) {
        if (link_chore(link, CHORE_POISON))
            return;
        link_break(link);
    }
    if (err == ERR_OK && is_lost(link)) {
        err = ERR_LOST;
    } else if (err == ERR_OK && query_is_error(link->result)) {
        link_error_text(link, link->result, &link->text);
        link_heed(link, &link->text, link_is_fatal(link->result));
        err = ERR_SERVER;
    }
    request_finish(link, err);
}

static void tell_closed(struct loop_job *job)
{
    struct pg_request *request = container_of(job, struct pg_request, job);
    struct err_text text = { 0 };

    err_text_set(&text, "%s", err_sentence(ERR_CLOSED));
    tell(request, ERR_CLOSED, NULL, &text);
}

static void tell_taken(struct loop_job *job)
{
    struct pg_request *request = container_of(job, struct pg_request, job);
    struct err_text text = { 0 };

    err_text_set(&text, "%s", pg_taken_text);
    tell(request, ERR_CLOSED, NULL, &text);
}

static void end_later(struct pg_link *link, void (*fn)(struct loop_job *job))
{
    struct loop *loop = link->pg->loop;
    struct pg_request *request = detach(link);

    request->pg = NULL;
    request->job.fn = fn;
    loop_defer(loop, LOOP_RUN, &request->job);
}

void request_orphan(struct pg_link *link)
{
    end_later(link, tell_closed);
}

void request_take_back(struct pg_link *link)
{
    end_later(link, tell_taken);
    link->err = ERR_CANCELLED;
}

/* ---- the beginning */

/* No connection came. */
static void refuse(struct pg_request *request, enum err err)
{
    struct pg_pool *pg = request->pg;
    struct err_text text = { 0 };
    struct pool_why why;

    pool_explain(pg->clock.pool, &request->waiter, err, loop_now_ns(pg->loop),
                 &why);
    pool_why_text(&why, pg->name, &text);
    tell(request, err, NULL, &text);
}

static void on_lease(struct pool_waiter *waiter, enum err err,
                     struct conn *conn)
{
    struct pg_request *request =
        container_of(waiter, struct pg_request, waiter);

    if (err == ERR_OK)
        query_begin(link_of(conn), request);
    else
        refuse(request, err);
}

static void prepare(struct pg_request *request, struct pg_pool *pg,
                    uint64_t now_ns)
{
    if (request->timeout_ns == 0)
        request->timeout_ns =
            pool_settings(pg->clock.pool)->statement_timeout_ns;
    if (request->timeout_ns > TIMEOUT_MAX_NS)
        request->timeout_ns = TIMEOUT_MAX_NS;
    request->deadline_ns = now_ns + request->timeout_ns;
    request->loop = pg->loop;
    request->link = NULL;
    request->is_forgotten = NULL;
    request->was_sent = false;
    request->known = NULL;
    request->place = PG_PLACE_OWN;
}

/* On a connection of its own. */
static enum err send_alone(struct pg_pool *pg, struct pg_request *request)
{
    struct pool *pool = pg->clock.pool;
    uint64_t now_ns = loop_now_ns(pg->loop);
    uint64_t acquire_ns = now_ns + pool_settings(pool)->acquire_timeout_ns;
    struct conn *conn;

    conn = pool_try_acquire(pool, false, request->site, now_ns);
    if (conn != NULL) {
        conn_set_class(conn, request->item.class);
        query_begin(link_of(conn), request);
        return ERR_OK;
    }
    request->waiter.on_done = on_lease;
    request->waiter.class = request->item.class;
    request->waiter.shared = false;
    request->waiter.site = request->site;
    request->waiter.deadline_ns =
        request->deadline_ns < acquire_ns ? request->deadline_ns : acquire_ns;
    return pool_wait(pool, &request->waiter, now_ns);
}

void request_send_alone(struct pg_request *request)
{
    struct pg_pool *pg = request->pg;
    enum err err;

    request->place = PG_PLACE_OWN;
    deadline_stop(pg->loop, &request->deadline);
    err = send_alone(pg, request);
    if (err != ERR_OK)
        refuse(request, err);
}

enum err pg_pool_send(struct pg_pool *pg, struct pg_request *request)
{
    enum err err;

    assert(request->loop == NULL);
    prepare(request, pg, loop_now_ns(pg->loop));
    request->pg = pg;
    if (request->may_share)
        request->known =
            knowns_use(&pg->knowns, request->sql, request->sql_len);
    err = lane_suits(pg, request) ? lane_submit(pg, request)
                                  : send_alone(pg, request);
    if (err == ERR_OK)
        return ERR_OK;
    known_unuse(request->known);
    request->known = NULL;
    request->loop = NULL;
    return err;
}

enum err pg_link_send(struct pg_link *link, struct pg_request *request)
{
    assert(request->loop == NULL);
    if (link->phase == LINK_BROKEN)
        return ERR_LOST;
    if (link->phase != LINK_QUIET || link->cancel != NULL ||
        link->request != NULL)
        return ERR_BUSY;
    prepare(request, link->pg, link_now(link));
    request->pg = NULL;
    query_begin(link, request);
    return ERR_OK;
}

/* ---- giving up */

/* What runs goes on as nobody's until the server has stopped it. */
static void abandon(struct pg_link *link)
{
    struct pg_request *request = detach(link);

    link->err = ERR_CANCELLED;
    if (link->phase != LINK_QUIET && link->phase != LINK_BROKEN)
        link_cancel_start(link);
    if (request->pg != NULL)
        pool_release(request->pg->clock.pool, &link->conn, link_now(link));
}

void pg_request_cancel(struct pg_request *request)
{
    struct loop *loop = request->loop;

    if (loop == NULL)
        return;
    known_unuse(request->known);
    request->known = NULL;
    request->loop = NULL;
    if (request->place != PG_PLACE_OWN)
        lane_cancel_request(request, DEMAND_CANCELLED);
    else if (request->is_forgotten != NULL)
        *request->is_forgotten = true;
    else if (request->link != NULL)
        abandon(request->link);
    else if (request->pg != NULL)
        pool_wait_cancel(request->pg->clock.pool, &request->waiter,
                         loop_now_ns(loop));
    else
        loop_cancel(loop, LOOP_RUN, &request->job);
}
