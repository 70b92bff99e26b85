/* lane_send.c - see lane.h: what goes onto the wire of a lane. */
#include "pg/lane.h"

#include "pg/param_inside.h"
#include "pg/request.h"
#include "pg/request_inside.h"
#include "pool/lane.h"
#include "pool/lane_queue.h"
#include "pool/pool.h"

#include <stdlib.h>
#include <string.h>

enum { STEPS_FIRST = 256 };

/* ---- steps */

/* Makes room for so many more, or says that there is no memory. */
static bool reserve(struct pg_link *link, size_t count)
{
    size_t used = (size_t)(link->steps_tail - link->steps_head);
    size_t size = link->steps != NULL ? link->steps_mask + 1 : STEPS_FIRST / 2;
    struct step *steps;

    /* those of the group that runs are looked at once more at its end */
    used += (size_t)(link->steps_head - link->group_at);
    if (link->steps != NULL && used + count <= size)
        return true;
    do {
        size *= 2;
    } while (used + count > size);
    steps = calloc(size, sizeof(*steps));
    if (steps == NULL)
        return false;
    for (uint64_t at = link->group_at; at != link->steps_tail; at++)
        steps[at & (size - 1)] = *lane_step(link, at);
    free(link->steps);
    link->steps = steps;
    link->steps_mask = size - 1;
    return true;
}

static struct step *push(struct pg_link *link, enum step_kind kind)
{
    struct step *step = lane_step(link, link->steps_tail++);

    *step = (struct step){ .kind = kind };
    return step;
}

static bool send_sync(struct pg_link *link)
{
    push(link, STEP_SYNC);
#ifdef LIBPQ_HAS_SEND_PIPELINE_SYNC
    return PQsendPipelineSync(link->pq) == 1;
#else
    return PQpipelineSync(link->pq) == 1;
#endif
}

static bool send_own(struct pg_link *link, enum step_kind kind, const char *sql)
{
    push(link, kind);
    return PQsendQueryParams(link->pq, sql, 0, NULL, NULL, NULL, NULL, 0) ==
               1 &&
           send_sync(link);
}

static bool send_names(struct pg_link *link)
{
    struct names *names = &link->pg->knowns.names;

    names->is_coming = true;
    names->asked = names->doubts;
    return send_own(link, STEP_NAMES, names_sql);
}

/* ---- sending */

static bool need_names(const struct pg_link *link)
{
    const struct names *names = &link->pg->knowns.names;

    if (names->is_coming ||
        (names->failed_ns != 0 &&
         link_now(link) - names->failed_ns < NAMES_PAUSE_NS))
        return false;
    return (names->version == 0 || names->is_stale || names->is_wanted ||
            names->epoch != link->conn.epoch);
}

/* Only where the session is ours: a pooler would set it for whoever it lends
 * the server's connection to next.  Its backend's pid is one it made up. */
static bool send_switch(struct pg_link *link)
{
    char sql[128];

    snprintf(sql, sizeof(sql),
             "SELECT pg_catalog.set_config('default_transaction_read_only', "
             "'on', false) WHERE pg_catalog.pg_backend_pid() = %d",
             PQbackendPID(link->pq));
    return send_own(link, STEP_SWITCH, sql);
}

bool lane_send_setup(struct pg_link *link, enum lane_kind kind)
{
    bool is_sent = true;

    if (!reserve(link, 8) || PQenterPipelineMode(link->pq) != 1)
        return false;
    if (kind == LANE_READ && !link->is_read_only)
        is_sent = send_switch(link);
    if (is_sent && kind == LANE_READ && need_names(link))
        is_sent = send_names(link);
    if (link->steps_head == link->steps_tail)
        lane_ready(&link->lane);
    else
        lane_step(link, link->steps_tail - 1)->ends_setup = true;
    return is_sent && link_flush(link);
}

static void take_out(struct pg_request *request, enum err err,
                     const struct err_text *text)
{
    request->place = PG_PLACE_OWN;
    lane_end(request, err, NULL, text);
}

/* The statement as it is prepared on this link; NULL: it cannot be. */
static struct stmt *prepare(struct pg_link *link, const struct known *known)
{
    size_t limit = pool_settings(link->conn.pool)->statement_cache;
    size_t len = known->node.key_len;
    struct stmt *stmt = stmts_find(&link->stmts, known->sql, len);
    size_t size = known->n_params * sizeof(*known->types);

