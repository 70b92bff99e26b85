/* fuzz_redis_url.c - urls of Redis, taken apart; what is said of a wrong one
 * holds nothing of its password. */
#include "fuzz.h"

#include "redis/url.h"

#include <string.h>

/* What stands between the first ':' behind the scheme and the last '@', where
 * it is a word of its own. */
static bool find_password(const char *url, char *out, size_t size)
{
    const char *from = strstr(url, "://");
    const char *at = strrchr(url, '@');
    size_t len;

    from = from != NULL ? strchr(from + 3, ':') : NULL;
    if (from == NULL || at == NULL || at < from + 6)
        return false;
    len = (size_t)(at - from - 1);
    if (len >= size)
        return false;
    memcpy(out, from + 1, len);
    out[len] = '\0';
    return strspn(out, "abcdefghijklmnopqrstuvwxyz0123456789") == len;
}

/* Words of our own sentences are none. */
static void check_why(const char *url, const struct err_text *why)
{
    char password[200];

    FUZZ_CHECK(strncmp(why->text, "redis url: ", 11) == 0);
    if (find_password(url, password, sizeof(password)) &&
        strpbrk(password, "0123456789") != NULL)
        FUZZ_CHECK(strstr(why->text, password) == NULL);
}

static void check_target(const struct redis_target *target)
{
    FUZZ_CHECK((target->host == NULL) != (target->path == NULL));
    FUZZ_CHECK(target->protocol == 2 || target->protocol == 3);
    if (target->path != NULL)
        FUZZ_CHECK(target->path[0] == '/' && strlen(target->path) <= 107);
    else
        FUZZ_CHECK(atoi(target->port) >= 1 && atoi(target->port) <= 65535);
    FUZZ_CHECK(target->user == NULL || target->user[0] != '\0');
    FUZZ_CHECK(target->is_tls || target->tls.ca == NULL);
}

FUZZ_TARGET(redis_url)
{
    struct fuzz_input input = { bytes, size };
    size_t len;
    char *url = fuzz_rest(&input, &len);
    struct redis_target target;
    struct err_text why = { 0 };
    enum err err = redis_target_parse(&target, url, &why);

    FUZZ_CHECK(err == ERR_OK || err == ERR_BADARG);
    if (err == ERR_OK) {
        check_target(&target);
        redis_target_free(&target);
    } else {
        check_why(url, &why);
    }
    free(url);
    return 0;
}
