/* lane_read.c - see lane.h: the answers on a lane, and what is learned. */
#include "pg/lane.h"

#include "pg/heed.h"
#include "pg/phase.h"
#include "pg/query.h"
#include "pg/request.h"
#include "pg/words.h"
#include "pool/lane.h"
#include "pool/lane_queue.h"
#include "pool/pool.h"

#include <string.h>

/* Off the cache, not at the server; later answers may still refer to it. */
static void forget_stmt(struct pg_link *link, struct stmt *stmt)
{
    if (stmt != NULL && stmts_take(&link->stmts, stmt))
        list_push_back(&link->absent, &stmt->order);
}

static void again(struct pg_link *link, struct step *step)
{
    struct pg_request *request = step->request;

    step->has_failed = true;
    if (request == NULL)
        return;
    step->request = NULL;
    request->was_sent = false;
    request->place = PG_PLACE_AGAIN;
    list_push_back(&link->again, &request->item.node);
    lanes_count_resend(link->lane.lanes);
}

static void reroute(struct pg_link *link, struct step *step)
{
    struct pg_request *request = step->request;

    step->has_failed = true;
    step->known->is_writer = true;
    if (request == NULL)
        return;
    step->request = NULL;
    request->link = NULL;
    request->was_sent = false;
    request->place = PG_PLACE_QUEUE;
    lanes_reroute(link->lane.lanes, &request->item);
}

/* The server does not know the statement, or knows it otherwise than we do.  An
 * old plan may be on each lane, and behind a pooler for any name: what meets
 * one goes without a name, and meets no other. */
static bool is_stale(struct pg_link *link, struct step *step,
                     const PGresult *error)
{
    struct pg_request *request = step->request;
    bool is_old = link_is_plan_old(error) && step->stmt != NULL;

    if (is_old)
        stmts_drop(&link->stmts, step->stmt, true);
    else if (link_has_sqlstate(error, "26000") ||
             link_has_sqlstate(error, "42P05"))
        forget_stmt(link, step->stmt);
    else
        return false;
    if (request == NULL)
        return true;
    if (is_old) {
        request->is_unnamed = true;
        return true;
    }
    if (request->is_retried)
        return false;
    request->is_retried = true;
    return true;
}

/* A cancel that was meant for another. */
static bool is_innocent(const struct pg_link *link, const struct step *step,
                        const PGresult *error)
{
    return link->lane.is_held && link_has_sqlstate(error, "57014") &&
           (link->lane.kind == LANE_READ ||
            known_check(&link->pg->knowns, step->known) == CALLS_HARMLESS);
}

static void fail(struct pg_link *link, struct step *step, PGresult *error)
{
    struct pg_request *request = step->request;
    struct err_text text = { .text = "" };

    step->has_failed = true;
    if (request == NULL &&
        link_has_sqlstate(error, "57014")) /* for being slow */
        step->known->cost_ns = link_now(link) - link->lane.head_ns;
    if (link->lane.kind == LANE_READ && link_has_sqlstate(error, "25006")) {
        reroute(link, step);
    } else if (is_stale(link, step, error) || is_innocent(link, step, error)) {
        again(link, step);
    } else if (request != NULL) {
        step->request = NULL;
        lane_answered(&link->lane, &request->item, link_now(link));
        link_error_text(link, error, &text);
        link_heed(link, &text, link_is_fatal(error));
        lane_end(request, ERR_SERVER, error, &text);
        return;
    }
    PQclear(error);
}

static void take_run(struct pg_link *link, struct step *step, PGresult *answer)
{
    struct pg_request *request = step->request;

    switch (PQresultStatus(answer)) {
    case PGRES_FATAL_ERROR:
    case PGRES_BAD_RESPONSE: fail(link, step, answer); return;
    case PGRES_PIPELINE_ABORTED: again(link, step); break;
    default:
        step->request = NULL;
        if (request != NULL) {
            lane_answered(&link->lane, &request->item, link_now(link));
            lane_end(request, ERR_OK, answer, NULL);
            return;
        }
    }
    PQclear(answer);
}

