/* lane_lose.c - see lane.h: what becomes of those on a lane that is lost. */
#include "pg/lane.h"
#include "pg/request.h"
#include "pool/lane.h"
#include "pool/lane_queue.h"
#include "pool/lease.h"

void lane_drop_absent(struct pg_link *link)
{
    struct list_node *node;

    while ((node = list_pop_front(&link->absent)) != NULL)
        stmt_free(container_of(node, struct stmt, order));
}

/* What the steps own or use; their requests are gone. */
static void drop_steps(struct pg_link *link)
{
    for (; link->group_at != link->steps_head; link->group_at++)
        known_unuse(lane_step(link, link->group_at)->known);
    for (; link->steps_head != link->steps_tail; link->steps_head++) {
        struct step *step = lane_step(link, link->steps_head);

        PQclear(step->answer);
        known_unuse(step->known);
        if (step->kind == STEP_CLOSE)
            stmt_free(step->stmt);
        if (step->kind == STEP_NAMES)
            link->pg->knowns.names.is_coming = false;
    }
    lane_drop_absent(link);
}

/* Reads may run once more; a write may have happened. */
static bool may_move(const struct pg_link *link, struct pg_request *request)
{
    if (link->lane.kind == LANE_WRITE || request->was_moved)
        return false;
    request->was_moved = true;
    return true;
}

static uint32_t move_requests(struct pg_link *link, struct lanes *lanes)
{
    struct pg_pool *pg = link->pg;
    struct list_node *node;
    uint32_t n_moved;

    for (uint64_t at = link->steps_head; at != link->steps_tail; at++) {
        struct step *step = lane_step(link, at);
        struct pg_request *request = step->request;

        if (request == NULL)
            continue;
        step->request = NULL;
        request->link = NULL;
        if (may_move(link, request)) {
            list_push_back(&link->again, &request->item.node);
            lanes_count_resend(lanes);
        } else {
            request->place = PG_PLACE_ENDING;
            list_push_back(&pg->ending, &request->item.node);
        }
    }
    n_moved = link->again.len;
    while ((node = list_last(&link->again)) != NULL) {
        struct pg_request *request = request_of_item(node);

        list_remove(&link->again, node);
        request->place = PG_PLACE_QUEUE;
        request->link = NULL;
        request->was_sent = false;
        lanes_return(lanes, &request->item);
    }
    return n_moved;
}

static void end_first_lost(struct pg_pool *pg)
{
    struct list_node *node = list_pop_front(&pg->ending);

    lane_end(request_of_item(node), ERR_LOST, NULL, &pg->lost_text);
}

/* As many as there is time for. */
static void end_lost(struct pg_pool *pg)
{
    while (pg->ending.len > 0) {
        end_first_lost(pg);
        if (loop_is_over(pg->loop)) {
            loop_defer(pg->loop, LOOP_RUN, &pg->end_job);
            return;
        }
    }
}

static void on_end_job(struct loop_job *job)
{
    end_lost(container_of(job, struct pg_pool, end_job));
}

void lane_init_lost(struct pg_pool *pg)
{
    list_init(&pg->ending);
    pg->end_job.fn = on_end_job;
}

void lane_end_all_lost(struct pg_pool *pg)
{
    while (pg->ending.len > 0)
        end_first_lost(pg);
    loop_cancel(pg->loop, LOOP_RUN, &pg->end_job);
}

void lane_lose(struct pg_link *link)
{
    struct pg_pool *pg = link->pg;
    struct lanes *lanes = link->lane.lanes;
    uint32_t n_moved;

    link_break(link);
    pg->lost_text = link->text; /* the link goes */
    n_moved = move_requests(link, lanes);
    log_event(pg->log, LOG_WARN, "lane lost", LOG_STR("pool", pg->name),
              LOG_INT("conn", link->conn.id), LOG_INT("moved", n_moved),
              LOG_INT("lost", pg->ending.len),
              LOG_STR("error", pg->lost_text.text));
    lane_leave(&link->lane);
    drop_steps(link);
    deadline_stop(pg->loop, &link->deadline);
    pool_discard(pg->clock.pool, &link->conn, CLOSE_LOST,
                 loop_now_ns(pg->loop));
    end_lost(pg);
}

static void tell_closed(struct loop_job *job)
{
    struct pg_request *request = container_of(job, struct pg_request, job);
    struct err_text text = { .text = "" };

    err_text_set(&text, "%s", err_sentence(ERR_CLOSED));
    lane_end(request, ERR_CLOSED, NULL, &text);
}

static void orphan(struct pg_request *request)
{
    struct loop *loop = request->loop;

    deadline_stop(loop, &request->deadline);
    known_unuse(request->known);
    request->known = NULL;
    request->place = PG_PLACE_OWN;
    request->link = NULL;
    request->pg = NULL;
    request->job.fn = tell_closed;
    loop_defer(loop, LOOP_RUN, &request->job);
}

void lane_abandon(struct pg_link *link)
{
    struct list_node *node;

    if (link->lane.lanes == NULL)
        return;
    for (uint64_t at = link->steps_head; at != link->steps_tail; at++)
        if (lane_step(link, at)->request != NULL)
            orphan(lane_step(link, at)->request);
    while ((node = list_pop_front(&link->again)) != NULL)
        orphan(request_of_item(node));
    lane_leave(&link->lane);
    drop_steps(link);
    deadline_stop(link->pg->loop, &link->deadline);
}
