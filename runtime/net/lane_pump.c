/* lane_pump.c - see lane_pump.h. */
#include "net/lane_pump.h"

#include "pool/lanes.h"

static void on_job(struct loop_job *job)
{
    lane_pump_run(container_of(job, struct lane_pump, job));
}

static void on_again(struct deadline *deadline)
{
    lane_pump_wake(container_of(deadline, struct lane_pump, again));
}

void lane_pump_init(struct lane_pump *pump, struct loop *loop,
                    struct lanes *lanes)
{
    pump->loop = loop;
    pump->lanes = lanes;
    pump->job = (struct loop_job){ .fn = on_job };
    pump->again = (struct deadline){ .fn = on_again };
}

void lane_pump_wake(struct lane_pump *pump)
{
    loop_defer(pump->loop, LOOP_FLUSH, &pump->job);
}

void lane_pump_run(struct lane_pump *pump)
{
    uint64_t due_ns = lanes_pump(pump->lanes, loop_now_ns(pump->loop));

    if (due_ns == WHEEL_NEVER)
        deadline_stop(pump->loop, &pump->again);
    else
        deadline_start(pump->loop, &pump->again, due_ns);
}

void lane_pump_stop(struct lane_pump *pump)
{
    loop_cancel(pump->loop, LOOP_FLUSH, &pump->job);
    deadline_stop(pump->loop, &pump->again);
}
