/* request.c - see request.h and request_inside.h: commands become bytes, and
 * what comes back becomes their replies. */
#include "redis/request.h"

#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "redis/command.h"
#include "redis/reply.h"
#include "redis/request_inside.h"

/* A struct redis_reply is never made: its pointers are hiredis' under another
 * name, so that the floors above need no hiredis. */
static struct redis_reply *hide(redisReply *reply)
{
    return (struct redis_reply *)(void *)reply;
}

void redis_request_init(struct redis_request *request)
{
    memset(request, 0, sizeof(*request));
    request->is_read_only = true;
}

void redis_request_deinit(struct redis_request *request)
{
    assert(request->state == REDIS_REQUEST_NEW ||
           request->state == REDIS_REQUEST_DONE);
    redis_request_rewind(request);
    free(request->replies);
    request->replies = NULL;
    request->n_commands = 0;
    buf_free(&request->bytes);
}

void redis_request_rewind(struct redis_request *request)
{
    for (unsigned i = 0; i < request->n_commands; i++) {
        freeReplyObject(request->replies[i]); /* accepts NULL */
        request->replies[i] = NULL;
    }
    freeReplyObject(request->exec);
    request->exec = NULL;
    request->n_replies = 0;
    request->n_seen = 0;
}

/* ---- commands */

/* Makes room for one more, at each power of two. */
static enum err reserve_reply(struct redis_request *request)
{
    unsigned count = request->n_commands;
    unsigned more = count == 0 ? 1 : count;
    struct redis_reply **replies;

    if ((count & (count - 1)) != 0)
        return ERR_OK;
    replies = realloc(request->replies, (count + more) * sizeof(*replies));
    if (replies == NULL)
        return ERR_NOMEM;
    memset(replies + count, 0, more * sizeof(*replies));
    request->replies = replies;
    return ERR_OK;
}

/* "*2\r\n", "$5\r\n": how RESP says a count. */
static void put_count(struct buf *out, char kind, size_t count)
{
    char text[24];
    char *at = text + sizeof(text);

    *--at = '\n';
    *--at = '\r';
    do {
        *--at = (char)('0' + count % 10);
        count /= 10;
    } while (count > 0);
    *--at = kind;
    buf_put(out, at, (size_t)(text + sizeof(text) - at));
}

/* An array of bulk strings.  Not by redisFormatCommandArgv(), which prints each
 * with sprintf() into memory of its own: more than a quarter of a GET. */
static enum err put_command(struct redis_request *request, unsigned n_args,
                            const char *const *args, const size_t *lens)
{
    struct buf *out = &request->bytes;

    put_count(out, '*', n_args);
    for (unsigned i = 0; i < n_args; i++) {
        size_t len = lens != NULL ? lens[i] : strlen(args[i]);

        put_count(out, '$', len);
        buf_put(out, args[i], len);
        buf_put(out, "\r\n", 2);
    }
    return buf_failed(out) ? ERR_NOMEM : ERR_OK;
}

static enum err put_word(struct redis_request *request, const char *word)
{
    return put_command(request, 1, &word, NULL);
}

enum err redis_request_append(struct redis_request *request, unsigned n_args,
                              const char *const *args, const size_t *lens)
{
    enum err err = reserve_reply(request);

    if (err == ERR_OK && request->is_multi && request->n_commands == 0)
        err = put_word(request, "MULTI");
    if (err == ERR_OK)
        err = put_command(request, n_args, args, lens);
    if (err == ERR_OK)
        request->n_commands++;
    return err;
}

enum err redis_request_add(struct redis_request *request, unsigned n_args,
                           const char *const *args, const size_t *lens,
                           struct err_text *why)
{
    struct redis_command_use use;
    enum err err;

