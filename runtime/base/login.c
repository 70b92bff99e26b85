/* login.c - see login.h. */
#include "base/login.h"

#include <stdlib.h>
#include <string.h>

static void wipe(char *text)
{
    if (text != NULL)
        explicit_bzero(text, strlen(text));
    free(text);
}

void login_clear(struct login *login)
{
    wipe(login->user);
    wipe(login->password);
    *login = (struct login){ 0 };
}

static char *copy_of(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = malloc(size);

    if (copy != NULL)
        memcpy(copy, text, size);
    return copy;
}

enum err login_set(struct login *login, const char *user, const char *password)
{
    struct login next = { 0 };

    if (password == NULL) {
        login_clear(login);
        return ERR_OK;
    }
    next.password = copy_of(password);
    if (next.password != NULL && user != NULL)
        next.user = copy_of(user);
    if (next.password == NULL || (user != NULL && next.user == NULL)) {
        login_clear(&next);
        return ERR_NOMEM;
    }
    login_clear(login);
    *login = next;
    return ERR_OK;
}
