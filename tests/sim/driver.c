/* driver.c - connections of the simulation: what the pool asks of its driver is
 * answered later, as the fates say, or never. */
#include "pool/driver.h"

#include "pool/conn_state.h"
#include "pool/ghost.h"
#include "pool/lane.h"
#include "rules.h"

#include <stdlib.h>
#include <string.h>

static const uint64_t OP_NS[OPS] = {
    [OP_OPEN] = 2000000,  [OP_TEST] = 200000, [OP_RESET] = 300000,
    [OP_CANCEL] = 900000, [OP_HOOK] = 500000, [OP_SETUP] = 200000,
};

struct link *link_of(struct conn *conn)
{
    return container_of(conn, struct link, conn);
}

/* ---- events */

bool link_end_event(struct link *link)
{
    bool is_closed = link->is_closed;

    if (!is_closed)
        world_touch(link->worker);
    if (--link->events == 0 && is_closed)
        free(link);
    return is_closed;
}

void link_after(struct link *link, uint64_t ns,
                void (*fn)(void *ud, uint64_t now_ns))
{
    link->events++;
    world_after(link->worker->world, ns, fn, link);
}

enum fate fate_take(struct worker *worker, enum op op, uint64_t *ns)
{
    struct pending_fate *pending = &worker->fates[op];

    *ns = OP_NS[op];
    if (pending->count == 0)
        return FATE_WELL;
    pending->count--;
    *ns += pending->ns;
    return pending->fate;
}

/* ---- answers */

static void note_failure(struct worker *worker)
{
    worker->tally.connect_failures++;
    if (worker->retry_ns == 0)
        worker->retry_ns = worker->world->now_ns + 50 * MS;
}

static void answer_open(struct link *link)
{
    struct worker *worker = link->worker;
    uint64_t now_ns = worker->world->now_ns;
    struct err_text text = { .text = "refused" };

    if (link->fate != FATE_WELL || worker->down_ns > now_ns) {
        note_failure(worker);
        pool_conn_failed(&link->conn, &text, now_ns);
        return;
    }
    link->backend = ++worker->world->last_backend;
    link->is_connected = true;
    link->alive_ns = now_ns;
    if ((worker->hooks & (1U << HOOK_AFTER_CONNECT)) == 0)
        worker->retry_ns = 0;
    pool_conn_backend(&link->conn, link->backend);
    pool_conn_opened(&link->conn, now_ns);
}

static bool is_gone(const struct world *world, int backend)
{
    for (unsigned i = 0; i < world->n_ghosts; i++)
        if (world->ghosts[i].backend == backend &&
            world->ghosts[i].gone_ns > world->now_ns)
            return false;
    return true;
}

/* What of the ghosts, that the test asked for, the server has no more. */
static void bury(struct link *link)
{
    const int32_t *asked;
    int32_t gone[BUDGET_ASK_MAX];
    size_t n_asked = link->n_asked, n_gone = 0;

    asked = link->asked;
    for (size_t i = 0; i < n_asked; i++)
        if (is_gone(link->worker->world, asked[i]))
            gone[n_gone++] = asked[i];
    if (n_gone > 0)
        pool_bury(&link->conn, gone, n_gone);
}

static void answer_test(struct link *link)
{
    struct world *world = link->worker->world;

    if (link->fate == FATE_WELL) {
        link->alive_ns = world->now_ns;
        bury(link);
    }
    pool_conn_tested(&link->conn, link->fate == FATE_WELL, world->now_ns);
}

static void answer_reset(struct link *link)
{
    struct world *world = link->worker->world;

    link->alive_ns = world->now_ns;
    pool_conn_byte(&link->conn, world->now_ns);
    if (link->fate == FATE_OTHER) {
        link->prepared = 0;
        pool_conn_bare(&link->conn);
    }
    if (link->fate != FATE_BADLY)
        link->is_dirty = false;
    pool_conn_reset(&link->conn, link->fate != FATE_BADLY, world->now_ns);
}

static void answer_cancel(struct link *link)
{
    struct world *world = link->worker->world;

    if (link->fate != FATE_BADLY)
        link->alive_ns = world->now_ns;
    link->is_running = link->fate == FATE_BADLY || link->fate == FATE_THIRD;
    link->is_dirty = link->is_dirty || link->fate == FATE_OTHER;
    pool_conn_cancelled(&link->conn, link->fate != FATE_BADLY, world->now_ns);
}

