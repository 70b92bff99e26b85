/* lane.c - see lane.h: how requests get onto lanes and off, a lane's life. */
#include "pg/lane.h"

#include "pg/cancel.h"
#include "pg/phase.h"
#include "pg/request.h"
#include "pg/request_inside.h"
#include "pool/lane_queue.h"
#include "pool/lease.h"
#include "pool/pool.h"
#include "pool/why.h"

#include <stdlib.h>

/* Times group_target from which on a statement is slow.  What is measured is
 * not the server's work alone; a write's time is mostly that of its commit. */
enum { SLOW_READ = 2, SLOW_WRITE = 8 };

static struct pg_pool *pg_of(struct lanes *lanes)
{
    return container_of(lanes, struct pg_pool, lanes);
}

static uint64_t now_of(const struct pg_pool *pg)
{
    return loop_now_ns(pg->loop);
}

/* ---- which statements */

static bool is_slow(const struct pg_pool *pg, const struct known *known)
{
    uint64_t target_ns = pool_settings(pg->clock.pool)->group_target_ns;
    bool is_read = known->verb == SESSION_READS && !known->is_writer;

    return known->cost_ns > target_ns * (is_read ? SLOW_READ : SLOW_WRITE);
}

/* A read may have to go to a lane so that the list is read. */
static bool are_calls_safe(struct pg_pool *pg, struct known *known)
{
    const struct names *names = &pg->knowns.names;

    switch (known_check(&pg->knowns, known)) {
    case CALLS_UNLISTED:
        return names->failed_ns == 0 ||
               now_of(pg) - names->failed_ns >= NAMES_PAUSE_NS;
    case CALLS_UNKNOWN:
        return !names->is_coming &&
               now_of(pg) - names->read_ns >= NAMES_PAUSE_NS;
    case CALLS_VOLATILE: return false;
    case CALLS_HARMLESS: break;
    }
    return true;
}

bool lane_suits(struct pg_pool *pg, struct pg_request *request)
{
    struct known *known = request->known;

    if (known == NULL || known->verb == SESSION_OTHER || !known->is_described ||
        known->cost_ns == 0 || known->n_params != request->n_params ||
        is_slow(pg, known) ||
        pool_settings(pg->clock.pool)->statement_cache == 0)
        return false;
    request->item.kind = LANE_WRITE;
    if (known->verb == SESSION_WRITES)
        return true;
    if (!known->is_writer) {
        request->item.kind = LANE_READ;
        if (pg->is_pooled)
            return false;
    }
    return are_calls_safe(pg, known);
}

/* ---- the end of a request */

void lane_end(struct pg_request *request, enum err err, PGresult *result,
              const struct err_text *text)
{
    deadline_stop(request->loop, &request->deadline);
    known_unuse(request->known);
    request->known = NULL;
    request->place = PG_PLACE_OWN;
    request->link = NULL;
    request->loop = NULL;
    request->pg = NULL;
    request->on_done(request, err, (struct pg_rows *)result, text);
}

/* Nobody wants what the server says to it. */
static void leave_lane(struct pg_request *request)
{
    struct pg_link *link = request->link;
    struct step *step = lane_step(link, request->step);

    assert(step->request == request);
    step->request = NULL;
    step->is_dead = true;
    link->n_dead++;
    lane_watch_dead(link);
}

void lane_cancel_request(struct pg_request *request, enum demand_end why)
{
    struct pg_pool *pg = request->pg;
    struct list_node *node = &request->item.node;

    switch (request->place) {
    case PG_PLACE_QUEUE:
        lanes_cancel(&pg->lanes, &request->item, now_of(pg));
        break;
    case PG_PLACE_LANE:
        lane_forgot(&request->link->lane, &request->item, why, now_of(pg));
        leave_lane(request);
        break;
    case PG_PLACE_AGAIN: list_remove(&request->link->again, node); break;
    case PG_PLACE_ENDING: list_remove(&pg->ending, node); break;
    case PG_PLACE_OWN: break;
    }
    request->place = PG_PLACE_OWN;
    request->link = NULL;
    deadline_stop(pg->loop, &request->deadline);
}

static void explain(struct pg_pool *pg, struct pg_request *request,
                    enum err err, struct err_text *text)
{
    uint64_t now_ns = now_of(pg);
    struct pool_why why;

    request->waiter.since_ns = request->item.since_ns;
    if (request->waiter.phase_ns[WAIT_QUEUE] == 0)
        request->waiter.phase_ns[WAIT_QUEUE] = now_ns - request->item.since_ns;
    pool_explain(pg->clock.pool, &request->waiter, err, now_ns, &why);
    *text = (struct err_text){ .text = "" };
    pool_why_text(&why, pg->name, text);
}

static void refuse(struct lanes *lanes, struct lane_item *item, enum err err,
                   const struct pool_waiter *waiter)
{
    struct pg_request *request = container_of(item, struct pg_request, item);
    struct err_text text;

    (void)waiter;
    explain(pg_of(lanes), request, err, &text);
    lane_end(request, err, NULL, &text);
}

