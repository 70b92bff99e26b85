/* lane_pump.h - runs the lanes of a pool on a loop: at the end of each turn
 * that woke them, and when they asked to be looked at again. */
#ifndef TIDEPOOL_NET_LANE_PUMP_H
#define TIDEPOOL_NET_LANE_PUMP_H

#include "net/deadline.h"

struct lanes;

/* Embedded in the backend's pool, beside the lanes. */
struct lane_pump {
    struct loop *loop;
    struct lanes *lanes;
    struct loop_job job;
    struct deadline again;
};

/* Both are borrowed and outlive it. */
void lane_pump_init(struct lane_pump *pump, struct loop *loop,
                    struct lanes *lanes);
/* For lanes_ops.wake: at the end of this turn. */
void lane_pump_wake(struct lane_pump *pump);
void lane_pump_run(struct lane_pump *pump); /* now */
void lane_pump_stop(struct lane_pump *pump);

#endif
