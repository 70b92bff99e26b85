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
#include "pool/class.h"
#include "pool/line.h"
#include "redis/request.h"
#include "script/row_form.h"
#include "script/vm.h"

struct script_request;

enum task_state { TASK_READY, TASK_RUNNING, TASK_PARKED, TASK_DONE };

enum { TASK_LABEL_MAX = 80 };

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

/* Where the running task is, "app.lua:42"; after a tail call, which leaves no
 * line, the task's label.  out has TASK_LABEL_MAX bytes. */
void task_site(lua_State *L, const struct task *task, int level, char *out);

/* The call that it is parked in raises `cancelled`, and every later one too. */
void task_cancel(struct task *task);

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

/* It is READY from now on: it runs in this turn, or in the next. */
void task_make_ready(struct task *task);

void tasks_init(struct vm *vm);
/* Frees what is kept for later: after the state is closed. */
void tasks_free(struct vm *vm);

#endif
