/* work.c - see work.h. */
#include "net/work.h"

#include <sched.h>
#include <stdlib.h>

#include "net/inside.h"

struct work {
    uv_work_t request;
    struct loop_job job; /* tells of its end */
    struct loop *loop;
    void (*run)(void *ud);
    void (*done)(void *ud);
    void *ud;
};

/* A thread that is woken may get the processor of the one that woke it, in the
 * middle of a step, and keep it for milliseconds, even if others are idle; so
 * it hands it back first. */
static void on_run(uv_work_t *request)
{
    struct work *work = container_of(request, struct work, request);

    sched_yield();
    work->run(work->ud);
}

static void on_job(struct loop_job *job)
{
    struct work *work = container_of(job, struct work, job);
    void (*done)(void *ud) = work->done;
    void *ud = work->ud;

    work->loop->open--;
    free(work);
    done(ud);
}

/* libuv tells of all that have ended at once: each has its own place in a
 * turn. */
static void on_done(uv_work_t *request, int status)
{
    struct work *work = container_of(request, struct work, request);

    (void)status; /* never cancelled */
    loop_defer(work->loop, LOOP_RUN, &work->job);
}

enum err work_start(struct loop *loop, void (*run)(void *ud),
                    void (*done)(void *ud), void *ud)
{
    struct work *work = calloc(1, sizeof(*work));
    int status;

    if (work == NULL)
        return ERR_NOMEM;
    work->job.fn = on_job;
    work->loop = loop;
    work->run = run;
    work->done = done;
    work->ud = ud;
    status = uv_queue_work(loop->uv, &work->request, on_run, on_done);
    if (status != 0) {
        free(work);
        return err_of_uv(status);
    }
    loop->open++;
    return ERR_OK;
}

static void do_nothing(void *ud)
{
    (void)ud;
}

void work_prepare(struct loop *loop)
{
    if (work_start(loop, do_nothing, do_nothing, NULL) != ERR_OK)
        return; /* so it waits */
}
