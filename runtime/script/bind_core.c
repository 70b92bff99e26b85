/* bind_core.c - log, clock, script loading: what fits no other room. */
#include "base/cores.h"
#include "base/number.h"
#include "net/deadline.h"
#include "net/secret.h"
#include "net/signals.h"
#include "script/core.h"
#include "script/err.h"
#include "script/task.h"
#include "script/userdata.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOG_FIELDS_MAX = 24, RANDOM_MAX = 64 };

static const char *const LEVELS[] = { "debug", "info", "warn", "error", NULL };

/* Whole, and so small that a double holds it exactly. */
static bool is_whole(double number)
{
    return number == floor(number) && fabs(number) < 9e15;
}

/* One field of the pair on top of the stack. */
static void field_of(lua_State *L, struct log_field *field)
{
    field->key = lua_tostring(L, -2);
    field->number = 0;
    field->type = LOG_STR_TYPE;
    if (lua_type(L, -1) == LUA_TNUMBER && is_whole(lua_tonumber(L, -1))) {
        field->type = LOG_INT_TYPE;
        field->number = (int64_t)lua_tonumber(L, -1);
    } else if (lua_type(L, -1) == LUA_TBOOLEAN)
        field->text = lua_toboolean(L, -1) ? "true" : "false";
    else if (lua_isstring(L, -1))
        field->text = lua_tostring(L, -1);
    else
        field->text = luaL_typename(L, -1);
}

struct log_key {
    const char *text; /* kept by the table that has it */
    size_t len;
};

/* Keeps the first LOG_FIELDS_MAX in the order of their names. */
static void keep_key(struct log_key *keys, int *count, struct log_key key)
{
    int at = *count;

    if (at < LOG_FIELDS_MAX)
        (*count)++;
    else if (strcmp(key.text, keys[--at].text) >= 0)
        return;
    for (; at > 0 && strcmp(key.text, keys[at - 1].text) < 0; at--)
        keys[at] = keys[at - 1];
    keys[at] = key;
}

/* Those of the table at 3; says how many there are besides. */
static int log_keys(lua_State *L, struct log_key *keys, int *count)
{
    int total = 0;

    for (lua_pushnil(L); lua_next(L, 3) != 0; lua_pop(L, 1)) {
        struct log_key key;

        if (lua_type(L, -2) != LUA_TSTRING)
            continue;
        key.text = lua_tolstring(L, -2, &key.len);
        keep_key(keys, count, key);
        total++;
    }
    return total - *count;
}

/* log(level, event [, fields]): the values are kept on the stack while they
 * are borrowed. */
static int l_log(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct log_key keys[LOG_FIELDS_MAX];
    struct log_field fields[LOG_FIELDS_MAX + 2];
    int level = luaL_checkoption(L, 1, NULL, LEVELS);
    const char *event = luaL_checkstring(L, 2);
    int count = 0, n_dropped = 0;

    lua_settop(L, 3);
    luaL_checkstack(L, 2 * LOG_FIELDS_MAX + 4, "log");
    if (lua_istable(L, 3))
        n_dropped = log_keys(L, keys, &count);
    for (int i = 0; i < count; i++) {
        lua_pushlstring(L, keys[i].text, keys[i].len);
        lua_pushvalue(L, -1);
        lua_rawget(L, 3);
        field_of(L, &fields[i]);
    }
    if (n_dropped > 0)
        fields[count++] =
            (struct log_field)LOG_INT("dropped_fields", n_dropped);
    fields[count].type = LOG_END_TYPE;
    log_fields(&vm->log, (enum log_level)level, event, fields);
    return 0;
}

static int l_log_setup(lua_State *L)
{
    static const char *const forms[] = { "logfmt", "json", NULL };
    struct vm *vm = vm_of(L);

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getfield(L, 1, "level");
    vm->log.level = (enum log_level)luaL_checkoption(L, -1, "info", LEVELS);
    lua_getfield(L, 1, "format");
    vm->log_form = (enum log_form)luaL_checkoption(L, -1, "logfmt", forms);
    lua_getfield(L, 1, "worker");
    vm->worker = luaL_optint(L, -1, 0);
    return 0;
}

static int l_now(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)loop_now_ns(vm_of(L)->loop) / 1e9);
    return 1;
}

static int l_cores(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)cores_usable());
    return 1;
}

/* same_secret(given, secret): takes as long whatever is the same of them. */
static int l_same_secret(lua_State *L)
{
    size_t given_len, len;
    const char *given = luaL_checklstring(L, 1, &given_len);
    const char *secret = luaL_checklstring(L, 2, &len);
    volatile unsigned char differ = given_len != len;

    for (size_t i = 0; i < given_len; i++)
        differ |= (unsigned char)(given[i] ^ secret[len > 0 ? i % len : 0]);
    lua_pushboolean(L, differ == 0);
    return 1;
}

/* random_hex(n): n random bytes as 2 * n digits. */
static int l_random_hex(lua_State *L)
{
    uint8_t bytes[RANDOM_MAX];
    char hex[2 * RANDOM_MAX];
    int count = luaL_checkint(L, 1);

    luaL_argcheck(L, count > 0 && count <= RANDOM_MAX, 1, "out of range");
    if (vm_random(vm_of(L), bytes, (size_t)count) != ERR_OK)
        return luaL_error(L, "there are no random bytes");
    secret_put_hex(hex, bytes, (size_t)count);
    lua_pushlstring(L, hex, 2 * (size_t)count);
    return 1;
}

