/* login.h - who connects: a user and a password that may change. */
#ifndef TIDEPOOL_BASE_LOGIN_H
#define TIDEPOOL_BASE_LOGIN_H

#include "base/err.h"

/* All zero: none was given.  The texts are its own. */
struct login {
    char *user;     /* NULL: as before there was a login */
    char *password; /* NULL: there is no login */
};

/* Copies both; user may be NULL, and so may password: no login then.  ERR_NOMEM
 * leaves login as it was. */
enum err login_set(struct login *login, const char *user,
                   const char *password) MUST_CHECK;
/* Wipes and frees them. */
void login_clear(struct login *login);

#endif
