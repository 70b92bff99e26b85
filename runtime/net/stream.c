/* stream.c - see stream.h.  Sockets of our own on a watch: unlike libuv's
 * streams they write with MSG_NOSIGNAL, so no host has to ignore SIGPIPE. */
#include "net/stream.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/dial.h"
#include "net/inside.h"
#include "net/tls_session.h"
#include "net/watch.h"

enum {
    READ_FIRST = 4 * 1024, /* the room of a read, */
    READ_MOST = 64 * 1024, /* which grows while reads fill it */
    KEEP_MOST = 64 * 1024, /* an empty buffer with more than this is freed */
};

enum stream_state {
    STREAM_CONNECTING,
    STREAM_GREETING, /* the TLS handshake */
    STREAM_OPEN,
    STREAM_ENDED,  /* the peer ended its side; writing still works */
    STREAM_FAILED, /* neither */
    STREAM_CLOSED, /* its memory goes at the end of the turn */
};

struct stream {
    struct loop *loop;
    struct watch *watch;     /* NULL when there is no socket */
    struct tls_session *tls; /* NULL: none */
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
    if (stream->state == STREAM_GREETING ||
        (stream->state == STREAM_OPEN && !stream->is_paused))
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
    bool is_of_tls = stream->tls != NULL && error == EPROTO;
    struct err_text text = { 0 };

    stream->state = STREAM_FAILED;
    stream->is_full = false;
    update(stream); /* out stays, so that stream_unsent() is true in on_end */
    if (has_ended)
        return;
    err_text_set(&text, "%s %s: %s", what, stream->peer,
                 is_of_tls ? tls_session_why(stream->tls) : errno_text(error));
    call_end(stream, &text);
}

/* ---- writing */

static ssize_t write_some(struct stream *stream)
{
    struct buf *out = &stream->out;

    if (stream->tls != NULL)
        return tls_session_write(stream->tls, out->data, out->len);
    return send(stream->fd, out->data, out->len, MSG_NOSIGNAL);
}

/* True when all is sent, or there is no more to do about it. */
static bool send_out(struct stream *stream)
{
    struct buf *out = &stream->out;

    while (out->len > 0) {
        ssize_t sent = write_some(stream);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno != EAGAIN) {
            fail(stream, "cannot write to", errno);
            return false;
        }
        if (sent > 0)
            buf_consume(out, (size_t)sent);
        if (out->len > 0 && (sent < 0 || stream->tls == NULL)) {
            stream->is_full = true;
            return false;
        }
    }
    return true;
}

static void end_writing(struct stream *stream)
{
    if (stream->tls != NULL)
        tls_session_end(stream->tls);
    shutdown(stream->fd, SHUT_WR);
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
            end_writing(stream);
        if (stream->events.on_drained != NULL)
            stream->events.on_drained(stream, stream->ud);
    }
    update(stream);
}

/* ---- reading */

static ssize_t read_some(struct stream *stream, size_t room)
{
    char *at = stream->in.data + stream->in.len;

    if (stream->tls != NULL)
        return tls_session_read(stream->tls, at, room);
    return recv(stream->fd, at, room, 0);
}

/* What is left of a record is not seen by the watch: the kernel has given it
 * away. */
static bool take_rest(struct stream *stream)
{
    struct buf *in = &stream->in;
    size_t left;

    while (stream->tls != NULL &&
           (left = tls_session_pending(stream->tls)) > 0) {
        ssize_t got;

        if (buf_reserve(in, left) != ERR_OK) {
            fail(stream, "cannot read from", ENOMEM);
            return false;
        }
        got = read_some(stream, in->cap - in->len);
        if (got <= 0)
            break; /* which the next read finds, too */
        buf_added(in, (size_t)got);
    }
    return true;
}

static void take(struct stream *stream, size_t got, size_t room)
{
    buf_added(&stream->in, got);
    if (got == room && stream->read_size < READ_MOST)
        stream->read_size *= 4;
    if (!take_rest(stream))
        return;
    if (stream->events.on_data != NULL)
        stream->events.on_data(stream, stream->ud);
    trim(&stream->in);
}

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
    got = read_some(stream, room);
    if (got > 0) {
        take(stream, (size_t)got, room);
    } else if (got == 0) {
        struct err_text none = { 0 };

        stream->state = STREAM_ENDED;
        call_end(stream, &none);
    } else if (errno != EAGAIN && errno != EINTR) {
        fail(stream, "cannot read from", errno);
    }
}

/* ---- connecting */

static void become_open(struct stream *stream)
{
    stream->state = STREAM_OPEN;
    if (stream->out.len > 0 || stream->is_last)
        loop_defer(stream->loop, LOOP_FLUSH, &stream->flush_job);
    if (stream->events.on_open != NULL)
        stream->events.on_open(stream, stream->ud);
}

static void greet(struct stream *stream)
{
    stream->is_full = false;
    if (tls_session_greet(stream->tls) == 0)
        become_open(stream);
    else if (errno == EAGAIN)
        stream->is_full = tls_session_wants_write(stream->tls);
    else
        fail(stream, "no TLS with", errno);
}

static void finish_connect(struct stream *stream)
{
    int error = stream->connect_error;

    if (error == 0)
        error = dial_result(stream->fd);
    if (error != 0) {
        fail(stream, "cannot connect to", error);
        return;
    }
    if (stream->tls == NULL) {
        become_open(stream);
        return;
    }
    stream->state = STREAM_GREETING;
    if (stream->events.on_greeting != NULL)
        stream->events.on_greeting(stream, stream->ud);
    if (stream->state == STREAM_GREETING)
        greet(stream);
}

static void on_ready(struct watch *watch, int ready, void *ud)
{
    struct stream *stream = ud;

    (void)watch;
    if (stream->state == STREAM_CONNECTING) {
        finish_connect(stream);
    } else if (stream->state == STREAM_GREETING) {
        greet(stream);
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

    tls_session_free(stream->tls);
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

static enum err connect_to(struct stream **out, struct loop *loop,
                           const struct sockaddr *address, socklen_t len,
                           const struct stream_events *events, void *ud)
{
    struct stream *stream = stream_new(loop);
    enum err err = ERR_OK;
    bool is_over;

    if (stream == NULL)
        return ERR_NOMEM;
    stream->events = *events;
    stream->ud = ud;
    address_text(address, len, stream->peer);
    stream->connect_error = dial(&stream->fd, address, len, &is_over);
    if (is_over)
        loop_defer(loop, LOOP_RUN, &stream->open_job);
    if (stream->connect_error == 0)
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

enum err stream_start_tls(struct stream *stream, struct tls_context *context,
                          const char *host)
{
    bool is_accepted = stream->state == STREAM_OPEN;

    assert(stream->tls == NULL && is_accepted == (host == NULL));
    if (is_accepted)
        stream->state = STREAM_GREETING;
    return tls_session_new(&stream->tls, context, stream->fd, host);
}

/* A peer that gets no word of the end takes what it has for a part. */
static void say_end(struct stream *stream)
{
    bool is_open =
        stream->state == STREAM_OPEN || stream->state == STREAM_ENDED;

    if (stream->tls != NULL && is_open && stream->out.len == 0 &&
        !stream->is_last)
        tls_session_end(stream->tls);
}

void stream_close(struct stream *stream)
{
    if (stream == NULL)
        return;
    assert(stream->state != STREAM_CLOSED);
    say_end(stream);
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
