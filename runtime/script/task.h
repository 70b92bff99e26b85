/*
 * task.h - tasks: pooled coroutines with an owner and a list of what they hold.
 *
 * A task is READY (on vm->ready), RUNNING (vm->current), PARKED in one
 * operation, or DONE.  However it ends, what it holds is given back, and its
 * children are cancelled.
 */
#ifndef TIDEPOOL_SCRIPT_TASK_H
#define TIDEPOOL_SCRIPT_TASK_H

#include "net/deadline.h"
#include "pg/request.h"
#include "pg/value.h"
#include "pool/class.h"
#include "pool/line.h"
#include "redis/request.h"
#include "script/vm.h"

struct script_request;

enum task_state { TASK_READY, TASK_RUNNING, TASK_PARKED, TASK_DONE };

enum { TASK_LABEL_MAX = 80 };

/* Something a task must give back; embedded in what it is. */
struct hold {
    struct list_node node;           /* on task->holds */
    struct task *task;               /* NULL when nobody's */
    void (*drop)(struct hold *hold); /* the task ended; unlinked already */
};

/* How rows become Lua values. */
struct row_form {
    enum pg_int8 int8;
    bool has_nulls;         /* NULL is tide.null, not an absent key */
    struct pg_types *types; /* a reference, where columns need it; or NULL */
};

/* Owned by the vm. */
struct task {
    struct list_node node;      /* on vm->ready while READY, vm->idle */
    struct list_node live_node; /* on vm->live */
    struct vm *vm;
    lua_State *L;
    int thread_ref; /* keeps L */
    enum task_state state;
    uint64_t ready_ns; /* since when, where the vm stamps that */
    uint64_t id;
    char label[TASK_LABEL_MAX]; /* for messages: "app.lua:42" */
    bool cancelled;
    bool is_exempt;        /* from the watchdog */
    bool is_counted;       /* a request's: all of its CPU counts */
    uint64_t cpu_ns;       /* that it has used, as far as that was seen */
    enum pool_class class; /* of what it asks of pools; its children's, too */
    struct script_request *answers; /* a request, as its handler; or NULL */
    struct origin *origin;          /* see task_origin() */
    int status;                     /* when DONE: 0, or lua_resume's error */
    unsigned handles;               /* userdata that refer to it */
    bool error_taken;               /* somebody was told how it ended */
    bool detached;                  /* an error that nobody takes is logged */

    struct list holds;
    struct task *parent;
    struct list children;        /* by child_node */
    struct list ended;           /* children that ended and were not taken */
    struct list_node child_node; /* on parent->children or ->ended */
    int child_index;             /* what the parent calls it */
    void (*on_child)(struct task *parent, struct task *child); /* see below */
    struct list waiters; /* tasks parked in its wait(), by wait_node */
    struct list_node wait_node;
    struct list *waits_on;

    /* Runs when the task is DONE, its results or error on L's stack. */
    void (*on_end)(struct task *task, void *ud);
    void *on_end_ud;

    /* What it is parked in.  cancel forgets it: no wake will come. */
    void (*cancel)(struct task *task);
    struct deadline deadline;
    struct buf scratch; /* copies of SQL and parameters of the operation */
    struct pg_param *params;
    unsigned params_cap;
    struct pg_request pg;
    struct redis_request redis;
    struct pool_waiter waiter;
    const struct pool *awaits; /* it needs a connection of this pool ... */
    const bool *was_sent;      /* ... and has had one once this is true; or
                                  NULL */
    void *operand;             /* the pool or lease that the operation is on */
    struct row_form form;      /* of a statement's rows */
    struct pg_rows *rows;      /* they wait until their types are known */
    struct pg_link *link;      /* that they came on; NULL: the pool's */
    int shape; /* what the caller wants of the result, by operation */
    char site[TASK_LABEL_MAX]; /* where a lease was asked for */
};

/* A new task that will run the function at -n_args - 1 of from with the n_args
 * values above it, which are popped.  parent may be NULL.  Starts in this
 * turn.  Raises when there is no memory. */
struct task *task_spawn(struct vm *vm, lua_State *from, int n_args,
                        struct task *parent);

/* The running task, for a call that will park; raises (level 2 is the script's
 * line) when there is none, when it was cancelled, or when LuaJIT cannot yield
 * here. */
struct task *task_check(lua_State *L);

/* Where the running task is, "app.lua:42"; after a tail call, which leaves no
 * line, the task's label.  out has TASK_LABEL_MAX bytes. */
void task_site(lua_State *L, const struct task *task, int level, char *out);

/* Parks the running task: `return task_park(L, task, cancel);` */
int task_park(lua_State *L, struct task *task,
              void (*cancel)(struct task *task));

/*
 * Ends the operation of a parked task: gives the stack to push the results
 * on, at most 16 values; then task_wake() resumes it in this turn.
 */
lua_State *task_results(struct task *task);
void task_wake(struct task *task);
/* The same for an error that the call raises at its caller's line: pops the
 * error from task_results(). */
void task_wake_raise(struct task *task);

/* The call that it is parked in raises `cancelled`, and every later one too. */
void task_cancel(struct task *task);

/* Ends the park that follows without results after so long, unless its cancel
 * or whoever ends it sooner stops task->deadline. */
void task_wake_after(struct task *task, uint64_t ns);
/* A length of time as scripts give it, in seconds: in ns. */
uint64_t check_seconds(lua_State *L, int index);

/* task_park() until a child has ended for which on_child wakes the parent: it
 * is called for each that ends and then is on parent->ended. */
int task_park_for_child(lua_State *L, struct task *task,
                        void (*on_child)(struct task *parent,
                                         struct task *child));

/* Pushes whether an ended task succeeded, then its results or its error; says
 * how many values that are. */
int task_push_outcome(struct task *task, lua_State *L);
/* The first ended child, of which there is one; free it with
 * task_drop_child(). */
struct task *task_first_ended(struct task *task);
void task_drop_child(struct task *child);
/* What the value at index, as tide.spawn gives it, refers to; raises when it is
 * none. */
struct task *task_of_handle(lua_State *L, int index);
/* A userdata that referred to it is gone. */
void task_unref(struct task *task);

void tasks_init(struct vm *vm);
/* Frees what is kept for later: after the state is closed. */
void tasks_free(struct vm *vm);

/* Holds: made by the running task, given back by its end at the latest. */
void hold_add(struct task *task, struct hold *hold,
              void (*drop)(struct hold *hold));
void hold_remove(struct hold *hold); /* accepts one that nobody holds */

/* The value that marks a yield of ours, and a result that is to be raised. */
static inline void push_park(lua_State *L, struct vm *vm)
{
    lua_pushlightuserdata(L, vm);
}

#endif
