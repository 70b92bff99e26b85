/* loop.c - see loop.h. */
#include "net/loop.h"

#include <assert.h>
#include <stdlib.h>

#include "net/inside.h"

/* Bounds on one visit, so that jobs that make jobs do not starve the poll. */
enum { RUN_ROUNDS = 16, PASSES = 8 };

/* What a turn that is over may still take to send what it has made: else that
 * waits for as long as the host does. */
enum { FLUSH_NS = 200000 };

enum err err_of_uv(int status)
{
    if (status == 0)
        return ERR_OK;
    return status == UV_ENOMEM ? ERR_NOMEM : ERR_INTERNAL;
}

static bool has_jobs(const struct loop *loop)
{
    return loop->jobs[LOOP_RUN].len + loop->jobs[LOOP_FLUSH].len > 0;
}

/* Whether a turn that ends late_ns after its time may begin one more piece; the
 * first one it always may. */
static bool may_begin(struct loop *loop, uint64_t late_ns)
{
    bool may = !loop->has_worked || loop->until_ns == 0 ||
               loop_system_ns() < loop->until_ns + late_ns;

    loop->has_worked = true;
    if (may)
        loop->do_deadlines_pass = false;
    return may;
}

/* Runs as many jobs as wait now: those that they add are for the next round.
 * False: the turn is over, and the rest is for the next one. */
static bool run_round(struct loop *loop, enum loop_stage stage)
{
    struct list *jobs = &loop->jobs[stage];
    uint64_t late_ns = stage == LOOP_FLUSH ? FLUSH_NS : 0;

    for (uint32_t left = jobs->len; left > 0 && jobs->len > 0; left--) {
        struct loop_job *job;

        if (!may_begin(loop, late_ns))
            return false;
        job = container_of(list_pop_front(jobs), struct loop_job, node);
        job->fn(job);
    }
    return true;
}

/* True: all have run. */
static bool run_until_over(struct loop *loop)
{
    struct list *run = &loop->jobs[LOOP_RUN];
    bool is_over = false;

    for (int round = 0; round < RUN_ROUNDS && run->len > 0 && !is_over; round++)
        is_over = !run_round(loop, LOOP_RUN);
    return run_round(loop, LOOP_FLUSH) && !is_over;
}

static void run_jobs(struct loop *loop)
{
    if (!has_jobs(loop))
        return;
    loop->is_running_jobs = true;
    if (!loop->is_flush_late || run_round(loop, LOOP_FLUSH))
        for (int pass = 0; pass < PASSES && has_jobs(loop); pass++)
            if (!run_until_over(loop))
                break;
    loop->is_flush_late = loop->jobs[LOOP_FLUSH].len > 0;
    loop->is_running_jobs = false;
    if (!has_jobs(loop))
        uv_idle_stop(&loop->idle);
}

/* Jobs come first, unless they left no time for events in the turn before. */
static void on_prepare(uv_prepare_t *prepare)
{
    struct loop *loop = prepare->data;
    bool are_events_first = loop->are_events_late;

    loop->are_events_late = false;
    if (!are_events_first)
        run_jobs(loop);
    deadline_look(loop);
}

static void on_check(uv_check_t *check)
{
    run_jobs(check->data);
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle; /* being active is its job */
}

static void on_turn_over(uv_timer_t *timer)
{
    (void)timer; /* waking the poll is its job */
}

/* None of these can fail once the loop is there. */
static void init_handles(struct loop *loop)
{
    uv_prepare_init(loop->uv, &loop->prepare);
    uv_check_init(loop->uv, &loop->check);
    uv_idle_init(loop->uv, &loop->idle);
    uv_timer_init(loop->uv, &loop->timer);
    uv_timer_init(loop->uv, &loop->turn);
    loop->prepare.data = loop;
    loop->check.data = loop;
    loop->idle.data = loop;
    loop->timer.data = loop;
    loop->turn.data = loop;
    loop->closing = 5;
    uv_prepare_start(&loop->prepare, on_prepare);
    uv_check_start(&loop->check, on_check);
    uv_unref((uv_handle_t *)&loop->prepare);
    uv_unref((uv_handle_t *)&loop->check);
}

enum err loop_new(struct loop **out, void *uv_loop, struct loop_clock clock)
{
    struct loop *loop = calloc(1, sizeof(*loop));

    if (loop == NULL)
        return ERR_NOMEM;
    loop->clock = clock;
    loop->uv = uv_loop;
    if (uv_loop == NULL) {
        int status = uv_loop_init(&loop->own);

        if (status != 0) {
            free(loop);
            return err_of_uv(status);
        }
        loop->uv = &loop->own;
    }
    for (int stage = 0; stage < LOOP_STAGES; stage++)
        list_init(&loop->jobs[stage]);
    list_init(&loop->orphans);
    init_handles(loop);
    deadline_init_loop(loop);
    *out = loop;
    return ERR_OK;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct loop *loop = handle->data;

    assert(loop->closing > 0);
    if (--loop->closing == 0 && loop->uv != &loop->own)
        free(loop);
}

