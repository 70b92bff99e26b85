/* tls.c - see tls.h. */
#include "net/tls_inside.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

/* Of TLS 1.2; those of 1.3 are all good. */
static const char CIPHERS[] = "ECDHE+AESGCM:ECDHE+CHACHA20";

static const unsigned char HTTP_1_1[] = "\x08http/1.1";

const char *tls_error_text(void)
{
    unsigned long error = ERR_peek_error();
    const char *text = error != 0 ? ERR_reason_error_string(error) : NULL;

    if (text == NULL && ERR_SYSTEM_ERROR(error))
        text = strerror(ERR_GET_REASON(error));
    ERR_clear_error();
    return text != NULL ? text : "OpenSSL says nothing";
}

/* ---- files */

/* A question on a terminal would stop the process; it is noted in *ud. */
static int refuse_passphrase(char *buffer, int size, int is_writing, void *ud)
{
    bool *was_asked = ud;

    (void)size;
    (void)is_writing;
    buffer[0] = '\0';
    *was_asked = true;
    return -1;
}

static enum err refuse_file(struct err_text *why, const char *what,
                            const char *path)
{
    int error = access(path, R_OK) != 0 ? errno : 0;

    err_text_set(why, "%s %s: %s", what, path,
                 error != 0 ? strerror(error) : tls_error_text());
    ERR_clear_error();
    return ERR_BADARG;
}

static enum err refuse_key(struct err_text *why, const struct tls_pair *pair,
                           bool is_locked)
{
    int reason = ERR_GET_REASON(ERR_peek_error());
    const char *wrong = NULL;

    if (is_locked)
        wrong = "it is encrypted; one without a passphrase is expected";
    else if (reason == X509_R_KEY_VALUES_MISMATCH ||
             reason == X509_R_KEY_TYPE_MISMATCH)
        wrong = "it is not the key of its certificate";
    if (wrong == NULL)
        return refuse_file(why, "key", pair->key);
    ERR_clear_error();
    err_text_set(why, "key %s: %s", pair->key, wrong);
    return ERR_BADARG;
}

static enum err use_pair(SSL_CTX *ssl, const struct tls_pair *pair,
                         struct err_text *why)
{
    bool is_locked = false;
    int is_used;

    SSL_CTX_set_default_passwd_cb(ssl, refuse_passphrase);
    SSL_CTX_set_default_passwd_cb_userdata(ssl, &is_locked);
    if (SSL_CTX_use_certificate_chain_file(ssl, pair->certificate) != 1)
        return refuse_file(why, "certificate", pair->certificate);
    is_used = SSL_CTX_use_PrivateKey_file(ssl, pair->key, SSL_FILETYPE_PEM);
    SSL_CTX_set_default_passwd_cb_userdata(ssl, NULL);
    return is_used == 1 ? ERR_OK : refuse_key(why, pair, is_locked);
}

/* ---- contexts */

static SSL_CTX *new_ssl(const SSL_METHOD *method)
{
    SSL_CTX *ssl = SSL_CTX_new(method);

    if (ssl == NULL)
        return NULL;
    SSL_CTX_set_options(ssl, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    if (SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION) == 1 &&
        SSL_CTX_set_cipher_list(ssl, CIPHERS) == 1)
        return ssl;
    SSL_CTX_free(ssl);
    return NULL;
}

struct tls_context *tls_context_ref(struct tls_context *context)
{
    context->holders++;
    return context;
}

void tls_context_free(struct tls_context *context)
{
    if (context == NULL || --context->holders > 0)
        return;
    for (size_t i = 0; i < context->count; i++)
        SSL_CTX_free(context->all[i]);
    free(context->all);
    BIO_meth_free(context->bio);
    free(context);
}

static struct tls_context *new_context(size_t count, bool is_server)
{
    struct tls_context *context = calloc(1, sizeof(*context));

    if (context == NULL)
        return NULL;
    context->holders = 1;
    context->is_server = is_server;
    context->bio = tls_bio_method();
    context->all = calloc(count, sizeof(SSL_CTX *));
    if (context->bio == NULL || context->all == NULL) {
        tls_context_free(context);
        return NULL;
    }
    context->count = count;
    return context;
}

/* ---- servers */

