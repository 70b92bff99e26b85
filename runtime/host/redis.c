/* redis.c - see tidepool.h: Redis commands from C, and their replies. */
#include "redis/redis.h"
#include "host/operation.h"
#include "redis/lease.h"
#include "redis/reply.h"
#include "redis/request.h"

#include <stdlib.h>
#include <string.h>

_Static_assert((int)TIDE_REDIS_NIL == (int)REDIS_NIL &&
                   (int)TIDE_REDIS_BOOL == (int)REDIS_BOOL,
               "tidepool.h has the kinds of redis.h");

static void on_done(struct redis_request *request, enum err err,
                    const struct err_text *text)
{
    struct operation *operation =
        container_of(request, struct operation, redis);

    host_operation_end_request(operation, err, request->was_sent, NULL, text);
}

static enum err add(struct operation *operation, const tide_command *commands,
                    size_t n, struct err_text *why)
{
    for (size_t i = 0; i < n; i++) {
        const tide_command *command = &commands[i];
        enum err err;

        if (command->n == 0 || command->n > UINT32_MAX ||
            command->words == NULL) {
            err_text_set(why, "command %zu has no words", i + 1);
            return ERR_BADARG;
        }
        err = redis_request_add(&operation->redis, (unsigned)command->n,
                                command->words, command->lens, why);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

static enum err send(struct operation *operation, const tide_how *how,
                     const tide_command *commands, size_t n,
                     struct err_text *why)
{
    struct redis_request *request = &operation->redis;
    enum err err;

    request->on_done = on_done;
    request->site = operation->site;
    request->timeout_ns = host_how_timeout_ns(how);
    if (operation->lease != NULL)
        redis_request_set_lease(request);
    if (how->is_transaction)
        redis_request_set_multi(request);
    err = add(operation, commands, n, why);
    if (err != ERR_OK)
        return err;
    if (operation->lease != NULL)
        return redis_link_send(redis_link_of(operation->lease->conn), request);
    return redis_send(operation->from->redis, request);
}

int tide_redis(tide_pool *pool, const tide_how *how,
               const tide_command *commands, size_t n, tide_answer_fn fn,
               uint64_t *id)
{
    struct err_text why = { .text = "" };
    struct operation *operation;
    tide_how own;
    enum err err = ERR_BADARG;
    int code = host_operation_new(&operation, 0, pool, how, &own, fn);

    if (code != TIDE_OK)
        return code;
    operation->kind = OPERATION_REDIS;
    redis_request_init(&operation->redis);
    if (pool->kind != POOL_REDIS)
        err_text_set(&why, "pool \"%s\" is of Postgres", pool->name);
    else if (commands == NULL || n == 0)
        err_text_set(&why, "a command expected");
    else
        err = send(operation, &own, commands, n, &why);
    if (err != ERR_OK) {
        redis_request_deinit(&operation->redis);
        return host_operation_refuse(operation, err, &why);
    }
    host_operation_begun(operation, id);
    return TIDE_OK;
}

void host_redis_leave(struct operation *operation)
{
    redis_request_cancel(&operation->redis);
}

/* ---- the answer */

static const tide_redis_reply *shown(const struct redis_reply *reply)
{
    return (const tide_redis_reply *)(const void *)reply;
}

static const struct redis_reply *seen(const tide_redis_reply *reply)
{
    return (const struct redis_reply *)(const void *)reply;
}

static void fail(tide_answer *answer, const struct redis_reply *error)
{
    size_t len;

    answer->code = TIDE_SERVER;
    answer->error = redis_reply_text(error, &len);
}

static void show_replies(struct operation *operation, tide_answer *answer)
{
    const struct redis_request *request = &operation->redis;
    const struct redis_reply *first;

    if (redis_request_was_dropped(request)) {
        answer->code = TIDE_CONFLICT;
        answer->error = "a watched key had changed";
        return;
    }
    if (redis_request_abort(request) != NULL) {
        fail(answer, redis_request_abort(request));
        return;
    }
    first = redis_request_reply(request, 0);
    if (request->n_commands == 1 && redis_reply_kind(first) == REDIS_ERROR)
        fail(answer, first);
    answer->replies =
        (const tide_redis_reply *const *)(const void *)request->replies;
    answer->n_replies = request->n_commands;
}

void host_redis_tell(struct operation *operation, tide_answer *answer)
{
    if (operation->err == ERR_OK)
        show_replies(operation, answer);
    operation->fn(operation->ud, answer);
    redis_request_deinit(&operation->redis);
}

/* ---- replies */

enum tide_redis_kind tide_redis_kind_of(const tide_redis_reply *reply)
{
    return (enum tide_redis_kind)redis_reply_kind(seen(reply));
}

int64_t tide_redis_integer(const tide_redis_reply *reply)
{
    enum redis_kind kind = redis_reply_kind(seen(reply));

    return kind == REDIS_INT || kind == REDIS_BOOL
               ? redis_reply_integer(seen(reply))
               : 0;
}

double tide_redis_double(const tide_redis_reply *reply)
{
    return redis_reply_kind(seen(reply)) == REDIS_DOUBLE
               ? redis_reply_double(seen(reply))
               : 0;
}

const char *tide_redis_text(const tide_redis_reply *reply, size_t *len)
{
    enum redis_kind kind = redis_reply_kind(seen(reply));
    size_t own_len = 0;
    const char *text = "";

    if (kind == REDIS_TEXT || kind == REDIS_STATUS || kind == REDIS_ERROR)
        text = redis_reply_text(seen(reply), &own_len);
    if (len != NULL)
        *len = own_len;
    return text;
}

size_t tide_redis_count(const tide_redis_reply *reply)
{
    enum redis_kind kind = redis_reply_kind(seen(reply));

    return kind == REDIS_ARRAY || kind == REDIS_MAP
               ? redis_reply_size(seen(reply))
               : 0;
}

const tide_redis_reply *tide_redis_at(const tide_redis_reply *reply, size_t i)
{
    if (i >= tide_redis_count(reply))
        return NULL;
    return shown(redis_reply_at(seen(reply), i));
}