    assert(request->state == REDIS_REQUEST_NEW);
    if (request->is_on_lease && !request->is_multi)
        err = redis_command_check_leased(n_args, args, lens, &use, why);
    else
        err = redis_command_check(n_args, args, lens, &use, why);
    if (err == ERR_OK)
        err = redis_request_append(request, n_args, args, lens);
    if (err != ERR_OK)
        return err;
    request->is_session |= use.is_session;
    request->is_open |= use.is_open;
    request->is_mark |= use.is_mark;
    if (!use.is_read_only)
        request->is_read_only = false;
    if (use.is_blocking && !request->is_multi) { /* in MULTI none blocks */
        request->is_blocking = true;
        request->block_ns += use.block_ns;
        if (request->block_ns < use.block_ns)
            request->block_ns = COMMAND_BLOCKS_FOR_EVER;
    }
    return ERR_OK;
}

void redis_request_set_multi(struct redis_request *request)
{
    assert(request->n_commands == 0);
    request->is_multi = true;
}

void redis_request_set_lease(struct redis_request *request)
{
    assert(request->n_commands == 0);
    request->is_on_lease = true;
}

enum err redis_request_seal(struct redis_request *request)
{
    enum err err;

    if (request->n_commands == 0)
        return ERR_BADARG;
    if (!request->is_multi || request->is_sealed)
        return ERR_OK;
    err = put_word(request, "EXEC");
    if (err == ERR_OK)
        request->is_sealed = true;
    return err;
}

unsigned redis_request_due(const struct redis_request *request)
{
    return request->n_commands + (request->is_multi ? 2 : 0);
}

/* ---- replies */

/* EXEC's own: an array of theirs; nil or an error answers for all of them. */
static enum err take_exec(struct redis_request *request, redisReply *reply)
{
    if (reply->type == REDIS_REPLY_ARRAY &&
        reply->elements == request->n_commands) {
        for (unsigned i = 0; i < request->n_commands; i++) {
            freeReplyObject(request->replies[i]);
            request->replies[i] = hide(reply->element[i]);
            reply->element[i] = NULL;
        }
        freeReplyObject(reply);
    } else if (reply->type == REDIS_REPLY_NIL ||
               reply->type == REDIS_REPLY_ERROR) {
        freeReplyObject(request->exec);
        request->exec = hide(reply);
    } else {
        freeReplyObject(reply);
        return ERR_PROTOCOL;
    }
    request->n_replies = request->n_commands;
    return ERR_OK;
}

static enum err take_in_multi(struct redis_request *request, redisReply *reply)
{
    unsigned i = request->n_seen++; /* 0 is MULTI's own */

    if (i == request->n_commands + 1)
        return take_exec(request, reply);
    if (i > 0 && reply->type == REDIS_REPLY_ERROR)
        request->replies[i - 1] = hide(reply);
    else
        freeReplyObject(reply); /* OK, QUEUED */
    return ERR_OK;
}

enum err redis_request_take(struct redis_request *request, redisReply *reply)
{
    assert(request->n_seen < redis_request_due(request));
    if (request->is_multi)
        return take_in_multi(request, reply);
    request->n_seen++;
    request->replies[request->n_replies++] = hide(reply);
    return ERR_OK;
}

const struct redis_reply *
redis_request_reply(const struct redis_request *request, unsigned i)
{
    assert(i < request->n_replies);
    return request->replies[i] != NULL ? request->replies[i] : request->exec;
}

const struct redis_reply *
redis_request_abort(const struct redis_request *request)
{
    if (request->exec == NULL || redis_reply_kind(request->exec) != REDIS_ERROR)
        return NULL;
    for (unsigned i = 0; i < request->n_commands; i++)
        if (request->replies[i] != NULL &&
            redis_reply_kind(request->replies[i]) == REDIS_ERROR)
            return request->replies[i];
    return request->exec;
}

bool redis_request_was_dropped(const struct redis_request *request)
{
    return request->exec != NULL &&
           redis_reply_kind(request->exec) == REDIS_NIL;
}