/* An error in preparing is that of the statement behind it. */
static void take_prepared(struct pg_link *link, struct step *step,
                          PGresult *answer)
{
    struct step *run = lane_step(link, link->steps_head);

    assert(run->kind == STEP_RUN);
    if (PQresultStatus(answer) == PGRES_COMMAND_OK) {
        PQclear(answer);
        return;
    }
    forget_stmt(link, step->stmt);
    if (query_is_error(answer))
        fail(link, run, answer);
    else
        PQclear(answer);
}

/* Of the group that has ended. */
struct group_sum {
    uint64_t known_ns; /* what it was expected to take */
    uint32_t count;
    bool is_odd; /* it did more, or less, than run its statements */
};

static struct group_sum sum_up(const struct pg_link *link)
{
    struct group_sum sum = { .count = 0 };

    for (uint64_t at = link->group_at; at != link->steps_head; at++) {
        const struct step *step = lane_step(link, at);

        if (step->has_failed || step->is_dead || step->kind == STEP_PREPARE ||
            step->kind == STEP_NAMES || step->kind == STEP_CLOSE)
            sum.is_odd = true;
        if (step->known == NULL)
            continue;
        sum.known_ns += step->known->cost_ns;
        sum.count++;
    }
    return sum;
}

/* What the statements of a group took, by what is known of each. */
static void learn(struct pg_link *link)
{
    struct group_sum sum = sum_up(link);
    double took_ns = (double)(link_now(link) - link->lane.head_ns);
    double ratio = sum.known_ns > 0 ? took_ns / (double)sum.known_ns : 1;

    for (uint64_t at = link->group_at; at != link->steps_head; at++) {
        struct step *step = lane_step(link, at);
        struct known *known = step->known;

        step->known = NULL;
        if (known == NULL)
            continue;
        if (!sum.is_odd && known->learned != link->steps_head) {
            known->learned = link->steps_head; /* once a group */
            known->cost_ns = lane_cost(
                known->cost_ns, (uint64_t)((double)known->cost_ns * ratio),
                sum.count);
        }
        known_unuse(known);
    }
}

/* In their order, before all that came later. */
static void send_again(struct pg_link *link)
{
    struct list_node *node;

    while ((node = list_last(&link->again)) != NULL) {
        struct pg_request *request = request_of_item(node);

        list_remove(&link->again, node);
        request->place = PG_PLACE_QUEUE;
        request->link = NULL;
        lanes_return(link->lane.lanes, &request->item);
    }
}

/* A function that passes for harmless may have changed the session; from
 * Postgres 14 on the server tells. */
static bool may_write(const struct pg_link *link)
{
    const char *now =
        PQparameterStatus(link->pq, "default_transaction_read_only");

    return link->lane.kind == LANE_READ && now != NULL &&
           strcmp(now, "off") == 0;
}

/* It cannot be a lane, nor can any other of this pool. */
static void give_back(struct pg_link *link)
{
    struct lane *lane = &link->lane;

    lane_finish(lane);
    lane_ready(lane);
    lane_send_reads_alone(link->pg);
}

static void take_setup(struct pg_link *link)
{
    deadline_stop(link->pg->loop, &link->deadline);
    if (link->awaits_names)
        link->is_set_up = true;
    else if (link->lane.kind == LANE_WRITE || link->is_read_only)
        lane_ready(&link->lane);
    else if (link->pg->is_pooled)
        give_back(link);
    else
        lane_give_up(link);
}

static void take_switch(struct pg_link *link, const PGresult *answer)
{
    struct pg_pool *pg = link->pg;

    if (PQresultStatus(answer) != PGRES_TUPLES_OK)
        return;
    link->is_read_only = PQntuples(answer) == 1;
    if (link->is_read_only || pg->is_pooled)
        return;
    pg->is_pooled = true;
    log_event(pg->log, LOG_WARN, "behind a pooler", LOG_STR("pool", pg->name),
              LOG_STR("effect", "reads do not share connections"));
}

/* Lanes that were to be ready with the list. */
static void on_names(void *ud)
{
    struct pg_pool *pg = ud;

    list_each (node, &pg->lanes.sets[LANE_READ].lanes) {
        struct pg_link *link =
            link_of_lane(container_of(node, struct lane, node));
        bool is_set_up = link->is_set_up;

        link->awaits_names = false;
        link->is_set_up = false;
        if (is_set_up)
            take_setup(link);
    }
}

