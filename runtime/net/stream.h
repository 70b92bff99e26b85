/*
 * stream.h - a byte stream over TCP or a unix socket, with TLS or without:
 * buffered both ways, at most one write a loop turn.
 */
#ifndef TIDEPOOL_NET_STREAM_H
#define TIDEPOOL_NET_STREAM_H

#include "base/buf.h"
#include "net/listen_socket.h"
#include "net/loop.h"
#include "net/tls.h"

#include <stdbool.h>
#include <sys/socket.h>

/* Owned by whoever opened it, until stream_close(). */
struct stream;

/* Any of the calls may call stream_close().  Any may be NULL. */
struct stream_events {
    /* Connected; the TLS handshake begins.  Not called without TLS, nor for
     * accepted streams. */
    void (*on_greeting)(struct stream *stream, void *ud);
    /* The connect succeeded, and the TLS handshake, if there is one.  Not
     * called for accepted streams without TLS. */
    void (*on_open)(struct stream *stream, void *ud);
    /* Bytes were added to stream_in(); consume what is whole. */
    void (*on_data)(struct stream *stream, void *ud);
    /* Once, then nothing more is read: the peer ended its side (text is ""),
     * or connecting, reading or writing failed.  Close the stream. */
    void (*on_end)(struct stream *stream, const struct err_text *text,
                   void *ud);
    /* All that was written has gone to the kernel. */
    void (*on_drained)(struct stream *stream, void *ud);
};

/* address is copied.  Answer: on_open or on_end, never from inside. */
enum err stream_connect(struct stream **out, struct loop *loop,
                        const struct sockaddr *address,
                        const struct stream_events *events,
                        void *ud) MUST_CHECK;
enum err stream_connect_unix(struct stream **out, struct loop *loop,
                             const char *path,
                             const struct stream_events *events,
                             void *ud) MUST_CHECK;
/*
 * Speaks TLS: to be called at once, of a stream that connects with the host
 * whose certificate is expected, of an accepted one with NULL.  stream_in() and
 * stream_out() are what is said inside of it.  Takes a hold on context.
 * ERR_NOMEM: the stream is of no use; close it.
 */
enum err stream_start_tls(struct stream *stream, struct tls_context *context,
                          const char *host) MUST_CHECK;
/* Accepts NULL.  Drops what was not yet written; no call comes after it.  The
 * memory goes by itself. */
void stream_close(struct stream *stream);

/* For accepted streams, whose events are set by the accepter. */
void stream_set_events(struct stream *stream,
                       const struct stream_events *events, void *ud);

/* What was read and not yet consumed. */
struct buf *stream_in(struct stream *stream);
/* Append here, then stream_flush(): sent once, at the end of the turn. */
struct buf *stream_out(struct stream *stream);
void stream_flush(struct stream *stream);
/* Ends our side once all of stream_out() is sent, before on_drained; the peer's
 * side is still read. */
void stream_shutdown(struct stream *stream);
/* Bytes accepted by stream_out() that the kernel has not taken. */
size_t stream_unsent(const struct stream *stream);

/* While paused nothing is read, so the peer is held up by TCP; the end of the
 * stream is then seen only after stream_resume(). */
void stream_pause(struct stream *stream);
void stream_resume(struct stream *stream);

/* "127.0.0.1:40312" or "unix:"; text lives as long as the stream. */
const char *stream_peer(const struct stream *stream);

/* ---- listening */

struct listener;

/* stream is the accepter's own now. */
typedef void (*listener_fn)(struct listener *listener, struct stream *stream,
                            void *ud);

/* Accepts on socket, which it owns when this succeeds. */
enum err listener_open_on(struct listener **out, struct loop *loop,
                          const struct listen_socket *socket, listener_fn fn,
                          void *ud) MUST_CHECK;
/* The same on a socket of its own, see listen_socket_open(). */
enum err listener_open(struct listener **out, struct loop *loop,
                       const char *address, listener_fn fn, void *ud,
                       struct err_text *why) MUST_CHECK;
/* As bound, port 0 replaced: "127.0.0.1:34567". */
const char *listener_address(const struct listener *listener);
int listener_fd(const struct listener *listener);
/* Accepts whoever is in the queue, before a close that would reset them. */
void listener_accept_all(struct listener *listener);
/* How many streams the process has descriptors for, leaving alone those that
 * were there before the listener and an eighth, for pools and files. */
size_t listener_room(const struct listener *listener);
/* Accepts NULL; closes the socket. */
void listener_close(struct listener *listener);

#endif
