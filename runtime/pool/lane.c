/* lane.c - see lane.h: one lane's life, and what is learned on it. */
#include "pool/lane.h"

#include "pool/internal.h"
#include "pool/lanes.h"

/* A time that no scheduler of the machine explains. */
static const uint64_t FAR_NS = 20000000;

bool lane_is_late(const struct lane *lane, uint64_t now_ns)
{
    return lane->groups > 0 && now_ns > lane->head_ns &&
           now_ns - lane->head_ns > lane->lanes->pool->settings.group_target_ns;
}

uint64_t lane_cost(uint64_t known_ns, uint64_t measured_ns, uint32_t count)
{
    uint64_t step_ns, most_ns;

    if (known_ns == 0)
        return measured_ns > 0 ? measured_ns : 1;
    if (measured_ns < known_ns)
        return known_ns - (known_ns - measured_ns) / 2;
    step_ns = (measured_ns - known_ns) / 8;
    most_ns = (known_ns / 4 + 1) * count;
    if (step_ns > most_ns && measured_ns < FAR_NS)
        step_ns = most_ns;
    return known_ns + step_ns;
}

void lane_begin(struct lane *lane, struct lanes *lanes, struct conn *conn,
                enum lane_kind kind, uint64_t now_ns)
{
    *lane = (struct lane){
        .lanes = lanes, .conn = conn, .kind = kind, .rest_ns = now_ns
    };
    list_push_back(&lanes->sets[kind].lanes, &lane->node);
}

void lane_ready(struct lane *lane)
{
    lane->is_ready = true;
    lane->lanes->ops->wake(lane->lanes);
}

void lane_group_done(struct lane *lane, uint64_t now_ns)
{
    assert(lane->groups > 0);
    lane->groups--;
    lane->head_ns = now_ns;
    lane->rest_ns = now_ns;
    lane->lanes->ops->wake(lane->lanes);
}

void lane_rests(struct lane *lane, uint64_t now_ns)
{
    assert(lane->groups == 0);
    lane->rest_ns = now_ns;
    lane->lanes->ops->wake(lane->lanes);
}

void lane_finish(struct lane *lane)
{
    if (lane->lanes == NULL)
        return;
    lane->is_finishing = true;
    lane->lanes->ops->wake(lane->lanes);
}

void lane_leave(struct lane *lane)
{
    struct lanes *lanes = lane->lanes;

    if (lanes == NULL)
        return;
    list_remove(&lanes->sets[lane->kind].lanes, &lane->node);
    lane->lanes = NULL;
    lanes->ops->wake(lanes);
}
