/* copy.c - see copy.h. */
#include "pg/copy.h"
#include "net/watch.h"

#include "pg/cancel.h"
#include "pg/heed.h"
#include "pg/link.h"
#include "pg/phase.h"
#include "pg/query.h"
#include "pg/request_inside.h"
#include "pg/words.h"

#include <string.h>

enum { DATA_FULL = 256 * 1024 }; /* nothing is read before it is taken */

static void change(struct pg_link *link, enum pg_copy_state state)
{
    link->copying = state;
    if (link->copy == NULL)
        return;
    link->copy->state = state;
    link->copy->on_change(link->copy);
}

static void detach(struct pg_link *link, enum err err)
{
    struct pg_copy *copy = link->copy;

    link->copy = NULL;
    copy->link = NULL;
    copy->err = err;
    copy->state = PG_COPY_DONE;
    copy->on_change(copy);
}

void copy_lose(struct pg_link *link, const struct err_text *why)
{
    if (link->copy == NULL)
        return;
    link->copy->text = *why;
    detach(link, ERR_LOST);
}

/* ---- what the server says */

static void keep_result(struct pg_link *link, PGresult *result)
{
    if (link_is_garbled(result))
        link->is_garbled = true;
    /* the first error counts */
    if (link->result != NULL && query_is_error(link->result)) {
        PQclear(result);
        return;
    }
    PQclear(link->result);
    link->result = result;
}

static bool give_up_input(struct pg_link *link, const char *why)
{
    change(link, PG_COPY_ENDING);
    return PQputCopyEnd(link->pq, why) == 1;
}

static bool start(struct pg_link *link)
{
    PGresult *result = PQgetResult(link->pq);

    switch (PQresultStatus(result)) {
    case PGRES_COPY_OUT: change(link, PG_COPY_OUT); break;
    case PGRES_COPY_IN:
        change(link, PG_COPY_IN);
        if (link->copy == NULL && !give_up_input(link, "given up"))
            return false;
        break;
    default:
        keep_result(link, result);
        change(link, PG_COPY_ENDING);
        return true;
    }
    PQclear(result);
    return true;
}

static bool is_full(const struct pg_link *link)
{
    return link->copy != NULL && !link->copy->is_stopped &&
           link->copy->data.len >= DATA_FULL;
}

/* One row to the holder, if there is one who wants it. */
static void keep_row(struct pg_link *link, char *row, int len)
{
    struct pg_copy *copy = link->copy;

    if (copy != NULL && !copy->is_stopped)
        buf_put(&copy->data, row, (size_t)len);
    PQfreemem(row);
}

/* False when no more can be had now. */
static bool take_rows(struct pg_link *link)
{
    char *row = NULL;
    int len = 0;

    while (!is_full(link) && (len = PQgetCopyData(link->pq, &row, 1)) > 0)
        keep_row(link, row, len);
    if (link->copy != NULL && link->copy->data.len > 0)
        link->copy->on_change(link->copy);
    if (len >= 0)
        return false;
    change(link, PG_COPY_ENDING);
    return true;
}

/* False when more results are to come. */
static bool take_results(struct pg_link *link)
{
    while (!PQisBusy(link->pq)) {
        PGresult *result = PQgetResult(link->pq);

        if (result == NULL)
            return true;
        keep_result(link, result);
    }
    return false;
}

/* Waits for the holder when it has enough, else for the server. */
static void listen_on(struct pg_link *link)
{
    if (link->copying == PG_COPY_OUT && is_full(link))
        watch_want(link->watch, 0);
}

static bool flush(struct pg_link *link)
{
    struct pg_copy *copy = link->copy;

    if (!link_flush(link))
        return false;
    if (copy != NULL && copy->is_full && PQflush(link->pq) == 0) {
        copy->is_full = false;
        copy->on_change(copy);
    }
    listen_on(link);
    return true;
}

bool copy_take(struct pg_link *link)
{
    bool is_ended = false;

    if (link->copying == PG_COPY_STARTING && !PQisBusy(link->pq) &&
        !start(link))
        return false;
    if (link->copying == PG_COPY_OUT)
        take_rows(link);
    if (link->copying == PG_COPY_ENDING)
        is_ended = take_results(link);
    if (!flush(link) || PQstatus(link->pq) == CONNECTION_BAD)
        return false;
    if (!is_ended)
        return true;
    if (link->copy == NULL) { /* nobody asks how it ended */
        PQclear(link->result);
        link->result = NULL;
    }
    link_rest(link);
    link_settle(link);
    return true;
}

