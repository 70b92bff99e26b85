/* watch.c - see watch.h. */
#include "net/watch.h"

#include <stdlib.h>

#include "net/inside.h"

struct watch {
    uv_poll_t poll;
    struct loop *loop;
    watch_fn fn;
    void *ud;
    int fd;
    int wanted;    /* WATCH_* */
    bool is_unref; /* not counted, and the loop may end before it */
};

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct watch *watch = container_of(poll, struct watch, poll);
    int ready = 0;

    if (status == 0 && !loop_may_handle(watch->loop))
        return; /* it is still ready in the next turn */
    if (status < 0) {
        watch->wanted = 0; /* libuv has stopped it */
        ready = WATCH_READ | WATCH_WRITE;
    }
    if ((events & UV_READABLE) != 0)
        ready |= WATCH_READ;
    if ((events & UV_WRITABLE) != 0)
        ready |= WATCH_WRITE;
    watch->fn(watch, ready, watch->ud);
}

enum err watch_open(struct watch **out, struct loop *loop, int fd, watch_fn fn,
                    void *ud)
{
    struct watch *watch = calloc(1, sizeof(*watch));
    int status;

    if (watch == NULL)
        return ERR_NOMEM;
    status = uv_poll_init(loop->uv, &watch->poll, fd);
    if (status != 0) {
        free(watch); /* the handle was not begun */
        return status == UV_ENOMEM ? ERR_NOMEM : ERR_BADARG;
    }
    watch->loop = loop;
    watch->fn = fn;
    watch->ud = ud;
    watch->fd = fd;
    loop->open++;
    *out = watch;
    return ERR_OK;
}

void watch_want(struct watch *watch, int events)
{
    int uv_events = 0;

    if (watch->wanted == events)
        return;
    watch->wanted = events;
    if ((events & WATCH_READ) != 0)
        uv_events |= UV_READABLE;
    if ((events & WATCH_WRITE) != 0)
        uv_events |= UV_WRITABLE;
    if (uv_events == 0)
        uv_poll_stop(&watch->poll);
    else
        uv_poll_start(&watch->poll, uv_events, on_poll);
}

int watch_fd(const struct watch *watch)
{
    return watch->fd;
}

static void on_closed(uv_handle_t *handle)
{
    struct watch *watch = container_of((uv_poll_t *)handle, struct watch, poll);

    if (!watch->is_unref)
        watch->loop->open--;
    free(watch);
}

void watch_unref(struct watch *watch)
{
    assert(!watch->is_unref);
    watch->is_unref = true;
    watch->loop->open--;
    uv_unref((uv_handle_t *)&watch->poll);
}

void watch_close(struct watch *watch)
{
    if (watch != NULL)
        uv_close((uv_handle_t *)&watch->poll, on_closed);
}
