/* link.c - see link.h: reading a link, its end. */
#include "pg/link.h"

#include "net/watch.h"
#include "pg/cancel.h"
#include "pg/connect.h"
#include "pg/copy.h"
#include "pg/ghost.h"
#include "pg/heed.h"
#include "pg/lane.h"
#include "pg/listen.h"
#include "pg/part.h"
#include "pg/query.h"
#include "pg/request_inside.h"
#include "pg/words.h"
#include "pool/driver.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

static bool is_dead(const struct pg_link *link)
{
    return PQstatus(link->pq) == CONNECTION_BAD || link->is_garbled;
}

/* ---- the end */

void link_break(struct pg_link *link)
{
    bool is_said = link_is_fatal(link->result);

    watch_close(link->watch);
    link->watch = NULL;
    if (!is_said && link->last_words.text[0] != '\0')
        link->text = link->last_words;
    else if (is_said || link_is_garbled(link->result))
        link_error_text(link, link->result, &link->text);
    else
        link_error_text(link, NULL, &link->text);
    link_move(link, LINK_BROKEN);
    listen_lose(link, &link->text);
    copy_lose(link, &link->text);
    link_heed(link, &link->text, true);
}

/* Nobody's request was on it; who has it on lease sees it at the next one. */
static void tell_lost(struct pg_link *link)
{
    struct err_text text = link->text; /* goes with the link */

    pool_conn_lost(&link->conn, &text, link_now(link));
}

void link_lost(struct pg_link *link)
{
    link_break(link);
    if (link->request != NULL)
        request_finish(link, ERR_LOST);
    else
        tell_lost(link);
}

void link_close(struct conn *conn, enum close_reason reason)
{
    struct pg_link *link = link_of(conn);
    struct err_text text = { .text = "" };

    connect_abort(link, reason);
    loop_cancel(link->pg->loop, LOOP_RUN, &link->job);
    /* a server does not notice while it works that the client has gone */
    if (link->phase == LINK_PREPARING || link->phase == LINK_RUNNING ||
        link->steps_head != link->steps_tail)
        link_cancel_start(link);
    lane_abandon(link);
    link_cancel_detach(link);
    if (link->request != NULL)
        request_orphan(link);
    watch_close(link->watch); /* before its socket goes */
    err_text_set(&text, "%s", err_sentence(ERR_CLOSED));
    listen_lose(link, &text);
    copy_lose(link, &text);
    PQclear(link->result);
    stmt_free(link->preparing);
    stmts_deinit(&link->stmts);
    free(link->steps);
    ghost_forget(link);
    link_part(link);
}

/* ---- writing */

bool link_flush(struct pg_link *link)
{
    int left = PQflush(link->pq);

    if (left < 0 || link->phase == LINK_BROKEN || is_dead(link))
        return false;
    /* the socket can be written to, so that is called again at once */
    if (left > 0 || link->is_undrained)
        watch_want(link->watch, WATCH_READ | WATCH_WRITE);
    else
        watch_want(link->watch, WATCH_READ);
    return true;
}

void link_rest(struct pg_link *link)
{
    if (is_dead(link))
        link_break(link);
    else
        link_move(link, LINK_QUIET);
}

void link_settle(struct pg_link *link)
{
    if (link->phase == LINK_LANE) {
        lane_settle(link);
        return;
    }
    if (link->phase != LINK_QUIET && link->phase != LINK_BROKEN)
        return;
    if (!link_cancel_drop(link) && link->phase == LINK_QUIET)
        return;
    if (link->request != NULL)
        request_end(link);
    else if (link->copy != NULL)
        copy_end(link);
    else if (link->phase == LINK_BROKEN)
        tell_lost(link);
    else if (link->conn.state == CONN_CANCELLING)
        pool_conn_cancelled(&link->conn, true, link_now(link));
}

/* ---- what the pool asks of it while somebody has it */

void link_later(struct pg_link *link, void (*fn)(struct loop_job *job))
{
    link->job.fn = fn;
    loop_defer(link->pg->loop, LOOP_RUN, &link->job);
}

static void on_settle_job(struct loop_job *job)
{
    link_settle(container_of(job, struct pg_link, job));
}

void link_stop(struct conn *conn)
{
    struct pg_link *link = link_of(conn);

    /* when all has come, it is a cancel on its way that keeps it busy */
    if (link->phase == LINK_QUIET || link->phase == LINK_BROKEN)
        link_later(link, on_settle_job);
    else
        link_cancel_start(link);
}

