/* listener.c - see stream.h. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/deadline.h"
#include "net/inside.h"
#include "net/stream.h"
#include "net/watch.h"

enum {
    BACKLOG = 511,
    ACCEPTS_A_TURN = 64, /* then the connections that are open have a go */
    HOST_MAX = 256,
};

/* How long to leave the queue alone when there is no descriptor to take. */
static const uint64_t NO_DESCRIPTOR_NS = 100 * (uint64_t)1000000;

struct listener {
    struct loop *loop;
    struct watch *watch;
    int fd;
    listener_fn fn;
    void *ud;
    struct deadline retry; /* of accepting, when out of descriptors */
    struct loop_job free_job;
    bool is_closed;
    char address[ADDRESS_TEXT_MAX];
    struct stat file; /* of a unix socket, to remove no other */
};

/* What is being opened, and where to say why it failed. */
struct plan {
    const char *address;
    struct err_text *why;
    struct sockaddr_storage socket;
    socklen_t len;
};

static enum err refuse(const struct plan *plan, const char *reason)
{
    err_text_set(plan->why, "cannot listen on %s: %s", plan->address, reason);
    return ERR_BADARG;
}

static enum err refuse_errno(const struct plan *plan, int error)
{
    switch (error) {
    case EADDRINUSE: return refuse(plan, "the port is in use");
    case EADDRNOTAVAIL: return refuse(plan, "this machine has no such address");
    case EACCES: return refuse(plan, "permission denied");
    case ENOMEM: refuse(plan, errno_text(error)); return ERR_NOMEM;
    default: return refuse(plan, errno_text(error));
    }
}

/* ---- unix sockets */

/* Removes a socket file that a process left behind. */
static enum err clear_path(const struct plan *plan, const char *path)
{
    struct stat file;
    int fd, error = 0;

    if (lstat(path, &file) != 0)
        return errno == ENOENT ? ERR_OK : refuse_errno(plan, errno);
    if (!S_ISSOCK(file.st_mode))
        return refuse(plan, "the file exists and is not a socket");
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return refuse_errno(plan, errno);
    if (connect(fd, (const struct sockaddr *)&plan->socket, plan->len) != 0)
        error = errno;
    close(fd);
    if (error == 0 || error == EAGAIN)
        return refuse(plan, "another process listens there");
    if (error != ECONNREFUSED)
        return refuse_errno(plan, error);
    if (unlink(path) != 0 && errno != ENOENT)
        return refuse_errno(plan, errno);
    return ERR_OK;
}

static void remove_file(const struct listener *listener)
{
    const char *path = listener->address + strlen("unix:");
    struct stat file;

    if (listener->file.st_ino != 0 && lstat(path, &file) == 0 &&
        file.st_ino == listener->file.st_ino &&
        file.st_dev == listener->file.st_dev)
        unlink(path);
}

/* ---- binding */

/* Makes listener->fd a listening socket on plan->socket. */
static enum err bind_socket(struct listener *listener, const struct plan *plan)
{
    const struct sockaddr *address = (const struct sockaddr *)&plan->socket;
    int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    int on = 1;
    int error;

