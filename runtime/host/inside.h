/* inside.h - the insides of a runtime, for the files of host/ alone. */
#ifndef TIDEPOOL_HOST_INSIDE_H
#define TIDEPOOL_HOST_INSIDE_H

#include "net/deadline.h"
#include "script/vm.h"
#include "tidepool.h"

#include <pthread.h>
#include <sys/types.h>

/* A call of a handler, embedded in what it is for. */
struct host_call {
    struct list_node node; /* on runtime->calls */
    tide_runtime *runtime;
    struct task *task;
    uint64_t id;
    const char *function; /* of host.lua; NULL: "call" */
    struct deadline deadline;
    bool is_late;
    /* Ends it, once; never from inside of host_call_begin(). */
    void (*done)(struct host_call *call, const tide_reply *reply);
};

struct host_posts;

struct tide_runtime {
    struct vm *vm;
    pthread_t thread; /* that it belongs to */
    pid_t pid;
    bool has_own_loop;
    bool is_stepping;
    unsigned calls_out; /* of the host's, that have not come back */
    bool has_run;       /* tide_run_module() was called */
    bool is_done;       /* main has ended */
    int status;
    bool has_script;
    bool is_closed;  /* takes no more calls */
    bool is_closing; /* and those that have not begun do not */
    unsigned max_posts;
    struct host_posts *posts; /* from tide_load() on */
    struct list calls;        /* that run */
    uint64_t last_call_id;
    struct list operations; /* on pools, from C: see operation.h */
    struct list leases;
    struct list pools; /* of the host, until their last connection is gone */
    struct list named; /* handles of the script's */
    struct err_text error; /* see tide_last_error() */
};

static inline uint64_t host_now_ns(const tide_runtime *runtime)
{
    return loop_now_ns(runtime->vm->loop);
}

/* Any thread. */
bool host_is_forked(const tide_runtime *runtime);
/* Whether this thread may call; else the code to return. */
int host_check(const tide_runtime *runtime);
/* The same, at the beginning of a call: nothing is known to be wrong yet. */
int host_enter(tide_runtime *runtime);
/* The same for a call that turns the loop, so not from inside of it. */
int host_check_outside(tide_runtime *runtime);

/* Returns code, with this sentence as tide_last_error(). */
int host_fail(tide_runtime *runtime, int code, const char *format, ...)
    PRINTF_LIKE(3, 4);

/* Begins a call with done set.  due_ns is loop time, 0: no deadline.  Needs a
 * script that is loaded.  A code when it did not begin. */
int host_call_begin(tide_runtime *runtime, struct host_call *call,
                    const tide_request *request, uint64_t due_ns);
/* The runtime closes: ends calls whose tasks did not come to their end. */
void host_calls_abandon(tide_runtime *runtime);
/* Loop time of so long from now; 0, none, for 0 and for what nobody lives to
 * see. */
uint64_t host_due_ns(const tide_runtime *runtime, uint64_t timeout_ms);

/* A function of a Lua module, on top of that module.  Under memory_protect().
 */
void host_push(lua_State *L, const char *module, const char *name);

/* Before and after the loop's last turns: what the host has of pools ends. */
void host_pools_close(tide_runtime *runtime);
void host_pools_free(tide_runtime *runtime);

/* NULL: no memory. */
struct host_posts *host_posts_new(tide_runtime *runtime);
/* From now on tide_post() is refused; those before it are in their lines. */
void host_posts_refuse(tide_runtime *runtime);
/* When no call runs; NULL is let be. */
void host_posts_free(struct host_posts *posts);

/* Copies one that may be of another size than ours; says whether it is any. */
bool host_take_request(tide_request *own, const tide_request *request);

#endif
