/* query.c - see query.h. */
#include "pg/query.h"

#include "pg/cancel.h"
#include "pg/link.h"
#include "pg/param.h"
#include "pg/param_inside.h"
#include "pg/phase.h"
#include "pg/request.h"
#include "pg/request_inside.h"
#include "pg/session.h"
#include "pg/words.h"
#include "pool/driver.h"
#include "pool/lane.h"
#include "pool/pool.h"

#include <string.h>

/* How long a caller on a lease waits for the end of what was cancelled. */
static const uint64_t STOP_LIMIT_NS = 1000000000;

static const char copy_text[] = "COPY needs db:copy_in or db:copy_out";

/* False for NULL. */
static bool is_error(const PGresult *result)
{
    return result != NULL && query_is_error(result);
}

static void drop_result(struct pg_link *link)
{
    PQclear(link->result);
    link->result = NULL;
}

bool query_is_error(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);

    return status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE;
}

/* ---- sending */

/* Half of it may have been sent, so there is no way back. */
static enum err send_failed(struct pg_link *link)
{
    link_break(link);
    return ERR_LOST;
}

/* What is true only of a connection that the caller keeps. */
static enum err check_traits(struct pg_link *link, unsigned traits)
{
    if ((traits & SESSION_LEASE) == 0 || link->request->pg == NULL)
        return ERR_OK;
    err_text_set(&link->text, "the statement changes its connection's state, "
                              "so it needs one of its own: db:with, "
                              "db:transaction or db:acquire");
    return ERR_BADARG;
}

static enum err check_count(struct pg_link *link, const struct stmt *stmt)
{
    unsigned given = link->request->n_params;
    unsigned wanted = stmt->n_params;
    const char *were = given == 1 ? "was" : "were";

    if (given == wanted)
        return ERR_OK;
    if (wanted > 1)
        err_text_set(&link->text,
                     "the statement has %u parameters ($1..$%u), %u %s given",
                     wanted, wanted, given, were);
    else
        err_text_set(&link->text, "the statement has %s, %u %s given",
                     wanted == 1 ? "1 parameter ($1)" : "no parameters", given,
                     were);
    return ERR_BADARG;
}

/* A stmt without a name is parsed anew; its types may not be known. */
static enum err send_run(struct pg_link *link, const struct stmt *stmt)
{
    struct pg_request *request = link->request;
    struct param_list *params = &link->pg->params;
    int n_params = (int)request->n_params;
    int sent;
    enum err err;

    err = param_list_fill(params, request->params, request->n_params,
                          stmt->types, &link->text);
    if (err != ERR_OK)
        return err;
    if (stmt->name[0] != '\0')
        sent = PQsendQueryPrepared(link->pq, stmt->name, n_params,
                                   params->values, NULL, NULL, 0);
    else
        sent = PQsendQueryParams(link->pq, stmt->sql, n_params, stmt->types,
                                 params->values, NULL, NULL, 0);
    if (sent != 1)
        return send_failed(link);
    link->traits = stmt->traits;
    request->was_sent = true;
    link->ran_ns = link_now(link);
    link_move(link, LINK_RUNNING);
    return link_flush(link) ? ERR_OK : send_failed(link);
}

static enum err run_known(struct pg_link *link, struct stmt *stmt)
{
    enum err err = check_traits(link, stmt->traits);

    if (err == ERR_OK)
        err = check_count(link, stmt);
    if (err == ERR_OK)
        err = send_run(link, stmt);
    if (err == ERR_OK)
        link->stmt = stmt;
    return err;
}

/* Doomed statements are closed in the same round trip; not inside a
 * transaction, which would fail if one were gone already. */
static bool send_group(struct pg_link *link, const struct stmt *stmt)
{
    bool is_idle = PQtransactionStatus(link->pq) == PQTRANS_IDLE;

    link->closes = 0;
    if (PQenterPipelineMode(link->pq) != 1 ||
        PQsendPrepare(link->pq, stmt->name, stmt->sql, 0, NULL) != 1 ||
        PQsendDescribePrepared(link->pq, stmt->name) != 1)
        return false;
    if (is_idle) {
        list_each (node, &link->stmts.doomed) {
            if (!stmt_send_close(container_of(node, struct stmt, order),
                                 link->pq))
                return false;
            link->closes++;
        }
    }
    return PQpipelineSync(link->pq) == 1;
}

static enum err send_prepare(struct pg_link *link, struct stmt *stmt)
{
    link->preparing = stmt;
    link->is_parsed = false;
    link->answers = 0;
    if (!send_group(link, stmt))
        return send_failed(link);
    link->request->was_sent = true;
    link_move(link, LINK_PREPARING);
    return link_flush(link) ? ERR_OK : send_failed(link);
}

static bool has_json(const struct pg_request *request)
{
    for (unsigned i = 0; i < request->n_params; i++)
        if (request->params[i].kind == PG_PARAM_JSON ||
            request->params[i].kind == PG_PARAM_ARRAY)
            return true;
    return false;
}

