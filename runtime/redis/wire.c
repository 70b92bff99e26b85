/* wire.c - requests onto the stream, replies off it, in order: what was written
 * keeps its place until its last reply has come, wanted or not. */
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "pool/driver.h"
#include "pool/lane_queue.h"
#include "redis/internal.h"
#include "redis/request_inside.h"

/* What is fed to hiredis at once: it moves the rest of its buffer forward at
 * every kilobyte that it has read. */
enum { FEED_MAX = 16 * 1024, SLOTS_FIRST = 16 };

static struct link_slot *slot_at(const struct redis_link *link, uint64_t place)
{
    return &link->slots[place & (link->n_slots - 1)];
}

/* ---- writing */

static enum err grow(struct redis_link *link)
{
    uint64_t count = link->n_slots == 0 ? SLOTS_FIRST : link->n_slots * 2;
    struct link_slot *slots = malloc(count * sizeof(*slots));

    if (slots == NULL)
        return ERR_NOMEM;
    for (uint64_t place = link->head; place != link->tail; place++)
        slots[place & (count - 1)] = *slot_at(link, place);
    free(link->slots);
    link->slots = slots;
    link->n_slots = count;
    return ERR_OK;
}

enum err redis_wire_write(struct redis_link *link,
                          struct redis_request *request)
{
    struct buf *out;

    if (link->is_broken)
        return ERR_LOST;
    if (link->tail - link->head == link->n_slots && grow(link) != ERR_OK)
        return ERR_NOMEM;
    out = stream_out(link->stream);
    buf_put(out, request->bytes.data, request->bytes.len);
    stream_flush(link->stream); /* which also sees that there was no memory */
    if (buf_failed(out))
        return ERR_NOMEM;
    request->state = REDIS_REQUEST_SENT;
    request->link = link;
    request->slot = link->tail++;
    *slot_at(link, request->slot) = (struct link_slot){
        .request = request,
        .start = link->n_written,
        .due = redis_request_due(request),
    };
    link->n_written += request->bytes.len;
    if (link->n_due == 0)
        redis_lane_begin_due(link);
    link->n_due += redis_request_due(request);
    return ERR_OK;
}

/* Some of its bytes went to the kernel. */
static bool has_left(const struct redis_link *link,
                     const struct link_slot *slot)
{
    return slot->start < link->n_written - stream_unsent(link->stream);
}

void redis_wire_forget(struct redis_request *request)
{
    struct link_slot *slot = slot_at(request->link, request->slot);

    assert(slot->request == request);
    request->was_sent |= has_left(request->link, slot);
    request->link = NULL;
    slot->request = NULL;
}

struct redis_request *redis_wire_first_wanted(struct redis_link *link)
{
    for (uint64_t at = link->head; at != link->tail; at++) {
        struct redis_request *request = slot_at(link, at)->request;

        if (request != NULL && request != &link->own)
            return request;
    }
    return NULL;
}

struct redis_request *redis_wire_take_back(struct redis_link *link)
{
    while (link->head != link->tail) {
        struct link_slot *slot = slot_at(link, link->head);
        struct redis_request *request = slot->request;

        if (request != NULL)
            redis_wire_forget(request);
        link->head++;
        link->n_due -= slot->due;
        if (request != NULL && request != &link->own)
            return request;
    }
    return NULL;
}

/* ---- reading */

static void answered(struct redis_link *link, struct redis_request *request)
{
    if (request == &link->own) {
        request->state = REDIS_REQUEST_DONE;
        request->on_done(request, ERR_OK, NULL);
    } else if (redis_request_owns_link(request)) {
        request->was_sent = true;
        redis_lease_end(request, ERR_OK);
    } else {
        request->was_sent = true;
        request->link = NULL;
        if (link->conn.state == CONN_SHARED)
            lane_answered(&link->lane, &request->item, redis_now(link->redis));
        redis_request_end(request, ERR_OK);
    }
}

/* A server that has no use for us says so and closes: its words count. */
static void name_stray(const redisReply *reply, struct err_text *text)
{
    if (reply->type == REDIS_REPLY_ERROR)
        err_text_set(text, "unasked, Redis said: %s", reply->str);
    else
        err_text_set(text, "a reply came that nobody asked for");
}

/* An error that tells of the server, not of the command: it became a replica,
 * or has started and is not there yet. */
static void heed(struct redis_link *link, const redisReply *reply)
{
    struct err_text text = { 0 };

    if (reply->type != REDIS_REPLY_ERROR ||
        (strncmp(reply->str, "READONLY ", 9) != 0 &&
         strncmp(reply->str, "LOADING ", 8) != 0))
        return;
    err_text_set(&text, "%s", reply->str);
    pool_outdate(&link->conn, &text, redis_now(link->redis));
}

/* What RESP3 lets a server say in between: nobody asked for it. */
static bool is_aside(const redisReply *reply)
{
#ifdef REDIS_REPLY_PUSH
    return reply->type == REDIS_REPLY_PUSH || reply->type == REDIS_REPLY_ATTR;
#else
    (void)reply;
    return false;
#endif
}

/* Gives reply to the request that is first in order. */
static enum err take(struct redis_link *link, redisReply *reply,
                     struct err_text *text)
{
    struct link_slot *slot;
    struct redis_request *request;