/* ---- the end */

static enum err outcome(struct pg_link *link, struct pg_copy *copy)
{
    ExecStatusType status = PQresultStatus(link->result);

    if (query_is_error(link->result)) {
        link_error_text(link, link->result, &copy->text);
        link_heed(link, &copy->text, link_is_fatal(link->result));
        return ERR_SERVER;
    }
    if (status == PGRES_COMMAND_OK &&
        strncmp(PQcmdStatus(link->result), "COPY", 4) == 0)
        return ERR_OK;
    err_text_set(&copy->text, "the statement is no COPY ... TO STDOUT or COPY "
                              "... FROM STDIN");
    return ERR_BADARG;
}

void copy_end(struct pg_link *link)
{
    struct pg_copy *copy = link->copy;
    enum err err;

    if (link->phase == LINK_BROKEN) {
        copy_lose(link, &link->text);
        return;
    }
    err = outcome(link, copy);
    if (err == ERR_BADARG)
        PQclear(link->result);
    else
        copy->rows = (struct pg_rows *)link->result;
    link->result = NULL;
    detach(link, err);
}

/* ---- the holder's calls */

enum err pg_copy_begin(struct pg_copy *copy, struct pg_link *link,
                       const char *sql)
{
    if (link->phase == LINK_BROKEN)
        return ERR_LOST;
    if (link->phase != LINK_QUIET || link->cancel != NULL ||
        link->request != NULL)
        return ERR_BUSY;
    PQclear(link->result);
    link->result = NULL;
    link->text.text[0] = '\0';
    copy->link = link;
    copy->state = PG_COPY_STARTING;
    link->copy = copy;
    link->copying = PG_COPY_STARTING;
    link_move(link, LINK_COPY);
    if (PQsendQueryParams(link->pq, sql, 0, NULL, NULL, NULL, NULL, 0) == 1 &&
        link_flush(link))
        return ERR_OK;
    link->copy = NULL;
    copy->link = NULL;
    link_lost(link);
    return ERR_LOST;
}

/* From inside the holder's call: nothing is read, what is read is told later.
 */
static void read_on(struct pg_link *link)
{
    link->is_undrained = true; /* libpq may have rows: looks at once */
    watch_want(link->watch, WATCH_READ | WATCH_WRITE);
}

void pg_copy_taken(struct pg_copy *copy)
{
    buf_clear(&copy->data);
    if (copy->link != NULL)
        read_on(copy->link);
}

void pg_copy_stop(struct pg_copy *copy)
{
    copy->is_stopped = true;
    buf_clear(&copy->data);
    if (copy->link == NULL)
        return;
    link_cancel_start(copy->link);
    read_on(copy->link);
}

/* The holder is told by what it is given back, and by DONE. */
static enum err lose(struct pg_copy *copy)
{
    struct pg_link *link = copy->link;

    link_lost(link);
    return ERR_LOST;
}

enum err pg_copy_put(struct pg_copy *copy, const char *data, size_t len)
{
    struct pg_link *link = copy->link;

    assert(copy->state == PG_COPY_IN);
    if (PQputCopyData(link->pq, data, (int)len) != 1 || !link_flush(link))
        return lose(copy);
    copy->is_full = PQflush(link->pq) == 1;
    return ERR_OK;
}

enum err pg_copy_finish(struct pg_copy *copy, const char *why)
{
    struct pg_link *link = copy->link;

    assert(copy->state == PG_COPY_IN);
    if (!give_up_input(link, why) || !link_flush(link))
        return lose(copy);
    return ERR_OK;
}

/* Nobody has it any more: sees to it that it ends. */
static void run_out(struct pg_link *link)
{
    if (link->copying == PG_COPY_IN && !give_up_input(link, "given up")) {
        link_lost(link);
        return;
    }
    if (link->phase == LINK_COPY)
        read_on(link);
}

void pg_copy_leave(struct pg_copy *copy)
{
    struct pg_link *link = copy->link;

    if (link == NULL)
        return;
    link->copy = NULL;
    copy->link = NULL;
    run_out(link);
}

void copy_take_back(struct pg_link *link)
{
    if (link->copy == NULL)
        return;
    err_text_set(&link->copy->text, "%s", pg_taken_text);
    detach(link, ERR_CLOSED);
    run_out(link);
}