static void answer_hook(struct link *link)
{
    struct worker *worker = link->worker;
    enum conn_hook hook = link->hook;
    enum hook_verdict verdict = HOOK_PASSED;
    struct err_text text = { .text = "the hook says no" };

    link->hook = HOOK_NONE;
    link->alive_ns = worker->world->now_ns;
    pool_conn_byte(&link->conn, worker->world->now_ns);
    link->left_open = link->fate == FATE_OTHER;
    if (link->fate == FATE_BADLY)
        verdict = HOOK_FAILED;
    if (link->fate == FATE_THIRD)
        verdict = HOOK_REFUSED;
    if (hook == HOOK_BEFORE_ACQUIRE)
        link->approved_ns = worker->world->now_ns;
    if (hook == HOOK_AFTER_RELEASE)
        link->is_dirty = link->left_open;
    if (link->conn.state == CONN_OPENING) {
        if (verdict != HOOK_PASSED || link->left_open)
            note_failure(worker);
        else
            worker->retry_ns = 0;
    }
    pool_hook_done(&link->conn, verdict, &text, worker->world->now_ns);
}

static void free_closed(struct link *link)
{
    struct worker *worker = link->worker;

    link->is_closed = true;
    list_remove(&worker->links, &link->node);
    worker->tally.closes++;
    if (link->fate == FATE_OTHER && link->is_connected) {
        struct world *world = worker->world;

        pool_conn_unsure(&link->conn);
        if (world->budget != NULL && world->n_ghosts < GHOSTS_MAX)
            world->ghosts[world->n_ghosts++] =
                (struct ghost){ link->backend, world->now_ns + 50 * MS };
    }
    pool_conn_closed(&link->conn, worker->world->now_ns);
    memset(&link->conn, 0xA5, sizeof(link->conn)); /* nobody reads it now */
    if (link->events == 0)
        free(link);
}

static void on_closed(void *ud, uint64_t now_ns)
{
    struct link *link = ud;

    (void)now_ns;
    if (!link_end_event(link))
        free_closed(link);
}

static void on_answer(void *ud, uint64_t now_ns)
{
    struct link *link = ud;
    enum op op = link->op;

    (void)now_ns;
    if (link_end_event(link) || op == OP_NONE || op == OP_CLOSE ||
        link->is_mute)
        return;
    link->op = OP_NONE;
    world_note(link->worker->world, "link %u answers: op %d, fate %d",
               link->number, (int)op, (int)link->fate);
    switch (op) {
    case OP_OPEN: answer_open(link); break;
    case OP_TEST: answer_test(link); break;
    case OP_RESET: answer_reset(link); break;
    case OP_CANCEL: answer_cancel(link); break;
    case OP_HOOK: answer_hook(link); break;
    default: break;
    }
}

static void begin_op(struct link *link, enum op op)
{
    struct world *world = link->worker->world;
    uint64_t ns;

    if (link->op != OP_NONE)
        world_fail(world, "link %u is asked for two things at once",
                   link->number);
    link->op = op;
    link->fate = fate_take(link->worker, op, &ns);
    if (link->fate == FATE_NEVER || link->is_mute)
        return;
    link_after(link, ns, on_answer);
}

/* ---- what the pool asks for */

static struct conn *open_link(void *ud)
{
    struct worker *worker = ud;
    struct world *world = worker->world;
    struct link *link;

    rule_open(worker);
    worker->tally.connects++;
    if (worker->fates[OP_OPEN].count > 0 &&
        worker->fates[OP_OPEN].fate == FATE_OTHER) {
        worker->fates[OP_OPEN].count--;
        note_failure(worker);
        return NULL;
    }
    link = calloc(1, sizeof(*link));
    if (link == NULL)
        abort();
    link->worker = worker;
    link->number = ++world->n_links;
    link->op = OP_NONE;
    link->hook = HOOK_NONE;
    link->epoch = worker->epoch;
    list_init(&link->again);
    list_push_back(&worker->links, &link->node);
    world_note(world, "worker %u opens link %u", worker->index, link->number);
    begin_op(link, OP_OPEN);
    return &link->conn;
}

static enum conn_wire read_wire(const struct conn *conn)
{
    const struct link *link = container_of(conn, const struct link, conn);

    if (link->is_broken)
        return CONN_BROKEN;
    if (link->is_running)
        return CONN_BUSY;
    if (link->is_spent)
        return CONN_SPENT;
    return link->is_dirty ? CONN_DIRTY : CONN_CLEAN;
}

static void test_link(struct conn *conn)
{
    struct link *link = link_of(conn);
    const int32_t *asked;

    link->n_asked = pool_ghosts(conn, &asked);
    memcpy(link->asked, asked, link->n_asked * sizeof(*asked));
    begin_op(link, OP_TEST);
}

static void reset_link(struct conn *conn)
{
    begin_op(link_of(conn), OP_RESET);
}

static void cancel_link(struct conn *conn)
{
    begin_op(link_of(conn), OP_CANCEL);
}

