/* queue.h - what is to happen when: the earliest first, and of the same time
 * what was put in first. */
#ifndef TIDEPOOL_SIM_QUEUE_H
#define TIDEPOOL_SIM_QUEUE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sim_event {
    uint64_t at_ns;
    uint64_t number; /* the queue's */
    void (*fn)(void *ud, uint64_t now_ns);
    void *ud;
};

/* All zero when new. */
struct sim_queue {
    struct sim_event *heap;
    size_t count;
    size_t room;
    uint64_t numbers;
    bool has_failed; /* there was no memory */
};

void sim_queue_put(struct sim_queue *queue, uint64_t at_ns,
                   void (*fn)(void *ud, uint64_t now_ns), void *ud);
/* False when it is empty. */
bool sim_queue_take(struct sim_queue *queue, struct sim_event *out);
void sim_queue_free(struct sim_queue *queue);

#endif
