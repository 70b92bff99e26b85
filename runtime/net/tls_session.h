/* tls_session.h - TLS on one socket, for stream.c: its calls are those of a
 * socket, with errno, and what OpenSSL says in words. */
#ifndef TIDEPOOL_NET_TLS_SESSION_H
#define TIDEPOOL_NET_TLS_SESSION_H

#include "net/tls.h"

#include <sys/types.h>

/* Owned by its stream. */
struct tls_session;

/* Holds context; fd stays the caller's.  host: of a client, the name or number
 * whose certificate is expected; NULL for a server. */
enum err tls_session_new(struct tls_session **out, struct tls_context *context,
                         int fd, const char *host) MUST_CHECK;
void tls_session_free(struct tls_session *session); /* accepts NULL */

/* Goes on with the handshake.  0: done; -1: errno is EAGAIN, or EPROTO and
 * tls_session_why() says why there is none. */
int tls_session_greet(struct tls_session *session);
/* As recv() and send(). */
ssize_t tls_session_read(struct tls_session *session, void *bytes, size_t size);
ssize_t tls_session_write(struct tls_session *session, const void *bytes,
                          size_t size);
/* Bytes that were taken off the socket and not yet read. */
size_t tls_session_pending(const struct tls_session *session);
/* Says that nothing more is sent, as far as the socket takes it now. */
void tls_session_end(struct tls_session *session);

/* What the last EAGAIN waits for is room to write. */
bool tls_session_wants_write(const struct tls_session *session);
/* After EPROTO: "the certificate has expired". */
const char *tls_session_why(const struct tls_session *session);

#endif
