/* hold.c - see hold.h. */
#include "script/hold.h"

#include "script/task.h"

void hold_add(struct task *task, struct hold *hold,
              void (*drop)(struct hold *hold))
{
    hold->task = task;
    hold->drop = drop;
    list_push_back(&task->holds, &hold->node);
}

void hold_remove(struct hold *hold)
{
    if (hold->task == NULL)
        return;
    list_remove(&hold->task->holds, &hold->node);
    hold->task = NULL;
}

void holds_drop(struct task *task)
{
    struct list_node *node;

    while ((node = list_pop_front(&task->holds)) != NULL) {
        struct hold *hold = container_of(node, struct hold, node);
        hold->task = NULL;
        hold->drop(hold);
    }
}
