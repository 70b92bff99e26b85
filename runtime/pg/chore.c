/* chore.c - see chore.h. */
#include "pg/chore.h"

#include "pg/ghost.h"
#include "pg/link.h"
#include "pg/phase.h"
#include "pg/words.h"

static void on_lost_job(struct loop_job *job)
{
    link_lost(container_of(job, struct pg_link, job));
}

bool link_chore(struct pg_link *link, enum link_chore chore)
{
    static const char *const statements[] = {
        [CHORE_TEST] = "",
        [CHORE_ROLLBACK] = "ROLLBACK",
        [CHORE_DISCARD] = "DISCARD ALL",
        [CHORE_WRITABLE] = "RESET default_transaction_read_only",
        [CHORE_UNNAME] = "RESET application_name",
        /* there is none: an error, which is what fails a transaction */
        [CHORE_POISON] = "ROLLBACK TO SAVEPOINT tidepool_statement_timeout",
    };

    link->chore = chore;
    link->is_chore_done = true;
    if (PQsendQuery(link->pq, statements[chore]) != 1)
        return false;
    link_move(link, LINK_CHORE);
    return link_flush(link);
}

static void begin_chore(struct pg_link *link, enum link_chore chore)
{
    if (!link_chore(link, chore))
        link_later(link, on_lost_job);
}

void chore_answer(struct pg_link *link, PGresult *answer)
{
    if (!ghost_answer(link, answer) &&
        PQresultStatus(answer) == PGRES_FATAL_ERROR) {
        link->is_chore_done = false;
        link_error_text(link, answer, &link->text);
    }
    PQclear(answer);
}

/* The session is not as the next borrower expects it. */
static bool is_changed(const struct pg_link *link)
{
    return link->is_touched || link->is_read_only || link->is_named;
}

static enum link_chore cleaning(const struct pg_link *link)
{
    if (link->is_touched)
        return CHORE_DISCARD;
    return link->is_named ? CHORE_UNNAME : CHORE_WRITABLE;
}

static void reset_on(struct pg_link *link)
{
    bool is_done = link->is_chore_done;

    if (is_done && link->chore == CHORE_DISCARD) {
        stmts_clear(&link->stmts);
        link->is_touched = false;
        link->is_read_only = false;
        link->is_named = false;
        pool_conn_bare(&link->conn);
    }
    if (is_done && link->chore == CHORE_UNNAME)
        link->is_named = false;
    if (is_done && link->chore == CHORE_WRITABLE)
        link->is_read_only = false;
    if (!is_done || !is_changed(link))
        pool_conn_reset(&link->conn, is_done, link_now(link));
    else if (!link_chore(link, cleaning(link)))
        link_lost(link);
}

void chore_end(struct pg_link *link)
{
    link_rest(link);
    if (link->phase == LINK_BROKEN && link->chore != CHORE_POISON) {
        link_lost(link);
        return;
    }
    switch (link->chore) {
    case CHORE_TEST:
        pool_conn_tested(&link->conn, link->is_chore_done, link_now(link));
        break;
    case CHORE_ROLLBACK:
    case CHORE_DISCARD:
    case CHORE_UNNAME:
    case CHORE_WRITABLE: reset_on(link); break;
    case CHORE_POISON:
        if (PQtransactionStatus(link->pq) == PQTRANS_INTRANS)
            link_break(link); /* it did not work */
        link_settle(link);
    }
}

void link_test(struct conn *conn)
{
    struct pg_link *link = link_of(conn);

    if (!ghost_ask(link)) {
        begin_chore(link, CHORE_TEST);
        return;
    }
    link->chore = CHORE_TEST;
    link->is_chore_done = true;
    link_move(link, LINK_CHORE);
    if (!link_flush(link))
        link_later(link, on_lost_job);
}

void link_reset(struct conn *conn)
{
    struct pg_link *link = link_of(conn);
    bool is_idle = PQtransactionStatus(link->pq) == PQTRANS_IDLE;

    begin_chore(link, is_idle ? cleaning(link) : CHORE_ROLLBACK);
}

enum conn_wire link_wire(const struct conn *conn)
{
    const struct pg_link *link = link_of(conn);

    if (link->phase == LINK_BROKEN)
        return CONN_BROKEN;
    if (link->phase != LINK_QUIET || link->cancel != NULL)
        return CONN_BUSY;
    switch (PQtransactionStatus(link->pq)) {
    case PQTRANS_IDLE: return is_changed(link) ? CONN_DIRTY : CONN_CLEAN;
    case PQTRANS_INTRANS:
    case PQTRANS_INERROR: return CONN_DIRTY;
    default: return CONN_BROKEN;
    }
}

bool link_keep(struct conn *conn, bool is_baseline)
{
    struct pg_link *link = link_of(conn);

    if (link->phase != LINK_QUIET || link->cancel != NULL ||
        PQtransactionStatus(link->pq) != PQTRANS_IDLE)
        return false;
    if (is_baseline)
        link->is_touched = false;
    return true;
}
