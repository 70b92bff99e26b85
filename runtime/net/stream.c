/* stream.c - see stream.h.  Sockets of our own on a watch: unlike libuv's
 * streams they write with MSG_NOSIGNAL, so no host has to ignore SIGPIPE. */
#include "net/stream.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/inside.h"
#include "net/watch.h"

enum {
    READ_FIRST = 4 * 1024, /* the room of a read, */
    READ_MOST = 64 * 1024, /* which grows while reads fill it */
    KEEP_MOST = 64 * 1024, /* an empty buffer with more than this is freed */

    KEEPALIVE_IDLE_S = 10, /* a silent peer is asked after this time, */
    KEEPALIVE_EVERY_S = 5, /* this often, */
    KEEPALIVE_TIMES = 3,   /* so many times */
    USER_TIMEOUT_MS = 10000,
};

enum stream_state {
    STREAM_CONNECTING,
    STREAM_OPEN,
    STREAM_ENDED,  /* the peer ended its side; writing still works */
    STREAM_FAILED, /* neither */
    STREAM_CLOSED, /* its memory goes at the end of the turn */
};

struct stream {
    struct loop *loop;
    struct watch *watch; /* NULL when there is no socket */
    enum stream_state state;
    int fd;
    int connect_error; /* errno of a connect that failed at once */
    bool is_paused;
    bool is_full;     /* the kernel takes no more: wait for WATCH_WRITE */
    bool is_last;     /* shut our side down when all is sent */
    size_t read_size; /* the room made for a read */
    struct buf in, out;
    struct loop_job open_job;  /* a connect that was over at once */
    struct loop_job flush_job; /* the write of this turn */
    struct loop_job free_job;
    struct stream_events events;
    void *ud;
    char peer[ADDRESS_TEXT_MAX];
};

/* Tells the watch what the stream waits for now. */
static void update(struct stream *stream)
{
    int want = 0;

    if (stream->watch == NULL || stream->state == STREAM_CLOSED)
        return;
    if (stream->state == STREAM_CONNECTING)
        want |= WATCH_WRITE;
    if (stream->state == STREAM_OPEN && !stream->is_paused)
        want |= WATCH_READ;
    if (stream->is_full)
        want |= WATCH_WRITE;
    watch_want(stream->watch, want);
}

/* An empty buffer that has grown large gives its memory back. */
static void trim(struct buf *buf)
{
    if (buf->len == 0 && buf->cap > KEEP_MOST)
        buf_free(buf);
}

/* After it the stream may be closed, though its memory is still there. */
static void call_end(struct stream *stream, const struct err_text *text)
{
    if (stream->events.on_end != NULL)
        stream->events.on_end(stream, text, stream->ud);
}

/* what: "cannot connect to".  Nothing is read nor written from here on. */
static void fail(struct stream *stream, const char *what, int error)
{
    bool has_ended = stream->state == STREAM_ENDED;
    struct err_text text = { 0 };

    stream->state = STREAM_FAILED;
    stream->is_full = false;
    update(stream); /* out stays, so that stream_unsent() is true in on_end */
    if (has_ended)
        return;
    err_text_set(&text, "%s %s: %s", what, stream->peer, errno_text(error));
    call_end(stream, &text);
}

/* ---- writing */

/* True when all is sent, or there is no more to do about it. */
static bool send_out(struct stream *stream)
{
    struct buf *out = &stream->out;

    while (out->len > 0) {
        ssize_t sent = send(stream->fd, out->data, out->len, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno != EAGAIN) {
            fail(stream, "cannot write to", errno);
            return false;
        }
        if (sent > 0)
            buf_consume(out, (size_t)sent);
        if (out->len > 0) {
            stream->is_full = true;
            return false;
        }
    }
    return true;
}

static void on_flush(struct loop_job *job)
{
    struct stream *stream = container_of(job, struct stream, flush_job);

    if (stream->is_full ||
        (stream->state != STREAM_OPEN && stream->state != STREAM_ENDED))
        return;
    if (buf_failed(&stream->out)) {
        fail(stream, "cannot write to", ENOMEM);
        return;
    }
    if (send_out(stream)) {
        trim(&stream->out);
        if (stream->is_last)
            shutdown(stream->fd, SHUT_WR);
        if (stream->events.on_drained != NULL)
            stream->events.on_drained(stream, stream->ud);
    }
    update(stream);
}

