/*
 * nested.c - see nested.h.
 *
 * Exact, and cheap for all who hold nothing: only a task that holds a
 * connection of the pool, or is a child of one, can close such a circle.  A
 * holder gives nothing back while it waits on this pool, or for children of
 * which none can go on.  One that runs, sleeps or waits for anything else may.
 */
#include "script/nested.h"

#include "pool/lease.h"
#include "pool/pool.h"
#include "script/err.h"
#include "script/failure.h"
#include "script/hold.h"
#include "script/lease.h"

struct asker {
    const struct task *task;
    const struct pool *pool;
};

static bool waits_on(const struct task *task, const struct pool *pool)
{
    return task->state == TASK_PARKED && task->awaits == pool &&
           (task->was_sent == NULL || !*task->was_sent);
}

static bool is_stuck(const struct task *task, const struct asker *asker)
{
    if (task == asker->task || waits_on(task, asker->pool))
        return true;
    if (task->state != TASK_PARKED || task->on_child == NULL ||
        task->children.len == 0)
        return false;
    list_each (node, &task->children)
        if (!is_stuck(container_of(node, struct task, child_node), asker))
            return false;
    return true;
}

static struct lease *lease_of(struct conn **holder)
{
    return container_of(holder, struct lease, conn);
}

/* Of a connection of pool: its holder will not give it back. */
static bool keeps(struct conn **holder, void *ud)
{
    const struct task *task = lease_of(holder)->hold.task;

    return task != NULL && is_stuck(task, ud);
}

/* A lease of pool that task or one it is a child of holds; or NULL. */
static const struct lease *held(const struct task *task,
                                const struct pool *pool)
{
    for (; task != NULL; task = task->parent)
        list_each (node, &task->holds) {
            struct hold *hold = container_of(node, struct hold, node);
            const struct lease *lease = lease_of_hold(hold);

            if (lease != NULL && lease->pool == pool && lease->conn != NULL)
                return lease;
        }
    return NULL;
}

static bool may_hold(const struct task *task)
{
    for (; task != NULL; task = task->parent)
        if (task->holds.len > 0)
            return true;
    return false;
}

void nested_check_hook(lua_State *L, const struct task *task,
                       const struct script_pool *box)
{
    const struct lease *lease;

    if (!may_hold(task))
        return;
    lease = held(task, box->pool);
    if (lease != NULL && lease->run != NULL)
        raise_at_script(L,
                        "a hook of pool \"%s\" asks the pool, which waits for "
                        "the hook: use the connection that it is given",
                        box->name);
}

int nested_refuse(lua_State *L, const struct task *task,
                  struct script_pool *box, int level)
{
    struct asker asker = { task, box->pool };
    struct err_text text = { .text = "" };
    char site[TASK_LABEL_MAX];
    const struct lease *lease;

    if (!may_hold(task))
        return 0;
    lease = held(task, box->pool);
    if (lease == NULL || !pool_is_kept(box->pool, keeps, &asker))
        return 0;
    pool_count_nested(box->pool);
    task_site(L, task, level, site);
    err_text_set(&text,
                 "pool \"%s\": no connection can come free for %s: %s holds "
                 "the one acquired at %s%s",
                 box->name, site,
                 lease->hold.task == task ? "this task" : "its parent",
                 lease->site,
                 pool_settings(box->pool)->max_connections == 1
                     ? ""
                     : ", and all others are held by tasks that wait as well");
    return return_failure(L, box, ERR_BUSY, &text);
}
