/*
 * fuzz_resp.c - replies of Redis: bytes through the reader to values of Lua.
 *
 * Input: a byte, the size of the pieces; the rest is what the server sends.
 */
#include "fuzz.h"

#include "redis/reader.h"
#include "redis/reply.h"
#include "script/redis_value.h"

#include <hiredis/hiredis.h>
enum {
    ELEMENTS_MAX = 1024 * 1024
}; /* fewer than in service, which is slower */

/* Of a pool that is closed. */
static const struct script_pool box;
static const struct redis_asker asker = { .box = &box };

static void look(const struct redis_reply *reply, unsigned depth)
{
    enum redis_kind kind = redis_reply_kind(reply);
    size_t len = 0;
    const char *text;

    FUZZ_CHECK(depth < 20);
    switch (kind) {
    case REDIS_TEXT:
    case REDIS_STATUS:
    case REDIS_ERROR:
        text = redis_reply_text(reply, &len);
        FUZZ_CHECK(text != NULL && text[len] == '\0');
        break;
    case REDIS_MAP:
        FUZZ_CHECK(redis_reply_size(reply) % 2 == 0); /* fall through */
    case REDIS_ARRAY:
        for (size_t i = 0; i < redis_reply_size(reply); i++)
            look(redis_reply_at(reply, i), depth + 1);
        break;
    default: break;
    }
}

static void take_all(lua_State *L, struct redis_reader *reader)
{
    struct redisReply *reply;
    struct err_text text;

    while (redis_reader_next(reader, &reply, &text) == ERR_OK &&
           reply != NULL) {
        look((const struct redis_reply *)reply, 0);
        push_redis_reply(L, &asker, (const struct redis_reply *)reply, false);
        lua_settop(L, 0);
        freeReplyObject(reply);
    }
}

FUZZ_TARGET(resp)
{
    struct fuzz_input input = { bytes, size };
    size_t piece = fuzz_byte(&input) % 64 + 1U;
    lua_State *L = fuzz_lua();
    struct redis_reader *reader = redis_reader_new(ELEMENTS_MAX);
    struct err_text text;

    while (input.left > 0) {
        size_t len = piece < input.left ? piece : input.left;

        if (redis_reader_feed(reader, input.at, len, &text) != ERR_OK)
            break;
        take_all(L, reader);
        input.at += len;
        input.left -= len;
    }
    redis_reader_free(reader);
    return 0;
}
