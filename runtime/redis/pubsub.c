/* pubsub.c - see pubsub.h. */
#include "redis/pubsub.h"

#include <stdlib.h>

#include <hiredis/hiredis.h>

#include "pool/lease.h"
#include "redis/internal.h"
#include "redis/request_inside.h"

enum { ROOM_FIRST = 16 };

void redis_pubsub_open(struct redis_pubsub *pubsub, struct redis_link *link)
{
    assert(link->conn.state == CONN_LEASED && link->n_due == 0);
    assert(link->pubsub == NULL && pubsub->on_heard != NULL);
    pubsub->link = link;
    link->pubsub = pubsub;
    link->is_spent = true;
    conn_set_standing(&link->conn);
}

enum err redis_pubsub_say(struct redis_pubsub *pubsub, unsigned n_args,
                          const char *const *args, const size_t *lens)
{
    struct redis_link *link = pubsub->link;
    struct redis_request request;
    struct buf *out;
    enum err err;

    if (link == NULL || link->is_broken)
        return ERR_LOST;
    redis_request_init(&request);
    err = redis_request_append(&request, n_args, args, lens);
    if (err == ERR_OK) {
        out = stream_out(link->stream);
        buf_put(out, request.bytes.data, request.bytes.len);
        link->n_written += request.bytes.len;
        stream_flush(link->stream);
        err = buf_failed(out) ? ERR_NOMEM : ERR_OK;
    }
    redis_request_deinit(&request);
    return err;
}

static enum err grow(struct redis_pubsub *pubsub)
{
    size_t room = pubsub->n_room == 0 ? ROOM_FIRST : pubsub->n_room * 2;
    struct redis_reply **replies =
        realloc(pubsub->replies, room * sizeof(*replies));

    if (replies == NULL)
        return ERR_NOMEM;
    pubsub->replies = replies;
    pubsub->n_room = room;
    return ERR_OK;
}

enum err redis_pubsub_take(struct redis_pubsub *pubsub, redisReply *reply,
                           struct err_text *text)
{
    if (pubsub->n_replies == pubsub->n_room && grow(pubsub) != ERR_OK) {
        err_text_set(text, "no memory for what was published");
        freeReplyObject(reply);
        return ERR_NOMEM;
    }
    pubsub->replies[pubsub->n_replies++] = (struct redis_reply *)(void *)reply;
    return ERR_OK;
}

void redis_pubsub_tell(struct redis_pubsub *pubsub)
{
    if (pubsub->is_told || (pubsub->n_replies == 0 && pubsub->link != NULL))
        return;
    pubsub->is_told = true;
    pubsub->on_heard(pubsub);
}

void redis_pubsub_lose(struct redis_link *link, const char *why)
{
    struct redis_pubsub *pubsub = link->pubsub;

    if (pubsub == NULL)
        return;
    link->pubsub = NULL;
    pubsub->link = NULL;
    err_text_set(&pubsub->lost_text, "%s", why);
    redis_pubsub_tell(pubsub);
}

static void free_replies(struct redis_pubsub *pubsub)
{
    for (size_t i = 0; i < pubsub->n_replies; i++)
        freeReplyObject(pubsub->replies[i]);
    pubsub->n_replies = 0;
}

void redis_pubsub_taken(struct redis_pubsub *pubsub)
{
    free_replies(pubsub);
    pubsub->is_told = false;
}

void redis_pubsub_close(struct redis_pubsub *pubsub)
{
    if (pubsub->link != NULL)
        pubsub->link->pubsub = NULL;
    pubsub->link = NULL;
    free_replies(pubsub);
    free(pubsub->replies);
    pubsub->replies = NULL;
    pubsub->n_room = 0;
}
