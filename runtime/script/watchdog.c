/* watchdog.c - see watchdog.h. */
#include "script/watchdog.h"

#include "script/vm.h"

#include <errno.h>
#include <luajit.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

static const uint64_t TICK_NS = 5000000;
enum { QUIET_TICKS = 200 }; /* without a run, until it sleeps */

enum verdict { FINE, WARN, ABORT_RUN, ABORT_TASK, ABORT_HEAP, ABORT_ASKED };

struct watchdog {
    lua_State *L;
    const struct log *log;
    struct watchdog_limits limits;
    struct watchdog_counts counts;
    struct sigaction before; /* LuaJIT's */

    pthread_t thread;
    pthread_t watched;
    clockid_t clock; /* of watched */
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool is_closing; /* under mutex */

    /* Odd while a task runs; another number for each run. */
    _Atomic uint64_t run;
    _Atomic uint64_t spent_ns; /* of its task, before it */
    _Atomic uint64_t seen_ns;  /* of its CPU, by the thread */
    _Atomic bool is_asleep;
    _Atomic uint64_t from_ns;     /* CPU when the run was first seen */
    _Atomic uint64_t judged;      /* a run, and */
    _Atomic int verdict;          /* what was said of it */
    _Atomic uint64_t interrupted; /* a run that is to end */

    /* Of the watched thread alone. */
    const char *name;
    volatile sig_atomic_t is_asked; /* where it is */
    volatile sig_atomic_t armed;    /* verdict that the hook is to carry out */
    bool is_told;                   /* ... and has logged or counted */
    uint64_t told_ns;
    char site[80]; /* where that was */
    bool has_ended_it;
    struct err_text text; /* why */
    lua_Alloc allocate;   /* the state's */
    void *allocate_ud;
};

/* A signal handler has no argument of ours. */
static struct watchdog *_Atomic the_watchdog;

/* ---- in the watched thread */

static uint64_t cpu_ns(clockid_t clock)
{
    struct timespec at;

    clock_gettime(clock, &at);
    return (uint64_t)at.tv_sec * 1000000000 + (uint64_t)at.tv_nsec;
}

static void describe(const struct watchdog *watchdog, struct err_text *text)
{
    const struct watchdog_limits *limits = &watchdog->limits;
    double used_s = (double)watchdog->told_ns / 1e9;

    switch (watchdog->armed) {
    case ABORT_RUN:
        err_text_set(text,
                     "%s: it ran for %.2f s without waiting; "
                     "script.run_abort allows %.3g s",
                     watchdog->site, used_s, (double)limits->abort_ns / 1e9);
        break;
    case ABORT_TASK:
        err_text_set(
            text,
            "%s: its request has used %.2f s of CPU; script.request_cpu "
            "allows %.3g s",
            watchdog->site, used_s, (double)limits->total_ns / 1e9);
        break;
    case ABORT_ASKED:
        err_text_set(text, "%s: it was interrupted", watchdog->site);
        break;
    default:
        err_text_set(text,
                     "%s: not enough memory: the Lua heap has more than "
                     "script.heap_max_bytes, %llu",
                     watchdog->site, (unsigned long long)limits->heap_max);
    }
}

static void note(struct watchdog *watchdog, lua_State *L)
{
    if (watchdog->is_told)
        return;
    watchdog->is_told = true;
    watchdog->told_ns =
        cpu_ns(watchdog->clock) - atomic_load(&watchdog->from_ns);
    if (watchdog->armed == ABORT_TASK)
        watchdog->told_ns += atomic_load(&watchdog->spent_ns);
    for (int level = 0; level < 2; level++) { /* in C its caller is where */
        vm_site(L, level, watchdog->site, sizeof(watchdog->site));
        if (strcmp(watchdog->site, "?") != 0)
            break;
    }
    switch (watchdog->armed) {
    case WARN: watchdog->counts.warnings++; break;
    case ABORT_ASKED:
    case ABORT_RUN: watchdog->counts.aborted_runs++; break;
    case ABORT_TASK: watchdog->counts.aborted_tasks++; break;
    default: watchdog->counts.aborted_heaps++;
    }
}

static void disarm(struct watchdog *watchdog)
{
    watchdog->armed = FINE;
    watchdog->is_told = false;
    lua_sethook(watchdog->L, NULL, 0, 0);
}

