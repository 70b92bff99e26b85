/*
 * hold.h - what a task must give back: made by the running task, given back by
 * its end at the latest.
 */
#ifndef TIDEPOOL_SCRIPT_HOLD_H
#define TIDEPOOL_SCRIPT_HOLD_H

#include "base/list.h"

struct task;

/* Embedded in what it is. */
struct hold {
    struct list_node node;           /* on task->holds */
    struct task *task;               /* NULL when nobody's */
    void (*drop)(struct hold *hold); /* the task ended; unlinked already */
};

void hold_add(struct task *task, struct hold *hold,
              void (*drop)(struct hold *hold));
void hold_remove(struct hold *hold); /* accepts one that nobody holds */

/* The task has ended: drops all that it holds. */
void holds_drop(struct task *task);

#endif