/* sha256(text): 64 digits. */
static int l_sha256(lua_State *L)
{
    uint8_t hash[SECRET_HASH_LEN];
    char hex[2 * SECRET_HASH_LEN];
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);

    if (secret_hash(hash, text, len) != ERR_OK)
        return luaL_error(L, "not enough memory");
    secret_put_hex(hex, hash, sizeof(hash));
    lua_pushlstring(L, hex, sizeof(hex));
    return 1;
}

static int l_pid(lua_State *L)
{
    lua_pushinteger(L, getpid());
    return 1;
}

static int l_uid(lua_State *L)
{
    lua_pushinteger(L, getuid());
    return 1;
}

static int l_open_handles(lua_State *L)
{
    lua_pushinteger(L, loop_open_handles(vm_of(L)->loop));
    return 1;
}

/* load_script(path, env [, text]): a function of what is in the file, or of
 * text by that name; LuaJIT byte code is refused. */
static int l_load_script(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    size_t len = 0;
    const char *text = luaL_optlstring(L, 3, NULL, &len);
    int status;

    luaL_checktype(L, 2, LUA_TTABLE);
    if (text == NULL)
        status = luaL_loadfilex(L, path, "t");
    else
        status = luaL_loadbufferx(L, text, len, lua_pushfstring(L, "@%s", path),
                                  "t");
    if (status != 0)
        return return_text(L, ERR_BADARG, "%s", lua_tostring(L, -1));
    lua_pushvalue(L, 2);
    lua_setfenv(L, -2);
    return 1;
}

/* ---- signals */

/* Kept for the life of the runtime. */
struct script_signal {
    struct vm *vm;
    struct signal_watch *watch;
    int fn_ref;
};

static const char SIGNAL_TYPE[] = "tidepool.signal";

static void on_signal(int number, void *ud)
{
    struct script_signal *box = ud;
    lua_State *L = box->vm->L;

    (void)number;
    lua_rawgeti(L, LUA_REGISTRYINDEX, box->fn_ref);
    task_spawn(box->vm, L, 0, NULL);
}

static int signal_number(const char *name)
{
    static const struct {
        const char *name;
        int number;
    } known[] = { { "INT", 2 },   { "TERM", 15 }, { "HUP", 1 },
                  { "USR1", 10 }, { "USR2", 12 }, { "QUIT", 3 },
                  { "WINCH", 28 } };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(name, known[i].name) == 0)
            return known[i].number;
    return 0;
}

static int l_on_signal(lua_State *L)
{
    struct vm *vm = vm_of(L);
    int number = signal_number(luaL_checkstring(L, 1));
    struct script_signal *box;

    luaL_argcheck(L, number != 0, 1, "unknown signal");
    luaL_checktype(L, 2, LUA_TFUNCTION);
    box = lua_newuserdata(L, sizeof(*box));
    memset(box, 0, sizeof(*box));
    box->vm = vm;
    box->fn_ref = LUA_NOREF;
    vm_set_type(L, SIGNAL_TYPE);
    if (signal_watch_open(&box->watch, vm->loop, number, on_signal, box) != 0)
        return return_text(L, ERR_NOMEM, "signal %s cannot be watched",
                           lua_tostring(L, 1));
    lua_pushvalue(L, 2);
    box->fn_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushvalue(L, -1);
    luaL_ref(L, LUA_REGISTRYINDEX); /* watched to the runtime's end */
    lua_pushboolean(L, 1);
    return 1;
}

static int l_signal_gc(lua_State *L)
{
    struct script_signal *box = lua_touserdata(L, 1);

    signal_watch_close(box->watch);
    box->watch = NULL;
    return 0;
}

static const luaL_Reg signal_methods[] = {
    { "__gc", l_signal_gc },
    { NULL, NULL },
};

/* number_text(n): a number as text that reads back as the same number. */
static int l_number_text(lua_State *L)
{
    char digits[NUMBER_TEXT_MAX];
    size_t len = number_text(digits, luaL_checknumber(L, 1));

    lua_pushlstring(L, digits, len);
    return 1;
}

/* Lua's next(), which the compiler does not know: see start.lua. */
static int l_next(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    if (lua_next(L, 1) != 0)
        return 2;
    lua_pushnil(L);
    return 1;
}

static const luaL_Reg functions[] = {
    { "next", l_next },
    { "number_text", l_number_text },
    { "log", l_log },
    { "log_setup", l_log_setup },
    { "now", l_now },
    { "cores", l_cores },
    { "pid", l_pid },
    { "same_secret", l_same_secret },
    { "random_hex", l_random_hex },
    { "sha256", l_sha256 },
    { "uid", l_uid },
    { "open_handles", l_open_handles },
    { "load_script", l_load_script },
    { "on_signal", l_on_signal },
    { NULL, NULL },
};

void bind_core(lua_State *L, struct vm *vm)
{
    vm_metatable(L, vm, SIGNAL_TYPE, signal_methods);
    lua_pop(L, 1);
    vm_register(L, vm, functions);
    lua_pushliteral(L, TIDEPOOL_VERSION);
    lua_setfield(L, -2, "version");
}
