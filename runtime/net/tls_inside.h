/* tls_inside.h - the insides of a TLS context, for the tls files alone, which
 * alone see OpenSSL. */
#ifndef TIDEPOOL_NET_TLS_INSIDE_H
#define TIDEPOOL_NET_TLS_INSIDE_H

#include "net/tls.h"

#include <openssl/ssl.h>

struct tls_context {
    unsigned holders;
    bool is_server;
    size_t count;  /* of contexts: 1 for a client */
    SSL_CTX **all; /* a server's: one a certificate */
    BIO_METHOD *bio;
};

/* How sessions reach their sockets. */
BIO_METHOD *tls_bio_method(void);

/* The first error that OpenSSL has queued, in words; empties the queue. */
const char *tls_error_text(void);

#endif
