/* listener.c - see stream.h. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "net/deadline.h"
#include "net/inside.h"
#include "net/stream.h"
#include "net/watch.h"

/* Then the connections that are open have a go. */
enum { ACCEPTS_A_TURN = 64 };
enum { BACKLOG_MOST = 4096 };

/* How long to leave the queue alone when there is no descriptor to take. */
static const uint64_t NO_DESCRIPTOR_NS = 100 * (uint64_t)1000000;

struct listener {
    struct loop *loop;
    struct watch *watch;
    struct listen_socket socket;
    listener_fn fn;
    void *ud;
    struct deadline retry; /* of accepting, when out of descriptors */
    struct loop_job free_job;
    bool is_closed;
};

/* ---- accepting */

static void on_retry(struct deadline *deadline)
{
    struct listener *listener = container_of(deadline, struct listener, retry);

    watch_want(listener->watch, WATCH_READ);
}

static bool is_out_of_means(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS ||
           error == ENOMEM;
}

/* Takes one connection; false when there is none to take now. */
static bool accept_one(struct listener *listener)
{
    struct sockaddr_storage peer = { 0 };
    socklen_t len = sizeof(peer);
    struct stream *stream;
    int fd = accept4(listener->socket.fd, (struct sockaddr *)&peer, &len,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd >= 0) {
        if (stream_adopt(&stream, listener->loop, fd, (struct sockaddr *)&peer,
                         len) == ERR_OK)
            listener->fn(listener, stream, listener->ud);
        return true;
    }
    if (is_out_of_means(errno)) {
        /* It stays in the queue and so readable: do not spin on it. */
        watch_want(listener->watch, 0);
        deadline_start(listener->loop, &listener->retry,
                       loop_now_ns(listener->loop) + NO_DESCRIPTOR_NS);
        return false;
    }
    return errno != EAGAIN; /* that one has gone: the next */
}

static void on_ready(struct watch *watch, int ready, void *ud)
{
    struct listener *listener = ud;

    (void)watch;
    (void)ready;
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        if (listener->is_closed || !accept_one(listener))
            return;
    }
}

static void on_free(struct loop_job *job)
{
    struct listener *listener = container_of(job, struct listener, free_job);

    listener->loop->open--;
    free(listener);
}

enum err listener_open_on(struct listener **out, struct loop *loop,
                          const struct listen_socket *socket, listener_fn fn,
                          void *ud)
{
    struct listener *listener = calloc(1, sizeof(*listener));
    enum err err;

    if (listener == NULL)
        return ERR_NOMEM;
    listener->loop = loop;
    listener->socket = *socket;
    listener->fn = fn;
    listener->ud = ud;
    listener->retry.fn = on_retry;
    listener->free_job.fn = on_free;
    err = watch_open(&listener->watch, loop, socket->fd, on_ready, listener);
    if (err != ERR_OK) {
        free(listener);
        return err;
    }
    watch_want(listener->watch, WATCH_READ);
    loop->open++;
    *out = listener;
    return ERR_OK;
}

enum err listener_open(struct listener **out, struct loop *loop,
                       const char *address, listener_fn fn, void *ud,
                       struct err_text *why)
{
    struct listen_socket socket;
    enum err err = listen_socket_open(&socket, address, why);

    if (err != ERR_OK)
        return err;
    err = listener_open_on(out, loop, &socket, fn, ud);
    if (err == ERR_OK)
        return ERR_OK;
    err_text_set(why, "cannot listen on %s: %s", address, err_sentence(err));
    listen_socket_close(&socket);
    return err;
}

const char *listener_address(const struct listener *listener)
{
    return listener->socket.address;
}

int listener_fd(const struct listener *listener)
{
    return listener->socket.fd;
}

void listener_accept_all(struct listener *listener)
{
    for (int i = 0; i < BACKLOG_MOST; i++) {
        if (listener->is_closed || !accept_one(listener))
            return;
    }
}

size_t listener_room(const struct listener *listener)
{
    size_t before = (size_t)listener->socket.fd;
    struct rlimit limit;
    size_t most;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
        limit.rlim_cur == RLIM_INFINITY)
        return SIZE_MAX;
    most = (size_t)(limit.rlim_cur - limit.rlim_cur / 8);
    return most > before ? most - before : 1;
}

void listener_close(struct listener *listener)
{
    if (listener == NULL)
        return;
    assert(!listener->is_closed);
    listener->is_closed = true;
    deadline_stop(listener->loop, &listener->retry);
    watch_close(listener->watch);
    listen_socket_close(&listener->socket);
    loop_defer(listener->loop, LOOP_FLUSH, &listener->free_job);
}