/* ---- reading */

static void read_in(struct stream *stream)
{
    struct buf *in = &stream->in;
    size_t room;
    ssize_t got;

    if (buf_reserve(in, stream->read_size) != ERR_OK) {
        fail(stream, "cannot read from", ENOMEM);
        return;
    }
    room = in->cap - in->len;
    got = recv(stream->fd, in->data + in->len, room, 0);
    if (got > 0) {
        buf_added(in, (size_t)got);
        if ((size_t)got == room && stream->read_size < READ_MOST)
            stream->read_size *= 4;
        if (stream->events.on_data != NULL)
            stream->events.on_data(stream, stream->ud);
        trim(in);
    } else if (got == 0) {
        struct err_text none = { 0 };

        stream->state = STREAM_ENDED;
        call_end(stream, &none);
    } else if (errno != EAGAIN && errno != EINTR) {
        fail(stream, "cannot read from", errno);
    }
}

/* ---- connecting */

/* The kernel may join a socket to itself when nobody listens on a port of the
 * range that it dials from; that is nobody's server. */
static bool is_own_echo(int fd)
{
    struct sockaddr_storage ours = { 0 };
    struct sockaddr_storage theirs = { 0 };
    socklen_t len = sizeof(ours);
    socklen_t their_len = sizeof(theirs);

    if (getsockname(fd, (struct sockaddr *)&ours, &len) != 0 ||
        getpeername(fd, (struct sockaddr *)&theirs, &their_len) != 0 ||
        ours.ss_family == AF_UNIX)
        return false;
    return len == their_len && memcmp(&ours, &theirs, len) == 0;
}

static void finish_connect(struct stream *stream)
{
    int error = stream->connect_error;
    socklen_t len = sizeof(error);

    if (error == 0)
        getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error == 0 && is_own_echo(stream->fd))
        error = ECONNREFUSED;
    if (error != 0) {
        fail(stream, "cannot connect to", error);
        return;
    }
    stream->state = STREAM_OPEN;
    if (stream->out.len > 0 || stream->is_last)
        loop_defer(stream->loop, LOOP_FLUSH, &stream->flush_job);
    if (stream->events.on_open != NULL)
        stream->events.on_open(stream, stream->ud);
}

static void on_ready(struct watch *watch, int ready, void *ud)
{
    struct stream *stream = ud;

    (void)watch;
    if (stream->state == STREAM_CONNECTING) {
        finish_connect(stream);
    } else {
        if ((ready & WATCH_WRITE) != 0 && stream->is_full) {
            stream->is_full = false;
            loop_defer(stream->loop, LOOP_FLUSH, &stream->flush_job);
        }
        if ((ready & WATCH_READ) != 0 && stream->state == STREAM_OPEN &&
            !stream->is_paused)
            read_in(stream);
    }
    /* What waits for the write of this turn is decided after it. */
    if (!list_is_linked(&stream->flush_job.node))
        update(stream);
}

static void on_open_job(struct loop_job *job)
{
    struct stream *stream = container_of(job, struct stream, open_job);

    finish_connect(stream);
    update(stream);
}

static void on_free(struct loop_job *job)
{
    struct stream *stream = container_of(job, struct stream, free_job);

    buf_free(&stream->in);
    buf_free(&stream->out);
    stream->loop->open--;
    free(stream);
}

static struct stream *stream_new(struct loop *loop)
{
    struct stream *stream = calloc(1, sizeof(*stream));

    if (stream == NULL)
        return NULL;
    stream->loop = loop;
    stream->fd = -1;
    stream->read_size = READ_FIRST;
    stream->open_job.fn = on_open_job;
    stream->flush_job.fn = on_flush;
    stream->free_job.fn = on_free;
    return stream;
}

static void set_option(int fd, int level, int option, int value)
{
    /* What the kernel refuses is done without. */
    (void)setsockopt(fd, level, option, &value, sizeof(value));
}

static void set_tcp_options(int fd)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_EVERY_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_TIMES);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS);
}