void link_abandon(struct conn *conn)
{
    struct pg_link *link = link_of(conn);

    if (link->request != NULL)
        request_take_back(link);
    copy_take_back(link);
}

/* ---- reading */

/* What to do with the answers that are due in each phase. */
static const struct {
    void (*answer)(struct pg_link *link, PGresult *answer);
    void (*end)(struct pg_link *link);
} readers[LINK_PHASES] = {
    [LINK_PREPARING] = { query_prepare_answer, query_prepared },
    [LINK_RUNNING] = { query_run_answer, query_ran },
    [LINK_CHORE] = { chore_answer, chore_end },
};

/*
 * Reads once.  Under TLS libpq may leave bytes in the TLS library, which no
 * poll will ever tell of: so then until the socket is empty, and on, for they
 * are at most one record of 16 KiB and libpq takes at least half of that.
 */
static bool consume(struct pg_link *link)
{
    enum { READS_MAX = 32 }; /* in one turn */
    int waiting = 1;

    link->is_undrained = false;
    if (PQconsumeInput(link->pq) == 0)
        return false;
    if (!PQsslInUse(link->pq))
        return true;
    for (int reads = 0; waiting > 0; reads++) {
        if (reads == READS_MAX) {
            link->is_undrained = true;
            return true;
        }
        (void)PQisBusy(link->pq); /* makes room */
        if (ioctl(PQsocket(link->pq), FIONREAD, &waiting) != 0)
            waiting = 0;
        if (PQconsumeInput(link->pq) == 0)
            return false;
    }
    return PQconsumeInput(link->pq) == 1;
}

/* Drops what a COPY sends; true when it has ended. */
static bool drop_copied(struct pg_link *link)
{
    char *row = NULL;
    int len;

    while ((len = PQgetCopyData(link->pq, &row, 1)) > 0)
        PQfreemem(row);
    if (len != 0)
        link->is_copying = false;
    return len != 0;
}

/* In a group a NULL stands behind each answer, and a sync at the end. */
static bool is_last(const struct pg_link *link, const PGresult *answer)
{
    if (link->phase == LINK_PREPARING)
        return answer != NULL ? PQresultStatus(answer) == PGRES_PIPELINE_SYNC
                              : is_dead(link);
    return answer == NULL;
}

/* Hands on the answers that have come; true when the last one has. */
static bool take_answers(struct pg_link *link)
{
    while (link->phase != LINK_BROKEN &&
           (!link->is_copying || drop_copied(link)) && !PQisBusy(link->pq)) {
        PGresult *answer = PQgetResult(link->pq);

        if (is_last(link, answer)) {
            PQclear(answer);
            return !is_dead(link) || link->phase != LINK_PREPARING;
        }
        if (answer == NULL)
            continue;
        link->is_garbled = link_is_garbled(answer);
        readers[link->phase].answer(link, answer);
        if (link->is_garbled)
            return link->phase != LINK_PREPARING;
    }
    return false;
}

static void on_ready(struct watch *watch, int events, void *ud)
{
    struct pg_link *link = ud;
    bool is_alive = true;
    bool is_done = false;

    (void)watch;
    if ((events & WATCH_READ) != 0 || link->is_undrained) {
        is_alive = consume(link);
        pool_conn_byte(&link->conn, link_now(link));
    }
    if (link->phase == LINK_LANE) {
        is_alive =
            lane_take_answers(link, is_alive) && is_alive && link_flush(link);
        if (!is_alive)
            lane_lose(link);
        return;
    }
    if (link->phase == LINK_COPY) {
        if (!copy_take(link) || !is_alive)
            link_lost(link);
        return;
    }
    if (readers[link->phase].answer != NULL)
        is_done = take_answers(link);
    if (!is_done || link->listener != NULL)
        listen_take(link); /* of what nobody asked for */
    is_alive = is_alive && link_flush(link);
    if (is_done)
        readers[link->phase].end(link);
    else if (!is_alive)
        link_lost(link);
}

enum err link_begin(struct pg_link *link)
{
    enum err err = watch_open(&link->watch, link->pg->loop, PQsocket(link->pq),
                              on_ready, link);

    if (err != ERR_OK)
        return err;
    watch_want(link->watch, WATCH_READ);
    link_move(link, LINK_QUIET);
    return ERR_OK;
}