    listener->fd = socket(address->sa_family, type, 0);
    if (listener->fd < 0)
        return refuse_errno(plan, errno);
    if (address->sa_family != AF_UNIX) {
        setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        /* Connections that are accepted inherit it. */
        setsockopt(listener->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    if (bind(listener->fd, address, plan->len) == 0 &&
        listen(listener->fd, BACKLOG) == 0)
        return ERR_OK;
    error = errno;
    close(listener->fd);
    listener->fd = -1;
    return refuse_errno(plan, error);
}

static enum err bind_unix(struct listener *listener, struct plan *plan)
{
    const char *path = plan->address + strlen("unix:");
    enum err err;

    if (path[0] == '\0')
        return refuse(plan, "there is no path");
    if (!address_of_path(&plan->socket, &plan->len, path))
        return refuse(plan, "the path is too long for a socket");
    err = clear_path(plan, path);
    if (err == ERR_OK)
        err = bind_socket(listener, plan);
    if (err == ERR_OK && lstat(path, &listener->file) != 0)
        listener->file.st_ino = 0;
    return err;
}

/* Splits "host:port" or "[host]:port"; returns the port or NULL. */
static const char *split(const struct plan *plan, char host[HOST_MAX])
{
    const char *colon = strrchr(plan->address, ':');
    const char *begin = plan->address;
    size_t len = colon != NULL ? (size_t)(colon - begin) : 0;
    char *end;
    unsigned long port;

    if (len >= 2 && begin[0] == '[' && begin[len - 1] == ']') {
        begin++;
        len -= 2;
    } else if (memchr(begin, ':', len) != NULL) {
        return NULL; /* an IPv6 address without its brackets */
    }
    if (len == 0 || len >= HOST_MAX || colon[1] < '0' || colon[1] > '9')
        return NULL;
    port = strtoul(colon + 1, &end, 10);
    if (*end != '\0' || port > UINT16_MAX)
        return NULL;
    memcpy(host, begin, len);
    host[len] = '\0';
    return colon + 1;
}

/* Binds the first address of family that lets itself be bound. */
static enum err bind_first(struct listener *listener, struct plan *plan,
                           const struct addrinfo *found, int family)
{
    enum err err = ERR_REFUSED; /* none of that family */

    for (; found != NULL && err != ERR_OK; found = found->ai_next) {
        if (found->ai_family != family)
            continue;
        memcpy(&plan->socket, found->ai_addr, found->ai_addrlen);
        plan->len = found->ai_addrlen;
        err = bind_socket(listener, plan);
    }
    return err;
}

static enum err bind_tcp(struct listener *listener, struct plan *plan)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
    struct addrinfo *found;
    char host[HOST_MAX];
    const char *port = split(plan, host);
    enum err err;
    int status;

    if (port == NULL)
        return refuse(plan, "the form is HOST:PORT, [IPV6]:PORT or unix:PATH");
    status = getaddrinfo(host, port, &hints, &found);
    if (status != 0) {
        refuse(plan, gai_strerror(status));
        return status == EAI_MEMORY ? ERR_NOMEM : ERR_BADARG;
    }
    /* Of "localhost" 127.0.0.1 is what clients try, whatever comes first. */
    err = bind_first(listener, plan, found, AF_INET);
    if (err == ERR_REFUSED)
        err = bind_first(listener, plan, found, AF_INET6);
    freeaddrinfo(found);
    return err;
}

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
    int fd = accept4(listener->fd, (struct sockaddr *)&peer, &len,
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

static void name_address(struct listener *listener)
{
    struct sockaddr_storage bound = { 0 };
    socklen_t len = sizeof(bound);

    getsockname(listener->fd, (struct sockaddr *)&bound, &len);
    address_text((struct sockaddr *)&bound, len, listener->address);
}

enum err listener_open(struct listener **out, struct loop *loop,
                       const char *address, listener_fn fn, void *ud,
                       struct err_text *why)
{
    struct plan plan = { .address = address, .why = why };
    struct listener *listener = calloc(1, sizeof(*listener));
    enum err err;

    if (listener == NULL)
        return refuse_errno(&plan, ENOMEM);
    listener->loop = loop;
    listener->fn = fn;
    listener->ud = ud;
    listener->retry.fn = on_retry;
    listener->free_job.fn = on_free;
    if (strncmp(address, "unix:", strlen("unix:")) == 0)
        err = bind_unix(listener, &plan);
    else
        err = bind_tcp(listener, &plan);
    if (err != ERR_OK)
        goto fail;
    name_address(listener);
    err = watch_open(&listener->watch, loop, listener->fd, on_ready, listener);
    if (err != ERR_OK) {
        refuse(&plan, err_sentence(err));
        remove_file(listener);
        close(listener->fd);
        goto fail;
    }
    watch_want(listener->watch, WATCH_READ);
    loop->open++;
    *out = listener;
    return ERR_OK;

fail:
    free(listener);
    return err;
}

const char *listener_address(const struct listener *listener)
{
    return listener->address;
}

void listener_close(struct listener *listener)
{
    if (listener == NULL)
        return;
    assert(!listener->is_closed);
    listener->is_closed = true;
    deadline_stop(listener->loop, &listener->retry);
    remove_file(listener);
    watch_close(listener->watch);
    close(listener->fd);
    loop_defer(listener->loop, LOOP_FLUSH, &listener->free_job);
}