/* Fails the one allocation that it is asked for, and is gone. */
static void *fail_once(void *ud, void *old, size_t old_size, size_t size)
{
    struct watchdog *watchdog = ud;

    if (old != NULL || size == 0)
        return watchdog->allocate(watchdog->allocate_ud, old, old_size, size);
    lua_setallocf(watchdog->L, watchdog->allocate, watchdog->allocate_ud);
    lua_gc(watchdog->L, LUA_GCRESTART, 0);
    return NULL;
}

/* As if memory had run out: the one error of LuaJIT that calls no message
 * handler of an xpcall, which would run without hooks, for ever if it likes. */
void watchdog_raise(struct watchdog *watchdog, lua_State *L)
{
    note(watchdog, L);
    describe(watchdog, &watchdog->text);
    watchdog->has_ended_it = true;
    watchdog->allocate = lua_getallocf(L, &watchdog->allocate_ud);
    lua_gc(L, LUA_GCSTOP, 0);
    lua_setallocf(L, fail_once, watchdog);
    lua_newuserdata(L, 1);
}

static void tell_stack(struct watchdog *watchdog, lua_State *L)
{
    watchdog->is_asked = 0;
    luaL_traceback(L, L, NULL, 0);
    log_event(watchdog->log, LOG_WARN, "asked where it is",
              LOG_STR("task", watchdog->name),
              LOG_STR("traceback", lua_tostring(L, -1)));
    lua_pop(L, 1);
    if (watchdog->armed == FINE)
        disarm(watchdog);
}

/* Stays set until watchdog_end(), so that no pcall gets around it. */
static void on_instruction(lua_State *L, lua_Debug *at)
{
    struct watchdog *watchdog = atomic_load(&the_watchdog);

    (void)at;
    if (watchdog->is_asked)
        tell_stack(watchdog, L);
    if (watchdog->armed == FINE)
        return;
    if (watchdog->armed != WARN) {
        watchdog_raise(watchdog, L);
        return;
    }
    note(watchdog, L);
    log_event(watchdog->log, LOG_WARN, "task runs long without waiting",
              LOG_STR("at", watchdog->site), LOG_STR("task", watchdog->name),
              LOG_MS("cpu_ms", watchdog->told_ns));
    disarm(watchdog);
}

/* Compiled code looks for hooks once LuaJIT's handler has been called. */
static void set_hook(struct watchdog *watchdog)
{
    lua_sethook(watchdog->L, on_instruction, LUA_MASKCOUNT, 1);
    watchdog->before.sa_handler(SIGPROF);
}

void watchdog_ask(struct watchdog *watchdog)
{
    if (watchdog == NULL)
        return;
    watchdog->is_asked = 1;
    set_hook(watchdog);
}

bool watchdog_is_asked(const struct watchdog *watchdog)
{
    return watchdog != NULL && watchdog->is_asked;
}

static void on_signal(int signal, siginfo_t *info, void *context)
{
    struct watchdog *watchdog = atomic_load(&the_watchdog);
    uint64_t run;
    int error = errno;

    (void)signal;
    (void)info;
    (void)context;
    if (watchdog == NULL || !pthread_equal(pthread_self(), watchdog->watched))
        return;
    run = atomic_load(&watchdog->run);
    if (run % 2 == 0 || run != atomic_load(&watchdog->judged))
        return; /* it came late: that run is over */
    watchdog->armed = atomic_load(&watchdog->verdict);
    set_hook(watchdog);
    errno = error;
}

/* Only the watched thread writes it. */
static void next_run(struct watchdog *watchdog)
{
    uint64_t run = atomic_load_explicit(&watchdog->run, memory_order_relaxed);

    atomic_store_explicit(&watchdog->run, run + 1, memory_order_release);
}

void watchdog_begin(struct watchdog *watchdog, uint64_t spent_ns,
                    const char *name)
{
    if (watchdog == NULL)
        return;
    watchdog->name = name;
    watchdog->has_ended_it = false;
    atomic_store_explicit(&watchdog->spent_ns, spent_ns, memory_order_relaxed);
    atomic_store_explicit(&watchdog->seen_ns, 0, memory_order_relaxed);
    next_run(watchdog);
    if (atomic_load_explicit(&watchdog->is_asleep, memory_order_relaxed)) {
        pthread_mutex_lock(&watchdog->mutex);
        pthread_cond_signal(&watchdog->wake);
        pthread_mutex_unlock(&watchdog->mutex);
    }
}