static void on_deadline(struct deadline *deadline)
{
    struct pg_request *request =
        container_of(deadline, struct pg_request, deadline);
    struct pg_pool *pg = request->pg;
    struct err_text text = { .text = "" };

    if (request->place == PG_PLACE_QUEUE) {
        lanes_expire(&pg->lanes, &request->item, now_of(pg));
        explain(pg, request, ERR_TIMEOUT, &text);
        lane_end(request, ERR_TIMEOUT, NULL, &text);
        return;
    }
    if (now_of(pg) < request->deadline_ns) { /* that was of the queue */
        deadline_start(pg->loop, deadline, request->deadline_ns);
        return;
    }
    lane_cancel_request(request, DEMAND_TIMEOUT);
    err_text_set(&text, "the statement did not end within %.3g s",
                 (double)request->timeout_ns / 1e9);
    lane_end(request, ERR_TIMEOUT, NULL, &text);
}

enum err lane_submit(struct pg_pool *pg, struct pg_request *request)
{
    uint64_t now_ns = now_of(pg);
    uint64_t acquire_ns =
        now_ns + pool_settings(pg->clock.pool)->acquire_timeout_ns;
    enum err err;

    request->item.cost_ns = request->known->cost_ns;
    err = lanes_add(&pg->lanes, &request->item, now_ns);
    if (err != ERR_OK)
        return err;
    request->place = PG_PLACE_QUEUE;
    request->was_moved = false;
    request->is_retried = false;
    request->is_unnamed = false;
    request->waiter.phase_ns[WAIT_QUEUE] = 0;
    request->deadline.fn = on_deadline;
    deadline_start(pg->loop, &request->deadline,
                   request->deadline_ns < acquire_ns ? request->deadline_ns
                                                     : acquire_ns);
    return ERR_OK;
}

void lane_send_reads_alone(struct pg_pool *pg)
{
    struct list *queue = &pg->lanes.sets[LANE_READ].queue;

    for (uint32_t count = queue->len; count > 0 && queue->len > 0; count--) {
        struct pg_request *request = request_of_item(list_first(queue));

        lanes_remove(&pg->lanes, &request->item);
        request_send_alone(request);
    }
}

/* ---- running the lanes */

void lane_wake(struct pg_pool *pg)
{
    lane_pump_wake(&pg->pump);
}

static void wake(struct lanes *lanes)
{
    lane_wake(pg_of(lanes));
}

void lane_pool_init(struct pg_pool *pg)
{
    lanes_init(&pg->lanes, pg->clock.pool, &lane_ops);
    lane_pump_init(&pg->pump, pg->loop, &pg->lanes);
    lane_init_lost(pg);
}

void lane_pool_close(struct pg_pool *pg)
{
    lanes_refuse_all(&pg->lanes, ERR_CLOSED);
    lane_pump_stop(&pg->pump);
    lane_end_all_lost(pg);
}

/* ---- a lane's life */

static void on_lost(struct loop_job *job)
{
    lane_lose(container_of(job, struct pg_link, job));
}

void lane_give_up(struct pg_link *link)
{
    link->lane.is_held = true;
    link_later(link, on_lost);
}

static void begin(struct lanes *lanes, struct conn *conn, enum lane_kind kind)
{
    struct pg_link *link = link_of(conn);

    assert(link->phase == LINK_QUIET && link->request == NULL);
    lane_begin(&link->lane, lanes, conn, kind, link_now(link));
    link->steps_head = link->steps_tail;
    link->group_at = link->steps_tail;
    link->n_dead = 0;
    link->awaits_names = false;
    link->is_set_up = false;
    list_init(&link->again);
    list_init(&link->absent);
    link->text.text[0] = '\0';
    link_move(link, LINK_LANE);
    if (!lane_send_setup(link, kind))
        lane_give_up(link);
    else if (!link->lane.is_ready)
        lane_watch_setup(link);
}

static void end(struct lane *lane)
{
    struct pg_link *link = link_of_lane(lane);

    assert(link->steps_head == link->steps_tail);
    lane_drop_absent(link);
    lane_leave(lane);
    deadline_stop(link->pg->loop, &link->deadline);
    if (PQexitPipelineMode(link->pq) == 1)
        link_rest(link);
    else
        link_break(link);
    pool_release(link->pg->clock.pool, &link->conn, link_now(link));
}

void lane_unshare(struct conn *conn)
{
    lane_finish(&link_of(conn)->lane);
}

/* ---- looking again */

void lane_settle(struct pg_link *link)
{
    if (link->steps_head != link->steps_tail) {
        lane_watch_dead(link);
        return;
    }
    lane_drop_absent(link);
    if (!link->lane.is_held || !link_cancel_drop(link))
        return;
    link->lane.is_held = false;
    deadline_stop(link->pg->loop, &link->deadline);
    lane_wake(link->pg);
}

const struct lanes_ops lane_ops = {
    .begin = begin,
    .send = lane_send_group,
    .end = end,
    .refuse = refuse,
    .wake = wake,
};
