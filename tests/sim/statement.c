/* statement.c - statements on lanes: the real pool/lanes, and a server that
 * answers what is on a connection one after another. */
#include "pool/driver.h"
#include "pool/flight.h"
#include "pool/lane.h"
#include "pool/lane_queue.h"
#include "pool/lease.h"
#include "rules.h"

enum { FLOW_DEPTH = 8, FLOW_BUSY = 4 };

static struct worker *worker_of(struct lanes *lanes)
{
    return container_of(lanes, struct worker, lanes);
}

static struct link *of_lane(const struct lane *lane)
{
    return container_of(lane, struct link, lane);
}

static struct demand *of_item(struct list_node *node)
{
    return container_of(node, struct demand, item.node);
}

static struct step *step_at(struct link *link, unsigned at)
{
    return &link->steps[at % STEPS_MAX];
}

static void wake(struct lanes *lanes)
{
    worker_of(lanes)->pump_ns = worker_of(lanes)->world->now_ns;
}

/* ---- the server */

static void on_reply(void *ud, uint64_t now_ns);

static void serve(struct link *link)
{
    if (link->is_serving || link->head == link->tail)
        return;
    link->is_serving = true;
    link_after(link, step_at(link, link->head)->ns, on_reply);
}

static void on_stall(void *ud, uint64_t now_ns)
{
    struct link *link = ud;

    (void)now_ns;
    if (link_end_event(link) || !link->is_mute || link->lane.lanes == NULL)
        return;
    if (link->head != link->tail || !link->lane.is_ready)
        lane_lost(link, CLOSE_STALLED);
}

void lane_watch_stall(struct link *link)
{
    if (link->lane.lanes != NULL && link->is_mute)
        link_after(link, link->worker->settings.stall_timeout_ns, on_stall);
}

/* ---- the end of a group */

/* In their order, before all that came later. */
static void return_again(struct link *link)
{
    struct lanes *lanes = link->lane.lanes;

    while (link->again.len > 0) {
        struct list_node *node = list_last(&link->again);
        struct demand *demand = container_of(node, struct demand, node);

        list_remove(&link->again, node);
        demand->state = DEMAND_QUEUED;
        demand->link = NULL;
        lanes_return(lanes, &demand->item);
    }
}

static void put_again(struct link *link, struct demand *demand)
{
    demand->state = DEMAND_AGAIN;
    list_push_back(&link->again, &demand->node);
    lanes_count_resend(link->lane.lanes);
}

/* Those behind an error in its group: the server skips them. */
static void abort_group(struct link *link)
{
    while (!step_at(link, link->head - 1)->ends_group) {
        struct step *step = step_at(link, link->head++);

        if (step->demand != NULL)
            put_again(link, step->demand);
    }
}

static void answer(struct link *link, struct step *step)
{
    struct worker *worker = link->worker;
    struct demand *demand = step->demand;
    uint64_t now_ns = worker->world->now_ns;

    if (demand->state != DEMAND_SENT || demand->link != link ||
        demand->sends != step->sent)
        world_fail(worker->world, "an answer to demand %llu is not for it",
                   (unsigned long long)demand->joined);
    if (step->answer == ANSWER_WRITES && link->lane.kind == LANE_READ &&
        !worker->world->schedule->has_flow) {
        demand->state = DEMAND_QUEUED;
        demand->link = NULL;
        lanes_reroute(link->lane.lanes, &demand->item);
        return;
    }
    worker->tally.completions++;
    lane_answered(&link->lane, &demand->item, now_ns);
    demand_over(demand, step->answer == ANSWER_ERROR ? ERR_SERVER : ERR_OK);
}

static void on_reply(void *ud, uint64_t now_ns)
{
    struct link *link = ud;
    bool has_flow = link->worker->world->schedule->has_flow;
    struct step *step;

    if (link_end_event(link) || link->lane.lanes == NULL)
        return;
    link->is_serving = false;
    if (link->is_mute)
        return;
    step = step_at(link, link->head++);
    link->alive_ns = now_ns;
    pool_conn_byte(&link->conn, now_ns);
    if (step->demand != NULL)
        answer(link, step);
    if (!has_flow && link->lane.kind == LANE_READ &&
        step->answer != ANSWER_ROWS)
        abort_group(link);
    if (!has_flow && step_at(link, link->head - 1)->ends_group) {
        return_again(link);
        lane_group_done(&link->lane, now_ns);
    } else if (has_flow && link->head == link->tail) {
        lane_rests(&link->lane, now_ns);
    }
    serve(link);
}

/* ---- what lanes ask for */

static void on_ready(void *ud, uint64_t now_ns)
{
    struct link *link = ud;

    (void)now_ns;
    if (link_end_event(link) || link->lane.lanes == NULL || link->is_mute)
        return;
    if (link->fate == FATE_BADLY)
        lane_lost(link, CLOSE_LOST);
    else
        lane_ready(&link->lane);
}