uint64_t watchdog_end(struct watchdog *watchdog)
{
    if (watchdog == NULL ||
        atomic_load_explicit(&watchdog->run, memory_order_relaxed) % 2 == 0)
        return 0; /* this run began before there was a watchdog */
    next_run(watchdog);
    if (watchdog->armed != FINE)
        disarm(watchdog);
    return atomic_load_explicit(&watchdog->seen_ns, memory_order_relaxed);
}

const struct err_text *watchdog_verdict(const struct watchdog *watchdog)
{
    return watchdog != NULL && watchdog->has_ended_it ? &watchdog->text : NULL;
}

bool watchdog_is_over(const struct watchdog *watchdog)
{
    return watchdog != NULL && watchdog->armed > WARN;
}

const struct watchdog_counts *watchdog_counts(const struct watchdog *watchdog)
{
    return &watchdog->counts;
}

/* ---- in the watchdog's own thread */

/* The run that it looks at. */
struct look {
    uint64_t run;
    uint64_t from_ns; /* CPU when it was first seen */
    uint64_t last_ns; /* CPU at the last look */
    bool is_warned;
};

static uint64_t heap_bytes(const struct watchdog *watchdog)
{
    return (uint64_t)lua_gc(watchdog->L, LUA_GCCOUNT, 0) * 1024;
}

static enum verdict judge(const struct watchdog *watchdog,
                          const struct look *look, uint64_t used_ns)
{
    const struct watchdog_limits *limits = &watchdog->limits;
    uint64_t spent_ns = atomic_load(&watchdog->spent_ns);

    if (atomic_load(&watchdog->interrupted) == look->run)
        return ABORT_ASKED;
    if (limits->heap_max > 0 && heap_bytes(watchdog) > limits->heap_max)
        return ABORT_HEAP;
    if (limits->abort_ns > 0 && used_ns > limits->abort_ns)
        return ABORT_RUN;
    if (limits->total_ns > 0 && spent_ns != WATCHDOG_NO_TOTAL &&
        spent_ns + used_ns > limits->total_ns)
        return ABORT_TASK;
    if (limits->warn_ns > 0 && used_ns > limits->warn_ns && !look->is_warned)
        return WARN;
    return FINE;
}

/* Says whether a task runs. */
static bool look_at(struct watchdog *watchdog, struct look *look)
{
    uint64_t run = atomic_load_explicit(&watchdog->run, memory_order_acquire);
    uint64_t now_ns;
    enum verdict verdict;

    now_ns = cpu_ns(watchdog->clock);
    if (run % 2 == 0) {
        look->last_ns = now_ns;
        return false;
    }
    if (run != look->run)
        *look = (struct look){ .run = run,
                               .from_ns = now_ns,
                               .last_ns = look->last_ns };
    /* What was used since the last look is whose run is seen: right on average,
     * also for tasks of many short runs. */
    atomic_fetch_add(&watchdog->seen_ns, now_ns - look->last_ns);
    look->last_ns = now_ns;
    atomic_store(&watchdog->from_ns, look->from_ns);
    verdict = judge(watchdog, look, now_ns - look->from_ns);
    if (verdict == FINE)
        return true;
    look->is_warned = true;
    atomic_store(&watchdog->verdict, verdict);
    atomic_store(&watchdog->judged, run);
    pthread_kill(watchdog->watched, SIGPROF);
    return true;
}

static void wait_a_tick(struct watchdog *watchdog, uint64_t ns)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_nsec += (long)(ns % 1000000000);
    at.tv_sec += (time_t)(ns / 1000000000) + at.tv_nsec / 1000000000;
    at.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&watchdog->wake, &watchdog->mutex, &at);
}

/* Nothing runs for a while: sleeps until something does.  A wake that is missed
 * for want of a fence costs a second. */
