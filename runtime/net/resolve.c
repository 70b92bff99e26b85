/* resolve.c - see resolve.h. */
#include "net/resolve.h"

#include <stdlib.h>
#include <string.h>

#include "net/inside.h"

struct resolve {
    uv_getaddrinfo_t request;
    struct loop_job job; /* brings the answer */
    struct loop *loop;
    int status; /* the answer: libuv's, and addresses */
    struct addrinfo *addresses;
    resolve_fn fn; /* NULL: cancelled */
    void *ud;
    char host[]; /* for the text */
};

/* Numbers need no name server: known at once, whatever the threads do. */
static const struct addrinfo numeric_hints = {
    .ai_socktype = SOCK_STREAM,
    .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
};
static const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };

static void tell_failure(struct resolve *resolve)
{
    struct err_text why = { 0 };

    err_text_set(&why, "cannot resolve %s: %s", resolve->host,
                 uv_strerror(resolve->status));
    resolve->fn(resolve,
                resolve->status == UV_EAI_MEMORY ? ERR_NOMEM : ERR_REFUSED,
                NULL, &why, resolve->ud);
}

static void on_job(struct loop_job *job)
{
    struct resolve *resolve = container_of(job, struct resolve, job);
    struct addrinfo *addresses = resolve->addresses;
    struct err_text none = { 0 };

    if (resolve->fn != NULL && resolve->status != 0)
        tell_failure(resolve);
    else if (resolve->fn != NULL)
        resolve->fn(resolve, ERR_OK, addresses, &none, resolve->ud);
    if (addresses != NULL)
        freeaddrinfo(addresses);
    resolve->loop->open--;
    free(resolve);
}

static void on_resolved(uv_getaddrinfo_t *request, int status,
                        struct addrinfo *addresses)
{
    struct resolve *resolve = container_of(request, struct resolve, request);

    resolve->status = status;
    resolve->addresses = addresses;
    loop_defer(resolve->loop, LOOP_RUN, &resolve->job);
}

enum err resolve_start(struct resolve **out, struct loop *loop,
                       const char *host, const char *port, resolve_fn fn,
                       void *ud)
{
    size_t size = strlen(host) + 1;
    struct resolve *resolve = calloc(1, sizeof(*resolve) + size);

    if (resolve == NULL)
        return ERR_NOMEM;
    resolve->loop = loop;
    resolve->fn = fn;
    resolve->ud = ud;
    resolve->job.fn = on_job;
    memcpy(resolve->host, host, size);
    if (getaddrinfo(host, port, &numeric_hints, &resolve->addresses) == 0) {
        loop_defer(loop, LOOP_RUN, &resolve->job);
    } else {
        int status = uv_getaddrinfo(loop->uv, &resolve->request, on_resolved,
                                    host, port, &hints);

        if (status != 0) {
            free(resolve);
            return status == UV_ENOMEM ? ERR_NOMEM : ERR_BADARG;
        }
    }
    loop->open++;
    *out = resolve;
    return ERR_OK;
}

void resolve_cancel(struct resolve *resolve)
{
    if (resolve == NULL)
        return;
    resolve->fn = NULL;
    /* A look-up that has begun cannot be stopped: it ends by itself. */
    if (resolve->addresses == NULL)
        uv_cancel((uv_req_t *)&resolve->request);
}
