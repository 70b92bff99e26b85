/* url.h - a Redis url, taken apart. */
#ifndef TIDEPOOL_REDIS_URL_H
#define TIDEPOOL_REDIS_URL_H

#include "net/tls.h"

/* The texts are its own, all in storage. */
struct redis_target {
    const char *host; /* NULL: path is set */
    const char *port;
    const char *path;        /* of a unix socket; NULL: host is set */
    const char *user;        /* NULL when there is none */
    const char *password;    /* NULL when there is none */
    const char *client_name; /* NULL when there is none */
    unsigned db;
    unsigned protocol; /* 2, or 3 where hiredis speaks it */
    bool is_tls;
    struct tls_client tls; /* where is_tls */
    char *storage;
};

/*
 * Reads redis://[user[:password]@]host[:port][/db], rediss:// for TLS, and
 * unix://[user[:password]@]/path (redis+unix:// as well), all with ?db=n,
 * client_name=text and protocol=2 or 3; with rediss:// also cacert=, cert= and
 * key=, files in PEM, and insecure=true, which are those of redis-cli.  user,
 * password and all texts may be percent-encoded.  Returns ERR_NOMEM, or
 * ERR_BADARG with a sentence in why that holds nothing of the password.
 */
enum err redis_target_parse(struct redis_target *out, const char *url,
                            struct err_text *why) MUST_CHECK;
void redis_target_free(struct redis_target *target);

#endif
