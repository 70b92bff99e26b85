/* wake.c - see wake.h. */
#include "net/wake.h"

#include <stdlib.h>

#include "net/inside.h"

struct wake {
    uv_async_t handle;
    struct loop *loop;
    void (*fn)(void *ud);
    void *ud;
};

static void on_wake(uv_async_t *handle)
{
    struct wake *wake = container_of(handle, struct wake, handle);

    if (loop_may_handle(wake->loop))
        wake->fn(wake->ud);
    else
        uv_async_send(handle); /* for the next turn */
}

static void on_closed(uv_handle_t *handle)
{
    struct wake *wake = container_of((uv_async_t *)handle, struct wake, handle);

    wake->loop->open--;
    free(wake);
}

enum err wake_open(struct wake **out, struct loop *loop, void (*fn)(void *ud),
                   void *ud)
{
    struct wake *wake = calloc(1, sizeof(*wake));
    int status;

    if (wake == NULL)
        return ERR_NOMEM;
    wake->loop = loop;
    wake->fn = fn;
    wake->ud = ud;
    status = uv_async_init(loop->uv, &wake->handle, on_wake);
    if (status != 0) {
        free(wake);
        return err_of_uv(status);
    }
    loop->open++;
    uv_unref((uv_handle_t *)&wake->handle);
    *out = wake;
    return ERR_OK;
}

void wake_send(struct wake *wake)
{
    uv_async_send(&wake->handle);
}

void wake_close(struct wake *wake)
{
    if (wake != NULL)
        uv_close((uv_handle_t *)&wake->handle, on_closed);
}
