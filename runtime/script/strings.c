/* strings.c - see strings.h. */
#include "script/strings.h"

#include "base/pattern.h"

#include <lauxlib.h>
#include <string.h>

static const struct string_bounds *bounds_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* ---- matching */

static void begin(lua_State *L, struct pattern *pattern, int subject, int text)
{
    const struct string_bounds *bounds = bounds_of(L);
    size_t len;

    memset(pattern, 0, offsetof(struct pattern, captures));
    pattern->n_captures = 0;
    pattern->steps = 0;
    pattern->is_stopped = false;
    pattern->error = NULL;
    pattern->subject = luaL_checklstring(L, subject, &len);
    pattern->subject_end = pattern->subject + len;
    pattern->text = luaL_checklstring(L, text, &len);
    pattern->text_end = pattern->text + len;
    pattern->max_steps = bounds->max_steps;
    pattern->is_over = bounds->is_over;
    pattern->ud = bounds->ud;
}

/* Ends it at its first \0, as LuaJIT does, which has %z for that. */
static void cut(struct pattern *pattern)
{
    size_t len = (size_t)(pattern->text_end - pattern->text);

    pattern->text_end = pattern->text + strnlen(pattern->text, len);
}

/* Takes the ^ off, if there is one. */
static bool take_anchor(struct pattern *pattern)
{
    bool is_anchored =
        pattern->text < pattern->text_end && *pattern->text == '^';

    pattern->text += is_anchored;
    return is_anchored;
}

/* Raises what stopped it. */
static void check_stop(lua_State *L, const struct pattern *pattern)
{
    const struct string_bounds *bounds = bounds_of(L);

    if (!pattern->is_stopped)
        return;
    if (pattern->error != NULL)
        luaL_error(L, "%s", pattern->error);
    if (bounds->is_over != NULL && bounds->is_over(bounds->ud))
        bounds->end(bounds->ud, L);
    luaL_error(L, "the pattern takes too many steps");
}

static void push_capture(lua_State *L, const struct pattern *pattern,
                         unsigned i)
{
    const struct pattern_capture *capture = &pattern->captures[i];

    if (capture->len == PATTERN_OPEN)
        luaL_error(L, "unfinished capture");
    if (capture->len == PATTERN_POSITION)
        lua_pushinteger(L, capture->at - pattern->subject + 1);
    else
        lua_pushlstring(L, capture->at, capture->len);
}

/* All of them, or where there are none the whole match; says how many. */
static int push_captures(lua_State *L, const struct pattern *pattern,
                         const char *at, const char *end)
{
    if (pattern->n_captures == 0 && at != NULL) {
        lua_pushlstring(L, at, (size_t)(end - at));
        return 1;
    }
    luaL_checkstack(L, (int)pattern->n_captures, "too many captures");
    for (unsigned i = 0; i < pattern->n_captures; i++)
        push_capture(L, pattern, i);
    return (int)pattern->n_captures;
}

/* ---- find and match */

/* The place that argument 3 says, from 0; beyond the end it is the end. */
static size_t start_of(lua_State *L, size_t len)
{
    lua_Integer start = luaL_optinteger(L, 3, 1);

    if (start < 0) {
        start += (lua_Integer)len;
        return start < 0 ? 0 : (size_t)start;
    }
    if (start > 0)
        start--;
    return (size_t)start > len ? len : (size_t)start;
}

static int find_plain(lua_State *L, const struct pattern *pattern,
                      const char *from)
{
    size_t len = (size_t)(pattern->text_end - pattern->text);
    const char *at =
        memmem(from, (size_t)(pattern->subject_end - from), pattern->text, len);

    if (at == NULL) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushinteger(L, at - pattern->subject + 1);
    lua_pushinteger(L, at - pattern->subject + (lua_Integer)len);
    return 2;
}

