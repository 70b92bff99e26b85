/* reply.c - see reply.h: reading a reply that hiredis made. */
#include "redis/reply.h"

#include <assert.h>

#include <hiredis/hiredis.h>

static const redisReply *show(const struct redis_reply *reply)
{
    return (const redisReply *)(const void *)reply;
}

enum redis_kind redis_reply_kind(const struct redis_reply *reply)
{
    switch (show(reply)->type) {
    case REDIS_REPLY_INTEGER: return REDIS_INT;
    case REDIS_REPLY_STRING: return REDIS_TEXT;
    case REDIS_REPLY_STATUS: return REDIS_STATUS;
    case REDIS_REPLY_ERROR: return REDIS_ERROR;
    case REDIS_REPLY_ARRAY: return REDIS_ARRAY;
#ifdef REDIS_REPLY_MAP
    case REDIS_REPLY_MAP: return REDIS_MAP;
    case REDIS_REPLY_SET:
    case REDIS_REPLY_PUSH: return REDIS_ARRAY;
    case REDIS_REPLY_DOUBLE: return REDIS_DOUBLE;
    case REDIS_REPLY_BOOL: return REDIS_BOOL;
    case REDIS_REPLY_BIGNUM: /* its digits: a double would lose some */
    case REDIS_REPLY_VERB: return REDIS_TEXT;
#endif
    default: return REDIS_NIL; /* there are no others */
    }
}

int64_t redis_reply_integer(const struct redis_reply *reply)
{
    return show(reply)->integer;
}

double redis_reply_double(const struct redis_reply *reply)
{
#ifdef REDIS_REPLY_DOUBLE
    return show(reply)->dval;
#else
    return (double)show(reply)->integer;
#endif
}

const char *redis_reply_text(const struct redis_reply *reply, size_t *len)
{
    *len = show(reply)->str != NULL ? (size_t)show(reply)->len : 0;
    return show(reply)->str;
}

size_t redis_reply_size(const struct redis_reply *reply)
{
    return show(reply)->elements;
}

const struct redis_reply *redis_reply_at(const struct redis_reply *reply,
                                         size_t i)
{
    assert(i < show(reply)->elements);
    return (const struct redis_reply *)(const void *)show(reply)->element[i];
}
