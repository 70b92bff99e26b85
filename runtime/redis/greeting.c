/* greeting.c - see greeting.h. */
#include "redis/greeting.h"
#include "redis/reply.h"
#include "redis/request_inside.h"

#include <stdio.h>
#include <string.h>

/* ---- saying it */

static const char *user_of(const struct redis_pool *redis)
{
    return redis->login.user != NULL ? redis->login.user : redis->target.user;
}

static const char *password_of(const struct redis_pool *redis)
{
    const char *password = redis->target.password;

    if (redis->login.password != NULL)
        return redis->login.password;
    return password != NULL ? password : "";
}

bool redis_greeting_has_login(const struct redis_pool *redis)
{
    return user_of(redis) != NULL || redis->target.password != NULL ||
           redis->login.password != NULL;
}

static enum err put_auth(struct redis_request *own,
                         const struct redis_pool *redis)
{
    const char *args[] = { "AUTH", user_of(redis), password_of(redis) };

    if (args[1] != NULL)
        return redis_request_append(own, 3, args, NULL);
    args[1] = args[2];
    return redis_request_append(own, 2, args, NULL);
}

static enum err put_hello(struct redis_request *own,
                          const struct redis_pool *redis)
{
    const char *user = user_of(redis) != NULL ? user_of(redis) : "default";
    const char *args[] = { "HELLO", "3", "AUTH", user, password_of(redis) };

    return redis_request_append(own, redis_greeting_has_login(redis) ? 5 : 2,
                                args, NULL);
}

enum err redis_greeting_put_select(struct redis_request *own, unsigned db)
{
    char number[16];
    const char *args[] = { "SELECT", number };

    snprintf(number, sizeof(number), "%u", db);
    return redis_request_append(own, 2, args, NULL);
}

static enum err put_name(struct redis_request *own, const char *name)
{
    const char *args[] = { "CLIENT", "SETNAME", name };

    return redis_request_append(own, 3, args, NULL);
}

enum err redis_greeting_put(struct redis_request *own,
                            const struct redis_pool *redis)
{
    const struct redis_target *target = &redis->target;
    const char *ping = "PING";
    enum err err = ERR_OK;

    if (target->protocol == 3)
        err = put_hello(own, redis);
    else if (redis_greeting_has_login(redis))
        err = put_auth(own, redis);
    if (err == ERR_OK && target->db > 0)
        err = redis_greeting_put_select(own, target->db);
    if (err == ERR_OK && redis->client_name != NULL)
        err = put_name(own, redis->client_name);
    return err == ERR_OK ? redis_request_append(own, 1, &ping, NULL) : err;
}

/* ---- what is answered */

/* What a server answers to PING when it is of no use.  Of other errors callers
 * are told by their own commands: the connection is good. */
static bool is_fatal(const char *words)
{
    static const char *const fatal[] = { "LOADING", "NOAUTH", "DENIED", "ERR" };

    for (size_t i = 0; i < sizeof(fatal) / sizeof(*fatal); i++) {
        if (strncmp(words, fatal[i], strlen(fatal[i])) == 0)
            return true;
    }
    return false;
}

/* A name is no reason to do without a connection: some users may not set it. */
static bool refuses(const struct redis_pool *redis, const char *words,
                    unsigned from_end)
{
    if (from_end == 0)
        return is_fatal(words);
    return from_end > 1 || redis->client_name == NULL;
}

bool redis_greeting_is_refused(const struct redis_request *own,
                               const struct redis_pool *redis,
                               struct err_text *words)
{
    for (unsigned i = 0; i < own->n_commands; i++) {
        const struct redis_reply *reply = redis_request_reply(own, i);
        size_t len;
        const char *line = redis_reply_text(reply, &len);

        if (redis_reply_kind(reply) != REDIS_ERROR ||
            !refuses(redis, line, own->n_commands - 1 - i))
            continue;
        err_text_set(words, "%s%s",
                     i == 0 && redis->target.protocol == 3
                         ? "RESP3 was asked for (protocol=3): "
                         : "",
                     line);
        return true;
    }
    return false;
}