static int find(lua_State *L, bool is_find)
{
    struct pattern pattern;
    const char *from, *at, *end;
    bool is_anchored;

    begin(L, &pattern, 1, 2);
    from = pattern.subject +
           start_of(L, (size_t)(pattern.subject_end - pattern.subject));
    if (is_find && (lua_toboolean(L, 4) ||
                    pattern_is_plain(pattern.text, (size_t)(pattern.text_end -
                                                            pattern.text))))
        return find_plain(L, &pattern, from);
    cut(&pattern);
    is_anchored = take_anchor(&pattern);
    at = pattern_find(&pattern, from, is_anchored, &end);
    if (at == NULL) {
        check_stop(L, &pattern);
        lua_pushnil(L);
        return 1;
    }
    if (!is_find)
        return push_captures(L, &pattern, at, end);
    lua_pushinteger(L, at - pattern.subject + 1);
    lua_pushinteger(L, end - pattern.subject);
    return 2 + push_captures(L, &pattern, NULL, NULL);
}

static int l_find(lua_State *L)
{
    return find(L, true);
}

static int l_match(lua_State *L)
{
    return find(L, false);
}

/* ---- gmatch */

/* Upvalues: the bounds, subject, pattern, where to go on. */
static int next_match(lua_State *L)
{
    struct pattern pattern;
    const char *at, *end;

    begin(L, &pattern, lua_upvalueindex(2), lua_upvalueindex(3));
    cut(&pattern);
    at = pattern.subject + lua_tointeger(L, lua_upvalueindex(4));
    if (at > pattern.subject_end)
        return 0;
    at = pattern_find(&pattern, at, false, &end);
    if (at == NULL) {
        check_stop(L, &pattern);
        return 0;
    }
    lua_pushinteger(L, end - pattern.subject + (end == at));
    lua_replace(L, lua_upvalueindex(4));
    return push_captures(L, &pattern, at, end);
}

static int l_gmatch(lua_State *L)
{
    luaL_checkstring(L, 1);
    luaL_checkstring(L, 2);
    lua_settop(L, 2);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, next_match, 4);
    return 1;
}

/* ---- gsub */

/* The result; its memory is a userdata at a place of the stack, so that no
 * error loses it. */
struct result {
    lua_State *L;
    int place;
    char *bytes;
    size_t len, size;
};

static void put(struct result *result, const char *bytes, size_t len)
{
    lua_State *L = result->L;
    size_t needed = result->len + len;

    if (needed > bounds_of(L)->max_bytes)
        luaL_error(L, "resulting string too large");
    if (needed > result->size) {
        size_t size = needed * 2 + 64;
        char *larger = lua_newuserdata(L, size);

        if (result->len > 0)
            memcpy(larger, result->bytes, result->len);
        lua_replace(L, result->place);
        result->bytes = larger;
        result->size = size;
    }
    if (len > 0)
        memcpy(result->bytes + result->len, bytes, len);
    result->len = needed;
}

/* The capture i, from 0; that of a pattern without any is the match. */
static void push_one(lua_State *L, const struct pattern *pattern, unsigned i,
                     const char *at, const char *end)
{
    if (i < pattern->n_captures)
        push_capture(L, pattern, i);
    else if (i == 0)
        lua_pushlstring(L, at, (size_t)(end - at));
    else
        luaL_error(L, "invalid capture index");
}

/* The text at 3, with its %0 to %9 replaced. */
static void put_text(struct result *result, const struct pattern *pattern,
                     const char *at, const char *end)
{
    lua_State *L = result->L;
    size_t len;
    const char *text = lua_tolstring(L, 3, &len);

    for (size_t i = 0; i < len; i++) {
        if (text[i] != '%') {
            put(result, &text[i], 1);
            continue;
        }
        i++; /* a text ends with \0, also where % is its last */
        if (text[i] == '0') {
            put(result, at, (size_t)(end - at));
        } else if (text[i] >= '1' && text[i] <= '9') {
            size_t piece_len;
            const char *piece;

            push_one(L, pattern, (unsigned)(text[i] - '1'), at, end);
            piece = lua_tolstring(L, -1, &piece_len);
            put(result, piece, piece_len);
            lua_pop(L, 1);
        } else {
            put(result, &text[i], 1);
        }
    }
}

