/*
 * tls.h - TLS by OpenSSL: what a side shows, whom it trusts.
 *
 * TLS 1.2 and 1.3 only; ciphers with forward secrecy and authenticated
 * encryption only (RFC 9325); no compression, no renegotiation.  A client
 * checks the server's certificate, and that it is of the host it dialled,
 * unless told otherwise.
 */
#ifndef TIDEPOOL_NET_TLS_H
#define TIDEPOOL_NET_TLS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One side's settings, read once.  Counted: each holder lets go of it with
 * tls_context_free(), and streams hold theirs themselves. */
struct tls_context;

/* Files in PEM. */
struct tls_pair {
    const char *certificate; /* with those between it and the root after it */
    const char *key;         /* not encrypted */
};

/*
 * For a server: of the certificates a client gets the first that is of the name
 * it asked for (SNI), otherwise the first of all.  By ALPN it is http/1.1 or
 * nothing.  count is at least 1.  ERR_BADARG: why names the file and what is
 * wrong with it.
 */
enum err tls_context_new_server(struct tls_context **out,
                                const struct tls_pair *pairs, size_t count,
                                struct err_text *why) MUST_CHECK;

struct tls_client {
    const char *ca;       /* file of roots; NULL: the system's */
    struct tls_pair pair; /* shown when asked for one; NULL: none */
    bool is_insecure;     /* talks to whoever answers */
};

enum err tls_context_new_client(struct tls_context **out,
                                const struct tls_client *client,
                                struct err_text *why) MUST_CHECK;

struct tls_context *tls_context_ref(struct tls_context *context);
void tls_context_free(struct tls_context *context); /* accepts NULL */

/* Of a server's i-th certificate: when it ends, in seconds since 1970, and the
 * name that it is first for ("example.org"); false past the last. */
bool tls_context_certificate(const struct tls_context *context, size_t i,
                             int64_t *expires_s, char *name, size_t size);

#endif
