/* work.c - see work.h. */
#include "net/work.h"

#include <stdlib.h>

#include "net/inside.h"

struct work {
    uv_work_t request;
    struct loop *loop;
    void (*run)(void *ud);
    void (*done)(void *ud);
    void *ud;
};

static void on_run(uv_work_t *request)
{
    struct work *work = container_of(request, struct work, request);

    work->run(work->ud);
}

static void on_done(uv_work_t *request, int status)
{
    struct work *work = container_of(request, struct work, request);
    void (*done)(void *ud) = work->done;
    void *ud = work->ud;

    (void)status; /* never cancelled */
    work->loop->open--;
    free(work);
    done(ud);
}

enum err work_start(struct loop *loop, void (*run)(void *ud),
                    void (*done)(void *ud), void *ud)
{
    struct work *work = calloc(1, sizeof(*work));
    int status;

    if (work == NULL)
        return ERR_NOMEM;
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