    if (link->pubsub != NULL)
        return redis_pubsub_take(link->pubsub, reply, text);
    if (is_aside(reply)) {
        freeReplyObject(reply);
        return ERR_OK;
    }
    if (link->head == link->tail) {
        name_stray(reply, text);
        freeReplyObject(reply);
        return ERR_PROTOCOL;
    }
    heed(link, reply);
    slot = slot_at(link, link->head);
    request = slot->request;
    link->n_due--;
    slot->due--;
    if (request == NULL) {
        freeReplyObject(reply);
    } else if (redis_request_take(request, reply) != ERR_OK) {
        err_text_set(text, "EXEC had not one answer for each command");
        return ERR_PROTOCOL;
    }
    if (slot->due > 0)
        return ERR_OK;
    link->head++;
    if (request != NULL)
        answered(link, request);
    return ERR_OK;
}

/* Whether the rest is for a job, for want of time. */
static bool leaves_rest(struct redis_link *link, bool may_leave)
{
    struct loop *loop = link->redis->loop;

    if (may_leave && !link->is_gone && loop_is_over(loop))
        loop_defer(loop, LOOP_RUN, &link->read_job);
    return list_is_linked(&link->read_job.node);
}

static enum err take_replies(struct redis_link *link, bool may_leave,
                             struct err_text *text)
{
    enum err err = ERR_OK;

    while (err == ERR_OK && !link->is_gone) {
        struct redisReply *reply;

        err = redis_reader_next(link->reader, &reply, text);
        if (err != ERR_OK || reply == NULL)
            break;
        err = take(link, reply, text);
        if (leaves_rest(link, may_leave))
            break;
    }
    return err;
}

bool redis_wire_is_clean(const struct redis_link *link)
{
    return link->n_due > 0 || link->pubsub != NULL ||
           redis_reader_is_empty(link->reader);
}

static enum err feed(struct redis_link *link, struct err_text *text)
{
    struct buf *in = stream_in(link->stream);
    size_t size = in->len < FEED_MAX ? in->len : FEED_MAX;
    enum err err = redis_reader_feed(link->reader, in->data, size, text);

    if (err == ERR_OK)
        buf_consume(in, size);
    return err;
}

static enum err read_all(struct redis_link *link, bool may_leave,
                         struct err_text *text)
{
    enum err err = take_replies(link, may_leave, text); /* left by the last */

    while (err == ERR_OK && !link->is_gone &&
           !list_is_linked(&link->read_job.node) &&
           stream_in(link->stream)->len > 0) {
        err = feed(link, text);
        if (err == ERR_OK)
            err = take_replies(link, may_leave, text);
    }
    if (err == ERR_OK && !link->is_gone &&
        !list_is_linked(&link->read_job.node) && !redis_wire_is_clean(link)) {
        err_text_set(text, "bytes came that nobody asked for");
        err = ERR_PROTOCOL;
    }
    return err;
}

/* False: the link is lost, and may be gone. */
static bool read_link(struct redis_link *link, bool may_leave)
{
    struct err_text text = { 0 };
    enum err err;

    loop_cancel(link->redis->loop, LOOP_RUN, &link->read_job);
    link->is_reading = true;
    err = read_all(link, may_leave, &text);
    link->is_reading = false;
    if (link->is_gone) {
        redis_link_free(link);
        return false;
    }
    if (err != ERR_OK) {
        redis_link_break(link, CLOSE_LOST, err, &text);
        return false;
    }
    if (link->conn.state == CONN_SHARED)
        redis_lane_go_on(link);
    else if (link->pubsub != NULL)
        redis_pubsub_tell(link->pubsub);
    return true;
}

void redis_wire_read_on(struct loop_job *job)
{
    struct redis_link *link = container_of(job, struct redis_link, read_job);

    if (!link->is_broken)
        (void)read_link(link, true);
}

static void on_data(struct stream *stream, void *ud)
{
    struct redis_link *link = ud;

    (void)stream;
    if (link->is_broken)
        return;
    pool_conn_byte(&link->conn, redis_now(link->redis));
    (void)read_link(link, true);
}

static void on_end(struct stream *stream, const struct err_text *text, void *ud)
{
    struct redis_link *link = ud;
    struct err_text closed = { 0 };

    if (list_is_linked(&link->read_job.node) && !read_link(link, false))
        return;
    if (text->text[0] == '\0') {
        err_text_set(&closed, "%s closed the connection", stream_peer(stream));
        text = &closed;
    }
    redis_link_break(link, CLOSE_LOST, ERR_LOST, text);
}

static void on_drained(struct stream *stream, void *ud)
{
    struct redis_link *link = ud;

    (void)stream;
    if (link->conn.state == CONN_SHARED)
        redis_lane_go_on(link);
}

const struct stream_events redis_wire_events = {
    .on_greeting = redis_link_on_greeting,
    .on_open = redis_link_on_open,
    .on_data = on_data,
    .on_end = on_end,
    .on_drained = on_drained,
};

void redis_wire_free(struct redis_link *link)
{
    redis_reader_free(link->reader);
    free(link->slots);
}