/* Without a cache the types are asked for only where they matter. */
static enum err run_new(struct pg_link *link, size_t limit)
{
    const struct pg_request *request = link->request;
    struct stmt *stmt;
    enum err err;

    if (memchr(request->sql, '\0', request->sql_len) != NULL) {
        err_text_set(&link->text, "the statement holds a zero byte");
        return ERR_BADARG;
    }
    stmt = stmt_new(&link->stmts, request->sql, request->sql_len);
    if (stmt == NULL)
        return ERR_NOMEM;
    stmt->traits = session_traits(request->sql, request->sql_len);
    err = check_traits(link, stmt->traits);
    if (err == ERR_OK && limit > 0) {
        stmts_trim(&link->stmts, limit - 1);
        return send_prepare(link, stmt);
    }
    stmt->name[0] = '\0';
    if (err == ERR_OK && has_json(request))
        return send_prepare(link, stmt);
    if (err == ERR_OK)
        err = send_run(link, stmt);
    stmt_free(stmt);
    return err;
}

static enum err run(struct pg_link *link)
{
    const struct pg_request *request = link->request;
    size_t limit = request->is_once || link->is_unnamed
                       ? 0
                       : pool_settings(link->pg->clock.pool)->statement_cache;
    struct stmt *stmt = NULL;

    link->stmt = NULL;
    if (limit > 0)
        stmt = stmts_find(&link->stmts, request->sql, request->sql_len);
    return stmt != NULL ? run_known(link, stmt) : run_new(link, limit);
}

/* ---- deadlines */

static void on_deadline(struct deadline *deadline)
{
    struct pg_link *link = container_of(deadline, struct pg_link, deadline);
    struct pg_request *request = link->request;
    bool is_stopping = link->err == ERR_TIMEOUT;

    if (is_stopping) {
        link_break(link);
    } else if (request->pg == NULL) {
        link->err = ERR_TIMEOUT;
        link_cancel_start(link);
        deadline_start(link->pg->loop, &link->deadline,
                       link_now(link) + STOP_LIMIT_NS);
        return;
    }
    request_finish(link, ERR_TIMEOUT);
}

static void fail_later(struct loop_job *job)
{
    struct pg_request *request = container_of(job, struct pg_request, job);

    request_finish(request->link, request->link->err);
}

void query_begin(struct pg_link *link, struct pg_request *request)
{
    assert(link->phase == LINK_QUIET && link->request == NULL);
    link->request = request;
    request->link = link;
    link->is_retried = link->is_unnamed = false;
    link->is_copying = false;
    link->text.text[0] = '\0'; /* of the request before */
    link->text.sqlstate[0] = '\0';
    link->err = run(link);
    if (link->err != ERR_OK) {
        request->job.fn = fail_later;
        loop_defer(link->pg->loop, LOOP_RUN, &request->job);
        return;
    }
    link->deadline.fn = on_deadline;
    deadline_start(link->pg->loop, &link->deadline, request->deadline_ns);
}

/* ---- answers */

void query_prepare_answer(struct pg_link *link, PGresult *answer)
{
    bool is_aborted = PQresultStatus(answer) == PGRES_PIPELINE_ABORTED;
    unsigned place = link->answers++;

    if (place == 0)
        link->is_parsed = !is_error(answer) && !is_aborted;
    if (place < 2 && !is_aborted && !is_error(link->result)) {
        drop_result(link);
        link->result = answer;
        return;
    }
    /* A dying backend gives more errors than answers are due. */
    if (place >= 2 && place < 2 + link->closes && !is_aborted)
        stmt_free(container_of(list_pop_front(&link->stmts.doomed), struct stmt,
                               order));
    PQclear(answer);
}

/* COPY would wait for data, or send it, for ever. */
static void refuse_copy(struct pg_link *link, ExecStatusType status)
{
    if (link->err == ERR_OK) {
        link->err = ERR_BADARG;
        err_text_set(&link->text, "%s", copy_text);
    }
    switch (status) {
    case PGRES_COPY_IN: PQputCopyEnd(link->pq, copy_text); break;
    case PGRES_COPY_OUT:
        link->is_copying = true;
        link_cancel_start(link);
        break;
    default: link_break(link); /* replication */
    }
}

/* What the statement left behind in the session. */
static void note_effect(struct pg_link *link, PGresult *answer)
{
    if (session_makes_functions(PQcmdStatus(answer)))
        names_doubt(&link->pg->knowns.names);
    switch (session_effect(PQcmdStatus(answer), link->traits)) {
    case SESSION_AS_IT_WAS: return;
    case SESSION_TOUCHED:
        if (link->request != NULL && link->request->names_session)
            link->is_named = true;
        else
            link->is_touched = true;
        return;
    case SESSION_DISCARDED:
        link->is_touched = false;
        link->is_named = false;
        pool_conn_bare(&link->conn); /* fall through */
    case SESSION_UNPREPARED: stmts_clear(&link->stmts); link->stmt = NULL;
    }
}