static void take_names(struct pg_link *link, PGresult *answer)
{
    struct pg_pool *pg = link->pg;

    if (PQresultStatus(answer) != PGRES_TUPLES_OK || PQnfields(answer) != 2) {
        names_failed(&pg->knowns.names, link_now(link));
        PQclear(answer);
        return;
    }
    link->awaits_names = true;
    names_read(&pg->knowns.names, pg->loop, answer, link->conn.epoch, on_names,
               pg);
}

static void take_sync(struct pg_link *link, const struct step *step)
{
    send_again(link);
    if (step->ends_group && may_write(link))
        lane_give_up(link);
    if (step->ends_setup)
        take_setup(link);
    if (step->ends_group) {
        learn(link);
        link->group_at = link->steps_head;
        lane_group_done(&link->lane, link_now(link));
    } else if (link->lane.groups == 0) {
        link->group_at = link->steps_head;
    }
    if (link->n_dead > 0 || link->lane.is_held ||
        link->steps_head == link->steps_tail)
        lane_settle(link);
}

static void take(struct pg_link *link, PGresult *answer)
{
    struct step *step = lane_step(link, link->steps_head++);

    if (step->is_dead)
        link->n_dead--;
    switch (step->kind) {
    case STEP_SWITCH: take_switch(link, answer); break;
    case STEP_NAMES: take_names(link, answer); return;
    case STEP_PREPARE: take_prepared(link, step, answer); return;
    case STEP_RUN: take_run(link, step, answer); return;
    case STEP_CLOSE: stmt_free(step->stmt); break;
    case STEP_SYNC: take_sync(link, step); break;
    }
    PQclear(answer);
}

/* The server says how many rows it changed before it commits, at the Sync: only
 * then is it true. */
static bool is_uncommitted(const struct pg_link *link, const struct step *step,
                           const PGresult *answer)
{
    return link->lane.kind == LANE_WRITE && step->kind == STEP_RUN &&
           !query_is_error(answer) &&
           PQresultStatus(answer) != PGRES_PIPELINE_ABORTED;
}

/* The Sync, or an error of the commit. */
static void take_commit(struct pg_link *link, struct step *step,
                        PGresult *answer)
{
    PGresult *held = step->answer;

    step->answer = NULL;
    if (query_is_error(answer)) {
        PQclear(held);
        take(link, answer);
        return;
    }
    take(link, held);
    take(link, answer);
}

/* Not what is due: libpq's own words, or the last ones of the server. */
static bool is_end(const struct pg_link *link, const PGresult *answer)
{
    const struct step *head = lane_step(link, link->steps_head);

    if (PQstatus(link->pq) == CONNECTION_BAD || link_is_fatal(answer) ||
        link_is_garbled(answer))
        return true;
    if (head->answer != NULL)
        return PQresultStatus(answer) != PGRES_PIPELINE_SYNC &&
               !query_is_error(answer);
    return (PQresultStatus(answer) == PGRES_PIPELINE_SYNC) !=
           (head->kind == STEP_SYNC);
}

static void on_more(struct loop_job *job)
{
    struct pg_link *link = container_of(job, struct pg_link, job);

    if (link->phase != LINK_LANE)
        return;
    if (!lane_take_answers(link, true) || !link_flush(link))
        lane_lose(link);
}

/* Of one that goes anyway all are taken at once. */
static bool leaves_rest(struct pg_link *link, bool may_leave)
{
    if (!may_leave || link->lane.is_held || !loop_is_over(link->pg->loop) ||
        link->steps_head == link->steps_tail)
        return false;
    link_later(link, on_more);
    return true;
}

bool lane_take_answers(struct pg_link *link, bool may_leave)
{
    int n_nulls = 0;

    while (link->steps_head != link->steps_tail && n_nulls < 2 &&
           !PQisBusy(link->pq)) {
        PGresult *answer = PQgetResult(link->pq);
        struct step *head = lane_step(link, link->steps_head);

        n_nulls = answer != NULL ? 0 : n_nulls + 1;
        if (answer == NULL)
            continue;
        if (is_end(link, answer)) {
            PQclear(link->result);
            link->result = answer;
            return false;
        }
        if (head->answer != NULL)
            take_commit(link, head, answer);
        else if (is_uncommitted(link, head, answer))
            head->answer = answer;
        else
            take(link, answer);
        if (leaves_rest(link, may_leave))
            break;
    }
    return PQstatus(link->pq) != CONNECTION_BAD;
}