static void begin(struct lanes *lanes, struct conn *conn, enum lane_kind kind)
{
    struct worker *worker = worker_of(lanes);
    struct link *link = link_of(conn);
    uint64_t ns;

    rule_lent(link, NULL);
    worker->tally.acquires++;
    worker->passed[conn->class] = 0;
    lane_begin(&link->lane, lanes, conn, kind, worker->world->now_ns);
    link->head = link->tail = 0;
    link->is_serving = false;
    link->fate = fate_take(worker, OP_SETUP, &ns);
    world_note(worker->world, "link %u becomes a lane, kind %d", link->number,
               (int)kind);
    if (link->fate == FATE_NEVER)
        link->is_mute = true;
    if (link->is_mute)
        lane_watch_stall(link);
    else if (kind == LANE_WRITE || worker->world->schedule->has_flow)
        lane_ready(&link->lane);
    else
        link_after(link, ns, on_ready);
}

static void send_one(struct link *link, struct demand *demand)
{
    struct world *world = link->worker->world;
    struct step *step = step_at(link, link->tail++);

    if (demand->state != DEMAND_QUEUED)
        world_fail(world, "demand %llu is sent and was not queued",
                   (unsigned long long)demand->joined);
    if (demand->item.kind != link->lane.kind)
        world_fail(world, "demand %llu is on a lane of the other kind",
                   (unsigned long long)demand->joined);
    if (demand->item.kind == LANE_WRITE && demand->sends > 0 &&
        demand->action->how != ANSWER_WRITES)
        world_fail(world, "a write is sent twice");
    rule_turn(demand);
    demand->state = DEMAND_SENT;
    demand->link = link;
    demand->sends++;
    *step = (struct step){
        .demand = demand,
        .sent = demand->sends,
        .ns = demand->action->ns,
        .answer = (enum answer)demand->action->how,
    };
    world_note(world, "demand %llu is sent on link %u",
               (unsigned long long)demand->joined, link->number);
}

static void send_group(struct lane *lane, struct list *group)
{
    struct link *link = of_lane(lane);
    struct worker *worker = link->worker;
    struct list_node *node;

    if (group->len == 0 || !lane->is_ready ||
        group->len > worker->settings.group_max ||
        lane->groups > LANE_GROUPS_MAX)
        world_fail(worker->world, "a group of %u, %u in flight", group->len,
                   lane->groups);
    if (lane->groups > 1 && worker->world->now_ns - lane->head_ns >
                                worker->settings.group_target_ns)
        world_fail(worker->world, "a late lane takes one more");
    while ((node = list_pop_front(group)) != NULL)
        send_one(link, of_item(node));
    step_at(link, link->tail - 1)->ends_group = true;
    lane_watch_stall(link);
    serve(link);
}

/* One at a time when they are many: the others go back. */
static void send_flow(struct lane *lane, struct list *group)
{
    struct link *link = of_lane(lane);
    uint32_t most = group->len > 4 ? group->len / 2 : group->len;
    struct list_node *node;

    if (group->len == 0 || link->tail - link->head + group->len > FLOW_DEPTH)
        world_fail(link->worker->world, "%u more are on a lane of %u",
                   group->len, link->tail - link->head);
    for (; most > 0; most--)
        send_one(link, of_item(list_pop_front(group)));
    while ((node = list_last(group)) != NULL) {
        list_remove(group, node);
        lanes_return(lane->lanes, &of_item(node)->item);
    }
    lane_watch_stall(link);
    serve(link);
}

static struct lane_flow flow(const struct lane *lane)
{
    const struct link *link = of_lane(lane);
    uint32_t due = link->tail - link->head;

    return (struct lane_flow){
        .due = due,
        .room = due < FLOW_DEPTH ? FLOW_DEPTH - due : 0,
        .is_busy = due >= FLOW_BUSY,
    };
}

static void end(struct lane *lane)
{
    struct link *link = of_lane(lane);
    struct worker *worker = link->worker;

    if (link->head != link->tail || link->again.len > 0)
        world_fail(worker->world,
                   "link %u is no lane any more, and answers "
                   "are due on it",
                   link->number);
    lane_leave(lane);
    world_note(worker->world, "link %u is no lane any more", link->number);
    if (worker->hooks & (1U << HOOK_AFTER_RELEASE))
        link->to_release = worker->hook_version;
    pool_release(worker->pool, &link->conn, worker->world->now_ns);
}

static void refuse(struct lanes *lanes, struct lane_item *item, enum err err,
                   const struct pool_waiter *waiter)
{
    struct demand *demand = container_of(item, struct demand, item);

    (void)waiter;
    if (demand->state != DEMAND_QUEUED)
        world_fail(worker_of(lanes)->world,
                   "demand %llu is refused and was not queued",
                   (unsigned long long)demand->joined);
    demand_over(demand, err);
}