/* The name that the client asked for chooses the certificate. */
/* NOLINTNEXTLINE(readability-non-const-parameter): OpenSSL's signature */
static int choose(SSL *ssl, int *alert, void *ud)
{
    const struct tls_context *context = ud;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    (void)alert;
    for (size_t i = 0; name != NULL && i < context->count; i++) {
        X509 *certificate = SSL_CTX_get0_certificate(context->all[i]);

        if (X509_check_host(certificate, name, 0, 0, NULL) == 1) {
            SSL_set_SSL_CTX(ssl, context->all[i]);
            break;
        }
    }
    return SSL_TLSEXT_ERR_OK;
}

static int choose_protocol(SSL *ssl, const unsigned char **out,
                           unsigned char *out_len, const unsigned char *in,
                           unsigned in_len, void *ud)
{
    unsigned char *chosen = NULL;

    (void)ssl;
    (void)ud;
    if (SSL_select_next_proto(&chosen, out_len, HTTP_1_1, sizeof(HTTP_1_1) - 1,
                              in, in_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* A ticket of a session is good for whatever certificate: it is of the
 * context's. */
static const unsigned char SESSIONS[] = "tidepool";

static enum err add_certificate(struct tls_context *context, size_t i,
                                const struct tls_pair *pair,
                                struct err_text *why)
{
    SSL_CTX *ssl = new_ssl(TLS_server_method());

    if (ssl == NULL)
        return ERR_NOMEM;
    context->all[i] = ssl;
    SSL_CTX_set_tlsext_servername_callback(ssl, choose);
    SSL_CTX_set_tlsext_servername_arg(ssl, context);
    SSL_CTX_set_alpn_select_cb(ssl, choose_protocol, NULL);
    SSL_CTX_set_session_id_context(ssl, SESSIONS, sizeof(SESSIONS) - 1);
    return use_pair(ssl, pair, why);
}

enum err tls_context_new_server(struct tls_context **out,
                                const struct tls_pair *pairs, size_t count,
                                struct err_text *why)
{
    struct tls_context *context = new_context(count, true);
    enum err err = context != NULL ? ERR_OK : ERR_NOMEM;

    assert(count > 0);
    for (size_t i = 0; err == ERR_OK && i < count; i++)
        err = add_certificate(context, i, &pairs[i], why);
    if (err != ERR_OK) {
        tls_context_free(context);
        return err;
    }
    *out = context;
    return ERR_OK;
}

static void read_name(X509 *certificate, char *name, size_t size)
{
    GENERAL_NAMES *names =
        X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);

    name[0] = '\0';
    for (int i = 0; names != NULL && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *one = sk_GENERAL_NAME_value(names, i);
        int len = one->type == GEN_DNS ? ASN1_STRING_length(one->d.dNSName) : 0;

        if (len <= 0 || (size_t)len >= size)
            continue;
        memcpy(name, ASN1_STRING_get0_data(one->d.dNSName), (size_t)len);
        name[len] = '\0';
        break;
    }
    GENERAL_NAMES_free(names);
    if (name[0] == '\0')
        X509_NAME_oneline(X509_get_subject_name(certificate), name, (int)size);
}

bool tls_context_certificate(const struct tls_context *context, size_t i,
                             int64_t *expires_s, char *name, size_t size)
{
    X509 *certificate;
    struct tm tm = { 0 };

    if (!context->is_server || i >= context->count)
        return false;
    certificate = SSL_CTX_get0_certificate(context->all[i]);
    if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &tm) != 1)
        return false;
    *expires_s = timegm(&tm);
    read_name(certificate, name, size);
    return true;
}

/* ---- clients */

static enum err trust(SSL_CTX *ssl, const struct tls_client *client,
                      struct err_text *why)
{
    if (client->is_insecure)
        return ERR_OK; /* SSL_VERIFY_NONE is the default */
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    if (client->ca == NULL)
        return SSL_CTX_set_default_verify_paths(ssl) == 1 ? ERR_OK : ERR_NOMEM;
    if (SSL_CTX_load_verify_locations(ssl, client->ca, NULL) != 1)
        return refuse_file(why, "CA file", client->ca);
    return ERR_OK;
}

enum err tls_context_new_client(struct tls_context **out,
                                const struct tls_client *client,
                                struct err_text *why)
{
    struct tls_context *context = new_context(1, false);
    enum err err = ERR_NOMEM;

    if (context == NULL)
        return ERR_NOMEM;
    context->all[0] = new_ssl(TLS_client_method());
    if (context->all[0] != NULL)
        err = trust(context->all[0], client, why);
    if (err == ERR_OK && client->pair.certificate != NULL)
        err = use_pair(context->all[0], &client->pair, why);
    if (err != ERR_OK) {
        tls_context_free(context);
        return err;
    }
    *out = context;
    return ERR_OK;
}
