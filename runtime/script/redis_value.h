/* redis_value.h - a script's values as words of a command, and replies as Lua
 * values. */
#ifndef TIDEPOOL_SCRIPT_REDIS_VALUE_H
#define TIDEPOOL_SCRIPT_REDIS_VALUE_H

#include "script/bind_pool.h"

struct redis_reply;

enum { REDIS_WORDS_MAX = 250 };

/* One command's words; the texts are kept by the stack they were read from. */
struct redis_words {
    unsigned count;
    const char *args[REDIS_WORDS_MAX];
    size_t lens[REDIS_WORDS_MAX];
};

/* Reads the values from first to the top, numbers as text.  ERR_BADARG: why
 * names the value that is neither a string nor a number. */
enum err redis_words_read(lua_State *L, int first, struct redis_words *out,
                          struct err_text *why) MUST_CHECK;

/* Who is told of replies; errors among them are counted, see failure.h. */
struct redis_asker {
    const struct script_pool *box;
    bool is_coping; /* a Lua module, which goes on from NOSCRIPT and the like */
};

/* Within an array and in a pipeline's list (is_inner), nil is tide.null. */
void push_redis_reply(lua_State *L, const struct redis_asker *asker,
                      const struct redis_reply *reply, bool is_inner);

#endif
