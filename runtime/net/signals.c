/* signals.c - see signals.h. */
#include "net/signals.h"

#include <stdlib.h>

#include "net/inside.h"

struct signal_watch {
    uv_signal_t handle;
    struct loop *loop;
    signal_fn fn;
    void *ud;
};

static void on_signal(uv_signal_t *handle, int signal)
{
    struct signal_watch *watch =
        container_of(handle, struct signal_watch, handle);

    watch->fn(signal, watch->ud);
}

static void on_closed(uv_handle_t *handle)
{
    struct signal_watch *watch =
        container_of((uv_signal_t *)handle, struct signal_watch, handle);

    watch->loop->open--;
    free(watch);
}

enum err signal_watch_open(struct signal_watch **out, struct loop *loop,
                           int signal, signal_fn fn, void *ud)
{
    struct signal_watch *watch = calloc(1, sizeof(*watch));
    int status;

    if (watch == NULL)
        return ERR_NOMEM;
    watch->loop = loop;
    watch->fn = fn;
    watch->ud = ud;
    status = uv_signal_init(loop->uv, &watch->handle);
    if (status != 0) {
        free(watch);
        return err_of_uv(status);
    }
    loop->open++;
    uv_unref((uv_handle_t *)&watch->handle);
    status = uv_signal_start(&watch->handle, on_signal, signal);
    if (status != 0) {
        signal_watch_close(watch);
        return status == UV_EINVAL ? ERR_BADARG : err_of_uv(status);
    }
    *out = watch;
    return ERR_OK;
}

void signal_watch_close(struct signal_watch *watch)
{
    if (watch != NULL)
        uv_close((uv_handle_t *)&watch->handle, on_closed);
}