/* What stands for one match. */
static void put_value(struct result *result, const struct pattern *pattern,
                      const char *at, const char *end)
{
    lua_State *L = result->L;
    size_t len;
    const char *bytes;

    switch (lua_type(L, 3)) {
    case LUA_TNUMBER:
    case LUA_TSTRING: put_text(result, pattern, at, end); return;
    case LUA_TFUNCTION:
        lua_pushvalue(L, 3);
        lua_call(L, push_captures(L, pattern, at, end), 1);
        break;
    default: push_one(L, pattern, 0, at, end); lua_gettable(L, 3);
    }
    if (!lua_toboolean(L, -1)) {
        put(result, at, (size_t)(end - at));
    } else if (!lua_isstring(L, -1)) {
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    } else {
        bytes = lua_tolstring(L, -1, &len);
        put(result, bytes, len);
    }
    lua_pop(L, 1);
}

static void check_replacement(lua_State *L)
{
    int type = lua_type(L, 3);

    luaL_argcheck(L,
                  type == LUA_TNUMBER || type == LUA_TSTRING ||
                      type == LUA_TFUNCTION || type == LUA_TTABLE,
                  3, "string/function/table expected");
}

static int l_gsub(lua_State *L)
{
    struct pattern pattern;
    struct result result = { .L = L, .place = 5 };
    lua_Integer most, count = 0;
    const char *at, *end;
    bool is_anchored;

    begin(L, &pattern, 1, 2);
    check_replacement(L);
    most = lua_isnoneornil(L, 4) ? pattern.subject_end - pattern.subject + 1
                                 : luaL_checkinteger(L, 4);
    lua_settop(L, 4);
    lua_pushnil(L); /* the result's place */
    cut(&pattern);
    is_anchored = take_anchor(&pattern);
    for (at = pattern.subject; count < most;) {
        end = pattern_match(&pattern, at);
        check_stop(L, &pattern);
        if (end != NULL) {
            count++;
            put_value(&result, &pattern, at, end);
        }
        if (end != NULL && end > at)
            at = end;
        else if (at < pattern.subject_end)
            put(&result, at++, 1);
        else
            break;
        if (is_anchored)
            break;
    }
    put(&result, at, (size_t)(pattern.subject_end - at));
    lua_pushlstring(L, result.len > 0 ? result.bytes : "", result.len);
    lua_pushinteger(L, count);
    return 2;
}

/* ---- rep */

/* rep(s, n [, separator]) */
static int l_rep(lua_State *L)
{
    size_t len, between;
    lua_Integer count = luaL_checkinteger(L, 2);
    const char *separator = luaL_optlstring(L, 3, "", &between);
    const char *text = luaL_checklstring(L, 1, &len);
    struct result result = { .L = L, .place = 4 };
    size_t max = bounds_of(L)->max_bytes;

    lua_settop(L, 3);
    lua_pushnil(L);
    if (count > 0 && (len + between) > max / (size_t)count)
        return luaL_error(L, "resulting string too large");
    if (count > 0 && len + between > 0) {
        result.size = (len + between) * (size_t)count;
        result.bytes = lua_newuserdata(L, result.size);
        lua_replace(L, result.place);
    }
    for (lua_Integer i = 0; i < count; i++) {
        put(&result, text, len);
        if (i + 1 < count)
            put(&result, separator, between);
    }
    lua_pushlstring(L, result.len > 0 ? result.bytes : "", result.len);
    return 1;
}

static const luaL_Reg functions[] = {
    { "find", l_find },    { "match", l_match }, { "gmatch", l_gmatch },
    { "gfind", l_gmatch }, { "gsub", l_gsub },   { "rep", l_rep },
    { NULL, NULL },
};

void strings_bind(lua_State *L, const struct string_bounds *bounds)
{
    lua_getglobal(L, "string");
    for (const luaL_Reg *entry = functions; entry->name != NULL; entry++) {
        lua_getfield(L, -1, entry->name);
        if (lua_isnil(L, -1)) { /* as gfind, which not all have */
            lua_pop(L, 1);
            continue;
        }
        lua_pop(L, 1);
        lua_pushlightuserdata(L, (void *)(uintptr_t)bounds);
        lua_pushcclosure(L, entry->func, 1);
        lua_setfield(L, -2, entry->name);
    }
    lua_pop(L, 1);
}