static void *watch(void *ud)
{
    struct watchdog *watchdog = ud;
    struct look look = { .run = 0 };
    unsigned quiet = 0;

    pthread_mutex_lock(&watchdog->mutex);
    while (!watchdog->is_closing) {
        quiet = look_at(watchdog, &look) ? 0 : quiet + 1;
        atomic_store(&watchdog->is_asleep, quiet > QUIET_TICKS);
        wait_a_tick(watchdog, quiet > QUIET_TICKS ? 1000000000 : TICK_NS);
    }
    pthread_mutex_unlock(&watchdog->mutex);
    return NULL;
}

/* ---- in any thread */

bool watchdog_interrupt(struct watchdog *watchdog)
{
    if (watchdog == NULL)
        return false;
    pthread_mutex_lock(&watchdog->mutex);
    atomic_store(&watchdog->interrupted, atomic_load(&watchdog->run));
    pthread_cond_signal(&watchdog->wake);
    pthread_mutex_unlock(&watchdog->mutex);
    return true;
}

/* ---- life */

static void on_sample(void *ud, lua_State *L, int samples, int state)
{
    (void)ud;
    (void)L;
    (void)samples;
    (void)state;
}

static enum err take_signal(struct watchdog *watchdog, struct err_text *why)
{
    static const struct itimerval never = { { 0, 0 }, { 0, 0 } };
    struct sigaction action = { .sa_flags = SA_RESTART | SA_SIGINFO };

    sigaction(SIGPROF, NULL, &watchdog->before);
    if (watchdog->before.sa_handler != SIG_DFL &&
        watchdog->before.sa_handler != SIG_IGN) {
        err_text_set(why, "somebody else has a handler of SIGPROF");
        return ERR_BUSY;
    }
    /* Its timer is not used; compiled code of before is thrown away. */
    luaJIT_profile_start(watchdog->L, "li1000000", on_sample, NULL);
    setitimer(ITIMER_PROF, &never, NULL);
    action.sa_sigaction = on_signal;
    sigaction(SIGPROF, &action, &watchdog->before);
    return ERR_OK;
}

static void start_cond(struct watchdog *watchdog)
{
    pthread_condattr_t attributes;

    pthread_mutex_init(&watchdog->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&watchdog->wake, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* No signal of the process is to come to this thread. */
static int start_thread(struct watchdog *watchdog)
{
    sigset_t all, before;
    int status;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    status = pthread_create(&watchdog->thread, NULL, watch, watchdog);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status;
}

enum err watchdog_new(struct watchdog **out, lua_State *L,
                      const struct log *log,
                      const struct watchdog_limits *limits,
                      struct err_text *why)
{
    struct watchdog *watchdog = calloc(1, sizeof(*watchdog));
    struct watchdog *none = NULL;
    enum err err;

    if (watchdog == NULL)
        return ERR_NOMEM;
    watchdog->L = L;
    watchdog->log = log;
    watchdog->limits = *limits;
    watchdog->watched = pthread_self();
    pthread_getcpuclockid(watchdog->watched, &watchdog->clock);
    start_cond(watchdog);
    if (!atomic_compare_exchange_strong(&the_watchdog, &none, watchdog)) {
        err_text_set(why, "this process has a watchdog, for another runtime");
        free(watchdog);
        return ERR_BUSY;
    }
    err = take_signal(watchdog, why);
    if (err == ERR_OK && start_thread(watchdog) != 0) {
        luaJIT_profile_stop(L);
        err = ERR_NOMEM;
    }
    if (err != ERR_OK) {
        atomic_store(&the_watchdog, NULL);
        free(watchdog);
        return err;
    }
    *out = watchdog;
    return ERR_OK;
}

void watchdog_free(struct watchdog *watchdog)
{
    if (watchdog == NULL)
        return;
    pthread_mutex_lock(&watchdog->mutex);
    watchdog->is_closing = true;
    pthread_cond_signal(&watchdog->wake);
    pthread_mutex_unlock(&watchdog->mutex);
    pthread_join(watchdog->thread, NULL);
    atomic_store(&the_watchdog, NULL);
    sigaction(SIGPROF, &watchdog->before, NULL);
    luaJIT_profile_stop(watchdog->L); /* gives the signal back */
    pthread_cond_destroy(&watchdog->wake);
    pthread_mutex_destroy(&watchdog->mutex);
    free(watchdog);
}