void loop_free(struct loop *loop)
{
    bool is_own;

    if (loop == NULL)
        return;
    assert(loop->open == 0 && !has_jobs(loop));
    is_own = loop->uv == &loop->own;
    process_forget_orphans(loop);
    uv_close((uv_handle_t *)&loop->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&loop->check, on_handle_closed);
    uv_close((uv_handle_t *)&loop->idle, on_handle_closed);
    uv_close((uv_handle_t *)&loop->timer, on_handle_closed);
    uv_close((uv_handle_t *)&loop->turn, on_handle_closed);
    if (!is_own) {
        uv_run(loop->uv, UV_RUN_NOWAIT); /* frees it when all are closed */
        return;
    }
    uv_run(loop->uv, UV_RUN_DEFAULT);
    assert(loop->closing == 0);
    uv_loop_close(loop->uv);
    free(loop);
}

uint64_t loop_now_ns(struct loop *loop)
{
    uint64_t now_ns;

    if (loop->clock.now_ns == NULL)
        return uv_hrtime() + loop->lead_ns;
    now_ns = loop->clock.now_ns(loop->clock.ud);
    if (now_ns > loop->latest_ns)
        loop->latest_ns = now_ns;
    else if (loop->latest_ns == 0)
        loop->latest_ns = 1; /* 0 says never */
    return loop->latest_ns;
}

bool loop_has_clock(const struct loop *loop)
{
    return loop->clock.now_ns != NULL;
}

void loop_drop_clock(struct loop *loop)
{
    if (loop->clock.now_ns == NULL)
        return;
    loop->lead_ns = loop_now_ns(loop) - uv_hrtime(); /* modulo 2^64 */
    loop->clock.now_ns = NULL;
    deadline_look(loop);
}

uint64_t loop_system_ns(void)
{
    return uv_hrtime();
}

uint64_t loop_still_ns(const struct loop *loop)
{
    uint64_t turned_ns = uv_now(loop->uv) * 1000000;
    uint64_t now_ns = uv_hrtime();

    return now_ns > turned_ns ? now_ns - turned_ns : 0;
}

void loop_defer(struct loop *loop, enum loop_stage stage, struct loop_job *job)
{
    assert(job->fn != NULL);
    if (list_is_linked(&job->node))
        return;
    if (!has_jobs(loop) && !loop->is_running_jobs)
        uv_idle_start(&loop->idle, on_idle);
    list_push_back(&loop->jobs[stage], &job->node);
}

void loop_cancel(struct loop *loop, enum loop_stage stage, struct loop_job *job)
{
    if (!list_is_linked(&job->node))
        return;
    list_remove(&loop->jobs[stage], &job->node);
    if (!has_jobs(loop) && !loop->is_running_jobs)
        uv_idle_stop(&loop->idle);
}

void loop_run(struct loop *loop)
{
    uv_run(loop->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *loop)
{
    uv_stop(loop->uv);
}

void loop_turn(struct loop *loop, int timeout_ms)
{
    uv_run_mode mode = timeout_ms == 0 ? UV_RUN_NOWAIT : UV_RUN_ONCE;

    deadline_look(loop);
    if (timeout_ms >= 0) {
        /* Active, it also makes libuv poll when nothing else is open. */
        uint64_t wait_ms = timeout_ms > 0 ? (uint64_t)timeout_ms : 1;

        uv_update_time(loop->uv);
        /* Again after it, for libuv before 1.45 runs timers before it polls,
         * too: when the time is up by then, the poll must still end. */
        uv_timer_start(&loop->turn, on_turn_over, wait_ms, 1);
    }
    uv_run(loop->uv, mode);
    uv_timer_stop(&loop->turn);
}

void loop_settle(struct loop *loop)
{
    if (loop->uv == &loop->own) {
        loop_run(loop);
        return;
    }
    while (loop->open > 0) /* the host may have much else on it */
        loop_turn(loop, 100);
}

void loop_turn_until(struct loop *loop, uint64_t until_ns)
{
    loop->until_ns = until_ns;
    loop->has_worked = false;
    loop->has_handled = false;
    loop_turn(loop, 0);
    loop->until_ns = 0;
}

bool loop_is_over(const struct loop *loop)
{
    return loop->until_ns != 0 && loop_system_ns() >= loop->until_ns;
}

void loop_begin_deadline(struct loop *loop)
{
    loop->has_worked = true;
}

bool loop_may_handle(struct loop *loop)
{
    bool may = may_begin(loop, 0);

    loop->has_handled |= may;
    loop->are_events_late = !loop->has_handled;
    return may;
}

int loop_poll_fd(const struct loop *loop)
{
    return uv_backend_fd(loop->uv);
}

/* Descriptors that the next poll begins to look at, or does not any more; of
 * these libuv before 1.45 says nothing. */
static bool has_changed_watchers(const struct loop *loop)
{
#if UV_VERSION_HEX < 0x012d00
    return loop->uv->watcher_queue[0] != &loop->uv->watcher_queue;
#else
    (void)loop;
    return false;
#endif
}

int loop_next_timeout_ms(struct loop *loop)
{
    if (has_jobs(loop) || has_changed_watchers(loop))
        return 0;
    if (!uv_loop_alive(loop->uv))
        return -1; /* what does not keep it running is read only */
    uv_update_time(loop->uv);
    deadline_look(loop);
    return uv_backend_timeout(loop->uv);
}

unsigned loop_open_handles(const struct loop *loop)
{
    return loop->open;
}