static bool keep_link(struct conn *conn, bool is_baseline)
{
    struct link *link = link_of(conn);

    if (link->left_open)
        return false;
    if (is_baseline)
        link->prepared = link->hook_version;
    return true;
}

/* After leak_reclaim, and only of those who agreed. */
static void abandon_link(struct conn *conn)
{
    struct link *link = link_of(conn);
    struct worker *worker = link->worker;
    struct demand *owner = link->owner;
    uint64_t limit_ns = worker->settings.leak_reclaim_ns;

    if (owner == NULL || !owner->is_reclaimed ||
        !owner->action->is_reclaimable || limit_ns == 0 ||
        worker->world->now_ns < owner->held_ns + limit_ns)
        world_fail(worker->world, "link %u was taken back against the rules",
                   link->number);
    link->is_running = owner->action->how == END_BUSY;
    link->is_dirty = true;
    link->owner = NULL;
}

static void unshare_link(struct conn *conn)
{
    lane_finish(&link_of(conn)->lane);
}

static void close_link(struct conn *conn, enum close_reason reason)
{
    struct link *link = link_of(conn);
    struct worker *worker = link->worker;
    uint64_t ns;

    world_note(worker->world, "worker %u closes link %u: %s", worker->index,
               link->number, close_reason_name(reason));
    if (reason == CLOSE_CONNECT_TIMEOUT)
        note_failure(worker);
    if ((reason == CLOSE_HOOK_FAILED || reason == CLOSE_HOOK_REFUSED) &&
        link->last_hook == HOOK_BEFORE_ACQUIRE && conn->generation == 0)
        note_failure(worker);
    if (link->owner != NULL &&
        (!worker->is_closing || worker->world->now_ns < worker->close_ns))
        world_fail(worker->world, "link %u was closed under its holder: %s",
                   link->number, close_reason_name(reason));
    link->owner = NULL;
    lane_cut(link);
    link->op = OP_CLOSE;
    link->fate = fate_take(worker, OP_CLOSE, &ns);
    if (link->fate == FATE_NEVER) /* there is no such close */
        ns += SECOND / 2;
    if (ns == 0 && link->fate == FATE_WELL)
        free_closed(link);
    else
        link_after(link, ns, on_closed);
}

const struct conn_ops sim_driver_ops = {
    .name = "sim",
    .open = open_link,
    .wire = read_wire,
    .test = test_link,
    .reset = reset_link,
    .cancel = cancel_link,
    .keep = keep_link,
    .abandon = abandon_link,
    .unshare = unshare_link,
    .close = close_link,
};

bool worker_begin_hook(void *ud, struct conn *conn, enum conn_hook hook)
{
    struct worker *worker = ud;
    struct link *link = link_of(conn);

    link->last_hook = hook;
    if (worker->fates[OP_HOOK].count > 0 &&
        worker->fates[OP_HOOK].fate == FATE_BADLY &&
        worker->fates[OP_HOOK].ns == 0 && conn->state != CONN_OPENING) {
        worker->fates[OP_HOOK].count--; /* there is no task for it */
        return false;
    }
    link->hook = hook;
    link->hook_version = worker->hook_version;
    if (hook == HOOK_AFTER_RELEASE)
        link->to_release = 0;
    begin_op(link, OP_HOOK);
    return true;
}

/* ---- what happens to them */

void link_lose(struct link *link)
{
    struct worker *worker = link->worker;
    struct err_text text = { .text = "connection reset by peer" };

    if (link->conn.state == CONN_OPENING && link->hook != HOOK_NONE)
        return; /* its hook sees it */
    link->is_broken = true;
    switch (link->conn.state) {
    case CONN_CLOSING:
    case CONN_LEASED: return; /* its holder sees it */
    case CONN_SHARED:
        if (link->lane.lanes != NULL)
            lane_lost(link, CLOSE_LOST);
        return;
    case CONN_OPENING: note_failure(worker); break;
    default: break;
    }
    link->op = OP_NONE;
    link->hook = HOOK_NONE;
    pool_conn_lost(&link->conn, &text, worker->world->now_ns);
}

void link_mute(struct link *link)
{
    if (!link->is_connected)
        return;
    link->is_mute = true;
    lane_watch_stall(link);
}

void link_orphan(struct link *link)
{
    struct world *world = link->worker->world;

    if (link->is_connected && world->n_ghosts < GHOSTS_MAX)
        world->ghosts[world->n_ghosts++] =
            (struct ghost){ link->backend,
                            world->now_ns + (link->number % 4) * 400 * MS };
    link->is_closed = true;
    link->owner = NULL;
    list_remove(&link->worker->links, &link->node);
    if (link->events == 0)
        free(link);
}