const struct lanes_ops sim_lanes_ops = {
    .begin = begin,
    .send = send_group,
    .end = end,
    .refuse = refuse,
    .wake = wake,
};

const struct lanes_ops sim_flow_ops = {
    .begin = begin,
    .send = send_flow,
    .end = end,
    .refuse = refuse,
    .flow = flow,
    .wake = wake,
};

/* ---- losing one */

/* Reads run once more, a write may have happened. */
static bool may_move(const struct link *link, struct demand *demand)
{
    if (link->lane.kind == LANE_WRITE || demand->was_moved)
        return false;
    demand->was_moved = true;
    return true;
}

static void move_all(struct link *link)
{
    for (; link->head != link->tail; link->head++) {
        struct demand *demand = step_at(link, link->head)->demand;

        if (demand == NULL)
            continue;
        if (may_move(link, demand))
            put_again(link, demand);
        else
            demand_over(demand, ERR_LOST);
    }
    return_again(link);
}

void lane_lost(struct link *link, enum close_reason reason)
{
    struct worker *worker = link->worker;

    link->is_broken = true;
    move_all(link);
    lane_leave(&link->lane);
    pool_discard(worker->pool, &link->conn, reason, worker->world->now_ns);
}

void lane_cut(struct link *link)
{
    struct list_node *node;

    if (link->lane.lanes == NULL)
        return;
    for (; link->head != link->tail; link->head++)
        if (step_at(link, link->head)->demand != NULL)
            demand_over(step_at(link, link->head)->demand, ERR_CLOSED);
    while ((node = list_pop_front(&link->again)) != NULL)
        demand_over(container_of(node, struct demand, node), ERR_CLOSED);
    lane_leave(&link->lane);
}

/* ---- callers */

/* Off the lane: what the server says to it is read and dropped. */
static void leave_step(struct demand *demand, enum demand_end why)
{
    struct link *link = demand->link;

    lane_forgot(&link->lane, &demand->item, why, demand->world->now_ns);
    for (unsigned at = link->head; at != link->tail; at++)
        if (step_at(link, at)->demand == demand)
            step_at(link, at)->demand = NULL;
}

static void on_deadline(void *ud, uint64_t now_ns)
{
    struct demand *demand = ud;

    world_touch(demand->worker);
    switch (demand->state) {
    case DEMAND_QUEUED:
        lanes_expire(&demand->worker->lanes, &demand->item, now_ns);
        break;
    case DEMAND_SENT: leave_step(demand, DEMAND_TIMEOUT); break;
    case DEMAND_AGAIN: list_remove(&demand->link->again, &demand->node); break;
    default: return;
    }
    demand_over(demand, ERR_TIMEOUT);
}

void statement_cancel(struct demand *demand)
{
    switch (demand->state) {
    case DEMAND_QUEUED:
        lanes_cancel(&demand->worker->lanes, &demand->item,
                     demand->world->now_ns);
        break;
    case DEMAND_SENT: leave_step(demand, DEMAND_CANCELLED); break;
    case DEMAND_AGAIN: list_remove(&demand->link->again, &demand->node); break;
    default: return;
    }
    demand_over(demand, ERR_CANCELLED);
}

static void add(struct demand *demand, bool is_write, uint64_t limit_ns)
{
    struct worker *worker = demand->worker;
    struct world *world = worker->world;
    enum err err;

    demand->is_statement = true;
    if (limit_ns == 0)
        limit_ns = worker->settings.statement_timeout_ns;
    demand->deadline_ns = world->now_ns + limit_ns;
    demand->item.kind =
        is_write && !world->schedule->has_flow ? LANE_WRITE : LANE_READ;
    demand->item.class = demand->action->class;
    demand->item.cost_ns = demand->action->ns;
    world_note(world, "demand %llu: a statement of worker %u, #%u",
               (unsigned long long)demand->joined, worker->index,
               demand->action->id);
    worker->tally.arrivals++;
    err = lanes_add(&worker->lanes, &demand->item, world->now_ns);
    if (err != ERR_OK) {
        demand_over(demand, err);
        return;
    }
    demand->state = DEMAND_QUEUED;
    world_after(world, limit_ns, on_deadline, demand);
}

void statement_begin(struct worker *worker, const struct action *action)
{
    for (unsigned i = 0; i < action->count && worker->is_there; i++) {
        struct demand *demand = demand_new(worker, action);

        if (demand != NULL)
            add(demand, action->what != 0, action->limit_ns);
    }
}

struct demand *statement_probe(struct worker *worker, bool is_write,
                               uint64_t limit_ns)
{
    static const struct action probe = { .kind = ACTION_STATEMENT,
                                         .id = 999,
                                         .ns = 100000 };
    struct demand *demand = demand_new(worker, &probe);

    if (demand == NULL)
        world_fail(worker->world, "there were too many demands");
    demand->is_probe = true;
    add(demand, is_write, limit_ns);
    return demand;
}
