/* lane_late.c - see lane.h: a server that is late with a lane's setup, or with
 * what nobody waits for. */
#include "pg/cancel.h"
#include "pg/lane.h"
#include "pool/lane.h"
#include "pool/pool.h"

/* How long the server may take to act on a cancel.  One that comes before the
 * statement begins is lost, so it is sent again. */
static const uint64_t STOP_LIMIT_NS = 1000000000;
static const uint64_t STOP_AGAIN_NS = 200000000;

/* Somebody's statement in the group that runs is not wanted any more. */
static bool is_head_dead(const struct pg_link *link)
{
    for (uint64_t at = link->steps_head; at != link->steps_tail; at++) {
        const struct step *step = lane_step(link, at);

        if (step->kind == STEP_RUN && step->is_dead)
            return true;
        if (step->kind == STEP_SYNC &&
            (step->ends_group || link->lane.kind == LANE_WRITE))
            return false;
    }
    return false;
}

static void stop_head(struct pg_link *link)
{
    uint64_t again_ns = link_now(link) + STOP_AGAIN_NS;

    if (is_head_dead(link))
        link_cancel_start(link);
    deadline_start(link->pg->loop, &link->deadline,
                   again_ns < link->stop_by_ns ? again_ns : link->stop_by_ns);
}

/* The head is late and somebody gave up on it: it is stopped, and whoever it
 * takes with it is sent again. */
static void on_late(struct deadline *deadline)
{
    struct pg_link *link = container_of(deadline, struct pg_link, deadline);

    if (link->lane.is_held && link_now(link) < link->stop_by_ns) {
        stop_head(link);
    } else if (link->lane.is_held) {
        link_cancel_start(link); /* it may go on for hours */
        lane_lose(link);
    } else if (is_head_dead(link) &&
               lane_is_late(&link->lane, link_now(link))) {
        link->lane.is_held = true;
        link->stop_by_ns = link_now(link) + STOP_LIMIT_NS;
        stop_head(link);
    } else {
        lane_watch_dead(link);
    }
}

void lane_watch_dead(struct pg_link *link)
{
    uint64_t target_ns = pool_settings(link->conn.pool)->group_target_ns;

    if (link->n_dead == 0 || link->lane.is_held || !is_head_dead(link))
        return;
    link->deadline.fn = on_late;
    deadline_start(link->pg->loop, &link->deadline,
                   link->lane.head_ns + target_ns + WHEEL_TICK_NS);
}

static void on_no_setup(struct deadline *deadline)
{
    struct pg_link *link = container_of(deadline, struct pg_link, deadline);

    err_text_set(&link->last_words, "the server did not answer what makes a "
                                    "connection a lane within connect_timeout");
    lane_lose(link);
}

void lane_watch_setup(struct pg_link *link)
{
    uint64_t limit_ns = pool_settings(link->conn.pool)->connect_timeout_ns;

    link->deadline.fn = on_no_setup;
    deadline_start(link->pg->loop, &link->deadline, link_now(link) + limit_ns);
}