/* Begins to connect; 0 when the answer is still to come. */
static int dial(struct stream *stream, const struct sockaddr *address,
                socklen_t len)
{
    int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;

    stream->fd = socket(address->sa_family, type, 0);
    if (stream->fd < 0)
        return errno;
    if (address->sa_family != AF_UNIX)
        set_tcp_options(stream->fd);
    if (connect(stream->fd, address, len) != 0)
        return errno == EINPROGRESS ? 0 : errno;
    loop_defer(stream->loop, LOOP_RUN, &stream->open_job);
    return 0;
}

static enum err connect_to(struct stream **out, struct loop *loop,
                           const struct sockaddr *address, socklen_t len,
                           const struct stream_events *events, void *ud)
{
    struct stream *stream = stream_new(loop);
    enum err err = ERR_OK;

    if (stream == NULL)
        return ERR_NOMEM;
    stream->events = *events;
    stream->ud = ud;
    address_text(address, len, stream->peer);
    stream->connect_error = dial(stream, address, len);
    if (stream->connect_error != 0)
        loop_defer(loop, LOOP_RUN, &stream->open_job);
    else
        err = watch_open(&stream->watch, loop, stream->fd, on_ready, stream);
    if (err != ERR_OK) {
        loop_cancel(loop, LOOP_RUN, &stream->open_job);
        close(stream->fd);
        free(stream);
        return err;
    }
    loop->open++;
    if (!list_is_linked(&stream->open_job.node))
        update(stream);
    *out = stream;
    return ERR_OK;
}

enum err stream_connect(struct stream **out, struct loop *loop,
                        const struct sockaddr *address,
                        const struct stream_events *events, void *ud)
{
    socklen_t len = address->sa_family == AF_INET ? sizeof(struct sockaddr_in)
                                                  : sizeof(struct sockaddr_in6);

    assert(address->sa_family == AF_INET || address->sa_family == AF_INET6);
    return connect_to(out, loop, address, len, events, ud);
}

enum err stream_connect_unix(struct stream **out, struct loop *loop,
                             const char *path,
                             const struct stream_events *events, void *ud)
{
    struct sockaddr_storage address;
    socklen_t len;

    if (!address_of_path(&address, &len, path))
        return ERR_BADARG;
    return connect_to(out, loop, (struct sockaddr *)&address, len, events, ud);
}

enum err stream_adopt(struct stream **out, struct loop *loop, int fd,
                      const struct sockaddr *peer, socklen_t peer_len)
{
    struct stream *stream = stream_new(loop);
    enum err err = ERR_NOMEM;

    if (stream == NULL)
        goto fail;
    stream->fd = fd;
    stream->state = STREAM_OPEN;
    err = watch_open(&stream->watch, loop, fd, on_ready, stream);
    if (err != ERR_OK)
        goto fail;
    address_text(peer, peer_len, stream->peer);
    loop->open++;
    update(stream);
    *out = stream;
    return ERR_OK;

fail:
    free(stream);
    close(fd);
    return err;
}

void stream_close(struct stream *stream)
{
    if (stream == NULL)
        return;
    assert(stream->state != STREAM_CLOSED);
    stream->state = STREAM_CLOSED;
    loop_cancel(stream->loop, LOOP_RUN, &stream->open_job);
    loop_cancel(stream->loop, LOOP_FLUSH, &stream->flush_job);
    watch_close(stream->watch);
    if (stream->fd >= 0)
        close(stream->fd);
    loop_defer(stream->loop, LOOP_FLUSH, &stream->free_job);
}

void stream_set_events(struct stream *stream,
                       const struct stream_events *events, void *ud)
{
    stream->events = *events;
    stream->ud = ud;
}

struct buf *stream_in(struct stream *stream)
{
    return &stream->in;
}

struct buf *stream_out(struct stream *stream)
{
    return &stream->out;
}

void stream_flush(struct stream *stream)
{
    assert(stream->state != STREAM_CLOSED);
    if (stream->state == STREAM_OPEN || stream->state == STREAM_ENDED)
        loop_defer(stream->loop, LOOP_FLUSH, &stream->flush_job);
}

size_t stream_unsent(const struct stream *stream)
{
    return stream->out.len;
}

void stream_shutdown(struct stream *stream)
{
    stream->is_last = true;
    stream_flush(stream);
}

void stream_pause(struct stream *stream)
{
    stream->is_paused = true;
    update(stream);
}

void stream_resume(struct stream *stream)
{
    stream->is_paused = false;
    update(stream);
}

const char *stream_peer(const struct stream *stream)
{
    return stream->peer;
}