void query_run_answer(struct pg_link *link, PGresult *answer)
{
    ExecStatusType status = PQresultStatus(answer);

    if (!is_error(answer))
        note_effect(link, answer);
    switch (status) {
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH: refuse_copy(link, status); break;
    default:
        if (is_error(link->result))
            break;
        drop_result(link);
        link->result = answer;
        return;
    }
    PQclear(answer);
}

/* ---- ends */

/* The server does not know the statement, or knows it otherwise than we do.
 * Returns whether to try again; inside a transaction nothing can be.  PgBouncer
 * since 1.21 has the old plan for any name: it goes by the text. */
static bool is_stale(struct pg_link *link)
{
    const PGresult *result = link->result;
    bool is_old = link_is_plan_old(result);

    if (!is_error(result) || link->stmt == NULL)
        return false;
    if (!is_old && !link_has_sqlstate(result, "26000"))
        return false;
    stmts_drop(&link->stmts, link->stmt, is_old);
    link->stmt = NULL;
    link->is_unnamed = is_old;
    return true;
}

static bool may_retry(const struct pg_link *link)
{
    return link->request != NULL && link->err == ERR_OK && !link->is_retried &&
           link->phase == LINK_QUIET &&
           PQtransactionStatus(link->pq) == PQTRANS_IDLE;
}

static void retry(struct pg_link *link)
{
    link->is_retried = true;
    drop_result(link);
    link->err = run(link);
    if (link->err != ERR_OK)
        link_settle(link);
}

/* Behind a pooler the name is someone else's, or leads to the old plan. */
static bool is_other(struct pg_link *link)
{
    link->is_unnamed |= link_is_plan_old(link->result);
    return link->is_unnamed || link_has_sqlstate(link->result, "42P05");
}

/* What the server said is now the cache's; else nothing is left of it. */
static struct stmt *keep_prepared(struct pg_link *link, struct stmt *stmt)
{
    enum err err = ERR_SERVER;

    /* it goes with a request that ends while this is under way */
    if (link->result != NULL && !is_error(link->result))
        err = stmt_describe(stmt, link->result);
    if (err == ERR_OK)
        err = stmts_add(&link->stmts, stmt);
    if (err == ERR_OK)
        return stmt;
    if (err != ERR_SERVER)
        link->err = err;
    stmts_give_up(&link->stmts, stmt, link->is_parsed);
    return NULL;
}

/* Without a cache: its types are known now, which is what was asked for. */
static void run_described(struct pg_link *link, struct stmt *stmt)
{
    if (!is_error(link->result)) {
        link->err = stmt_describe(stmt, link->result);
        drop_result(link);
        if (link->err == ERR_OK)
            link->err = check_count(link, stmt);
        if (link->err == ERR_OK)
            link->err = send_run(link, stmt);
    }
    stmt_free(stmt);
}

static void run_prepared(struct pg_link *link, struct stmt *stmt)
{
    bool is_wanted = link->request != NULL && link->err == ERR_OK &&
                     link->phase == LINK_QUIET;

    if (stmt->name[0] == '\0') {
        if (is_wanted)
            run_described(link, stmt);
        else
            stmt_free(stmt);
        return;
    }
    stmt = keep_prepared(link, stmt);
    if (stmt == NULL)
        return;
    drop_result(link);
    if (is_wanted)
        link->err = run_known(link, stmt);
}

void query_prepared(struct pg_link *link)
{
    struct stmt *stmt = link->preparing;

    if (PQexitPipelineMode(link->pq) != 1) {
        link_lost(link);
        return;
    }
    link_rest(link);
    link->preparing = NULL;
    if (link->request != NULL && link->err == ERR_OK)
        link->request->was_sent = false; /* none of it ran */
    if (is_other(link) && may_retry(link)) {
        stmts_give_up(&link->stmts, stmt, link->is_parsed);
        retry(link);
        return;
    }
    run_prepared(link, stmt);
    if (link->request == NULL)
        drop_result(link);
    link_settle(link);
}

/* Of a statement that was not described: only the server counts. */
static void note_miscount(struct pg_link *link)
{
    if (link->err != ERR_OK || link->stmt != NULL || !is_error(link->result) ||
        !link_has_sqlstate(link->result, "08P01") ||
        !link_is_raised_by(link->result, "exec_bind_message"))
        return;
    link->err = ERR_BADARG;
    link_error_text(link, link->result, &link->text);
}

/* For the next time, which may be on a lane. */
static void note_known(struct pg_link *link)
{
    struct known *known = link->request != NULL ? link->request->known : NULL;
    struct knowns *knowns = &link->pg->knowns;

    if (known == NULL || link->err != ERR_OK || link->result == NULL ||
        query_is_error(link->result))
        return;
    if (link->stmt != NULL)
        known_describe(knowns, known, link->stmt->n_params, link->stmt->types);
    known->cost_ns =
        lane_cost(known->cost_ns, link_now(link) - link->ran_ns, 1);
}

void query_ran(struct pg_link *link)
{
    link_rest(link);
    note_known(link);
    note_miscount(link);
    if (is_stale(link) && may_retry(link)) {
        retry(link);
        return;
    }
    if (link->request == NULL)
        drop_result(link);
    link_settle(link);
}