    if (stmt != NULL)
        return stmt;
    stmt = stmt_new(&link->stmts, known->sql, len);
    if (stmt == NULL)
        return NULL;
    stmt->n_params = known->n_params;
    stmt->types = size > 0 ? malloc(size) : NULL;
    if (size > 0 && stmt->types != NULL)
        memcpy(stmt->types, known->types, size);
    stmts_trim(&link->stmts, limit > 0 ? limit - 1 : 0);
    if ((size > 0 && stmt->types == NULL) ||
        PQsendPrepare(link->pq, stmt->name, stmt->sql, 0, NULL) != 1 ||
        stmts_add(&link->stmts, stmt) != ERR_OK) {
        stmt_free(stmt);
        return NULL;
    }
    push(link, STEP_PREPARE)->stmt = stmt;
    return stmt;
}

/* With the types that it has where it is prepared. */
static bool send_unnamed(struct pg_link *link, const struct pg_request *request)
{
    const struct known *known = request->known;

    return PQsendQueryParams(link->pq, known->sql, (int)request->n_params,
                             known->types, link->pg->params.values, NULL, NULL,
                             0) == 1;
}

static void push_run(struct pg_link *link, struct pg_request *request,
                     struct stmt *stmt)
{
    struct step *step;

    request->link = link;
    request->place = PG_PLACE_LANE;
    request->was_sent = true;
    request->step = link->steps_tail;
    step = push(link, STEP_RUN);
    step->request = request;
    step->stmt = stmt;
    step->known = request->known;
    step->known->users++;
}

static bool send_statement(struct pg_link *link, struct pg_request *request)
{
    struct stmt *stmt;

    if (request->is_unnamed) {
        push_run(link, request, NULL);
        return send_unnamed(link, request);
    }
    stmt = prepare(link, request->known);
    push_run(link, request, stmt);
    return stmt != NULL &&
           PQsendQueryPrepared(link->pq, stmt->name, (int)request->n_params,
                               link->pg->params.values, NULL, NULL, 0) == 1;
}

/* False when the connection cannot be used any more. */
static bool send_run(struct pg_link *link, struct pg_request *request)
{
    struct err_text text = { .text = "" };
    enum err err;

    err = param_list_fill(&link->pg->params, request->params, request->n_params,
                          request->known->types, &text);
    if (err != ERR_OK) {
        if (err != ERR_BADARG)
            err_text_set(&text, "%s", err_sentence(err));
        take_out(request, err, &text);
        return true;
    }
    return send_statement(link, request) &&
           (link->lane.kind == LANE_READ || send_sync(link));
}

/* Closes a statement at the server, with a Sync of its own. */
static bool send_close(struct pg_link *link, struct stmt *stmt)
{
    bool is_sent = stmt_send_close(stmt, link->pq);

    push(link, STEP_CLOSE)->stmt = stmt;
    return is_sent && send_sync(link);
}

static bool send_closes(struct pg_link *link)
{
    struct list_node *node;

    while ((node = list_pop_front(&link->stmts.doomed)) != NULL)
        if (!reserve(link, 8) ||
            !send_close(link, container_of(node, struct stmt, order)))
            return false;
    return true;
}

/* Not any more what it was when it was queued. */
static bool is_misplaced(struct pg_link *link, struct pg_request *request)
{
    return link->lane.kind == LANE_READ &&
           known_check(&link->pg->knowns, request->known) != CALLS_HARMLESS;
}

static bool send_all(struct pg_link *link, struct list *group)
{
    struct list_node *node;

    if (!reserve(link, group->len * 3 + 8))
        return false;
    if (link->lane.kind == LANE_READ && need_names(link) && !send_names(link))
        return false;
    while ((node = list_first(group)) != NULL) {
        struct pg_request *request = request_of_item(node);

        list_remove(group, node);
        if (is_misplaced(link, request))
            request_send_alone(request);
        else if (!send_run(link, request))
            return false;
    }
    return true;
}

void lane_send_group(struct lane *lane, struct list *group)
{
    struct pg_link *link = container_of(lane, struct pg_link, lane);
    uint64_t first = link->steps_tail;
    struct list_node *node;
    bool is_sent = send_all(link, group);

    if (is_sent && link->steps_tail == first) {
        lane_group_done(lane, link_now(link)); /* all went elsewhere */
        return;
    }
    if (is_sent && lane_step(link, link->steps_tail - 1)->kind != STEP_SYNC)
        is_sent = send_sync(link);
    is_sent = is_sent && send_closes(link);
    if (is_sent)
        lane_step(link, link->steps_tail - 1)->ends_group = true;
    if (is_sent && link_flush(link))
        return;
    while ((node = list_last(group)) != NULL) {
        list_remove(group, node);
        lanes_return(lane->lanes, &request_of_item(node)->item);
    }
    lane_give_up(link);
}
