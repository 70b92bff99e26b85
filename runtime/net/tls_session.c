/*
 * tls_session.c - see tls_session.h.
 *
 * OpenSSL reads and writes the socket through a BIO of ours: its own would
 * write without MSG_NOSIGNAL, and a peer that has gone would end the process.
 */
#include "net/tls_session.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "net/tls_inside.h"

struct tls_session {
    struct tls_context *context;
    SSL *ssl;
    int fd;
    int error; /* errno of the socket's last failure; 0: none */
    bool wants_write;
    bool is_up;     /* the handshake is done */
    bool is_broken; /* OpenSSL must not be asked any more */
    struct err_text why;
};

/* ---- the socket, as OpenSSL sees it */

static int note_result(BIO *bio, struct tls_session *session, ssize_t result,
                       int retry_flag)
{
    BIO_clear_retry_flags(bio);
    if (result >= 0)
        return (int)result;
    if (errno == EAGAIN || errno == EINTR)
        BIO_set_flags(bio, retry_flag | BIO_FLAGS_SHOULD_RETRY);
    else
        session->error = errno;
    return -1;
}

static int bio_read(BIO *bio, char *bytes, int size)
{
    struct tls_session *session = BIO_get_data(bio);
    ssize_t got = recv(session->fd, bytes, (size_t)size, 0);

    return note_result(bio, session, got, BIO_FLAGS_READ);
}

static int bio_write(BIO *bio, const char *bytes, int size)
{
    struct tls_session *session = BIO_get_data(bio);
    ssize_t sent = send(session->fd, bytes, (size_t)size, MSG_NOSIGNAL);

    return note_result(bio, session, sent, BIO_FLAGS_WRITE);
}

static long bio_ctrl(BIO *bio, int what, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return what == BIO_CTRL_FLUSH; /* nothing is kept back */
}

BIO_METHOD *tls_bio_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "tidepool socket");

    if (method == NULL)
        return NULL;
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_ctrl(method, bio_ctrl);
    return method;
}

/* ---- what OpenSSL says, as a socket would */

static bool is_cut(const struct tls_session *session, int status)
{
#ifdef SSL_R_UNEXPECTED_EOF_WHILE_READING
    if (status == SSL_ERROR_SSL &&
        ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return true;
#endif
    return status == SSL_ERROR_SYSCALL && session->error == 0;
}

static void explain(struct tls_session *session, int status)
{
    long verdict = SSL_get_verify_result(session->ssl);

    if (is_cut(session, status))
        err_text_set(&session->why, "%s",
                     session->is_up ? "the connection was cut without a word"
                                    : "the peer left in the TLS handshake");
    else if (!session->is_up && !session->context->is_server &&
             SSL_get_verify_mode(session->ssl) != SSL_VERIFY_NONE &&
             verdict != X509_V_OK)
        err_text_set(&session->why, "the certificate is not trusted: %s",
                     X509_verify_cert_error_string(verdict));
    else
        err_text_set(&session->why, "TLS: %s", tls_error_text());
    ERR_clear_error();
}

/* For a result that is not above 0: 0 for an end in order, or -1 and errno. */
static int judge(struct tls_session *session, int result)
{
    int status = SSL_get_error(session->ssl, result);

    session->wants_write = status == SSL_ERROR_WANT_WRITE;
    if (status == SSL_ERROR_WANT_READ || status == SSL_ERROR_WANT_WRITE) {
        errno = EAGAIN;
        return -1;
    }
    if (status == SSL_ERROR_ZERO_RETURN)
        return 0;
    session->is_broken = true;
    if (status == SSL_ERROR_SYSCALL && session->error != 0) {
        ERR_clear_error();
        errno = session->error;
        return -1;
    }
    explain(session, status);
    errno = EPROTO;
    return -1;
}

static int judge_broken(void)
{
    errno = EPROTO; /* and why says what it said before */
    return -1;
}

int tls_session_greet(struct tls_session *session)
{
    int result;

    if (session->is_broken)
        return judge_broken();
    ERR_clear_error();
    result = SSL_do_handshake(session->ssl);
    session->is_up = result == 1;
    if (result == 1)
        return 0;
    if (judge(session, result) == 0) {
        err_text_set(&session->why, "the peer left in the TLS handshake");
        errno = EPROTO;
    }
    return -1;
}

ssize_t tls_session_read(struct tls_session *session, void *bytes, size_t size)
{
    size_t got;
    int result;

    if (session->is_broken)
        return judge_broken();
    ERR_clear_error();
    result = SSL_read_ex(session->ssl, bytes, size, &got);
    return result == 1 ? (ssize_t)got : judge(session, result);
}

ssize_t tls_session_write(struct tls_session *session, const void *bytes,
                          size_t size)
{
    size_t sent;
    int result;

    if (session->is_broken)
        return judge_broken();
    ERR_clear_error();
    result = SSL_write_ex(session->ssl, bytes, size, &sent);
    if (result == 1)
        return (ssize_t)sent;
    if (judge(session, result) < 0)
        return -1;
    errno = EPIPE;
    return -1;
}

size_t tls_session_pending(const struct tls_session *session)
{
    return session->is_broken ? 0 : (size_t)SSL_pending(session->ssl);
}

void tls_session_end(struct tls_session *session)
{
    if (!session->is_up || session->is_broken)
        return;
    ERR_clear_error();
    (void)SSL_shutdown(session->ssl); /* ours only: theirs is read, or not */
    ERR_clear_error();
}

bool tls_session_wants_write(const struct tls_session *session)
{
    return session->wants_write;
}

const char *tls_session_why(const struct tls_session *session)
{
    return session->why.text;
}

/* ---- */

static bool expect(SSL *ssl, const char *host)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);

    if (X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1)
        return true; /* numbers are no names to ask for */
    ERR_clear_error();
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, host) == 1 &&
           SSL_set_tlsext_host_name(ssl, host) == 1;
}

static bool prepare(struct tls_session *session, const char *host)
{
    BIO *bio = BIO_new(session->context->bio);

    if (bio == NULL)
        return false;
    BIO_set_data(bio, session);
    BIO_set_init(bio, 1);
    SSL_set_bio(session->ssl, bio, bio); /* its own now */
    if (host == NULL) {
        SSL_set_accept_state(session->ssl);
        return true;
    }
    SSL_set_connect_state(session->ssl);
    return expect(session->ssl, host);
}

enum err tls_session_new(struct tls_session **out, struct tls_context *context,
                         int fd, const char *host)
{
    struct tls_session *session = calloc(1, sizeof(*session));

    assert(context->is_server == (host == NULL));
    if (session == NULL)
        return ERR_NOMEM;
    session->context = tls_context_ref(context);
    session->fd = fd;
    session->ssl = SSL_new(context->all[0]);
    if (session->ssl == NULL || !prepare(session, host)) {
        ERR_clear_error();
        tls_session_free(session);
        return ERR_NOMEM;
    }
    *out = session;
    return ERR_OK;
}

void tls_session_free(struct tls_session *session)
{
    if (session == NULL)
        return;
    SSL_free(session->ssl);
    tls_context_free(session->context);
    free(session);
}
