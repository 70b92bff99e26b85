/*
 * reply.h - what Redis answered to one command; borrowed from its request or
 * its struct redis_pubsub.
 */
#ifndef TIDEPOOL_REDIS_REPLY_H
#define TIDEPOOL_REDIS_REPLY_H

#include <stddef.h>
#include <stdint.h>

struct redis_reply;

enum redis_kind {
    REDIS_NIL,
    REDIS_INT,
    REDIS_TEXT,   /* bulk string */
    REDIS_STATUS, /* "OK" */
    REDIS_ERROR,
    REDIS_ARRAY, /* a set, too */
    /* of RESP3: */
    REDIS_MAP, /* key, value, key, value */
    REDIS_DOUBLE,
    REDIS_BOOL /* an integer */
};

enum redis_kind redis_reply_kind(const struct redis_reply *reply);
int64_t redis_reply_integer(const struct redis_reply *reply);
double redis_reply_double(const struct redis_reply *reply);
const char *redis_reply_text(const struct redis_reply *reply, size_t *len);
size_t redis_reply_size(const struct redis_reply *reply);
const struct redis_reply *redis_reply_at(const struct redis_reply *reply,
                                         size_t i);

#endif
