/*
 * lua_host.c - runs targets that are written in Lua, in the state that scripts
 * have.  What libFuzzer is told of is which line of Lua came after which: its
 * own instrumentation sees C alone.
 */
#include "fuzz.h"

#include "json_check.h"
#include "pg/address.h"
#include "script/vm.h"

#include <libpq-fe.h>
#include <luajit.h>
#include <string.h>

/* The edges of Lua, by hash. */
enum { EDGES = 32768, FILES = 256, LINES = 1024, NAME_MAX_LEN = 80 };
/* Of one match of a pattern; and turns of the loop that tasks may take. */
enum { STEPS_MAX = 20000, TURNS_MAX = 1000 };
#ifdef FUZZ_ENGINE
__attribute__((section("__libfuzzer_extra_counters")))
#endif
static uint8_t edges[EDGES];

/* What Lua's own memory points to looks as if nothing did. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

static struct vm *vm;
static bool counts_lines;

/* ---- which lines were run, for FUZZ_LINES=1 */

struct file {
    char name[NAME_MAX_LEN];
    bool was_run[LINES];
};
static struct file files[FILES];

static void note_line(const char *name, int line)
{
    for (size_t i = 0; i < FILES; i++) {
        if (files[i].name[0] == '\0')
            snprintf(files[i].name, NAME_MAX_LEN, "%s", name);
        if (strcmp(files[i].name, name) == 0) {
            if (line > 0 && line < LINES)
                files[i].was_run[line] = true;
            return;
        }
    }
}

static void fail(lua_State *L, const char *what)
{
    fprintf(stderr, "%s: %s\n", what, lua_tostring(L, -1));
    abort();
}

/* "lua/tidepool/toml.lua: 300 of 310 lines" */
static void tell_file(lua_State *L, const struct file *file)
{
    int all = 0, reached = 0;

    if (luaL_loadfile(L, "tests/fuzz/lines.lua") != 0 ||
        lua_pcall(L, 0, 1, 0) != 0)
        fail(L, "lines.lua");
    lua_pushstring(L, file->name);
    if (lua_pcall(L, 1, 1, 0) != 0) {
        lua_settop(L, 0);
        return; /* it is no file */
    }
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        int line = (int)lua_tointeger(L, -2);

        all++;
        reached += line > 0 && line < LINES && file->was_run[line];
    }
    fprintf(stderr, "%s: %d of %d lines\n", file->name, reached, all);
    lua_settop(L, 0);
}

static void tell_lines(void)
{
    lua_sethook(vm->L, NULL, 0, 0);
    for (size_t i = 0; i < FILES && files[i].name[0] != '\0'; i++)
        tell_file(vm->L, &files[i]);
}

/* ---- edges */

static uint32_t hash(uint32_t from, const char *text)
{
    while (*text != '\0')
        from = (from ^ (uint8_t)*text++) * 16777619U;
    return from;
}

static void on_line(lua_State *L, lua_Debug *about)
{
    static uint32_t before;
    uint32_t here;

    lua_getinfo(L, "S", about);
    here = hash(2166136261U, about->short_src) * 31U +
           (uint32_t)about->currentline * 40503U;
    edges[(before ^ here) % EDGES]++;
    before = here >> 1;
    if (counts_lines)
        note_line(about->short_src, about->currentline);
}

/* What a target sees that its lines do not tell: fuzz.feature(text). */
static int l_feature(lua_State *L)
{
    edges[hash(2166136261U, luaL_checkstring(L, 1)) % EDGES]++;
    return 0;
}

/* ---- what targets in Lua ask: second opinions, and parts that are in C */

/* fuzz.fail(text): for where no error gets through. */
static int l_fail(lua_State *L)
{
    fprintf(stderr, "%s\n", luaL_checkstring(L, 1));
    abort();
}

static int l_is_json(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);

    lua_pushboolean(L, json_check(text, len, NULL));
    return 1;
}

static int l_is_utf8(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);

    lua_pushboolean(L, utf8_check(text, len));
    return 1;
}

/* libpq's reading of a url: a table; or nil and its words. */
static int l_conninfo(lua_State *L)
{
    char *words = NULL;
    PQconninfoOption *options = PQconninfoParse(luaL_checkstring(L, 1), &words);

    if (options == NULL) {
        lua_pushnil(L);
        lua_pushstring(L, words);
        PQfreemem(words);
        return 2;
    }
    lua_newtable(L);
    for (PQconninfoOption *at = options; at->keyword != NULL; at++) {
        if (at->val == NULL)
            continue;
        lua_pushstring(L, at->val);
        lua_setfield(L, -2, at->keyword);
    }
    PQconninfoFree(options);
    return 1;
}

/* Ours: a list of { host, hostaddr, port }; or nil and the words. */
static int l_address_book(lua_State *L)
{
    struct address_book book;
    struct err_text why = { 0 };
    enum err err = address_book_open(&book, luaL_checkstring(L, 1), &why);

    FUZZ_CHECK(err == ERR_OK || err == ERR_BADARG);
    if (err != ERR_OK) {
        lua_pushnil(L);
        lua_pushstring(L, why.text);
        return 2;
    }
    lua_newtable(L);
    for (unsigned i = 0; i < book.count; i++) {
        lua_newtable(L);
        lua_pushstring(L, book.list[i].host);
        lua_setfield(L, -2, "host");
        lua_pushstring(L, book.list[i].hostaddr);
        lua_setfield(L, -2, "hostaddr");
        lua_pushstring(L, book.list[i].port);
        lua_setfield(L, -2, "port");
        lua_rawseti(L, -2, (int)i + 1);
    }
    address_book_free(&book);
    return 1;
}

static const luaL_Reg functions[] = {
    { "feature", l_feature },
    { "fail", l_fail },
    { "is_json", l_is_json },
    { "is_utf8", l_is_utf8 },
    { "conninfo", l_conninfo },
    { "address_book", l_address_book },
    { NULL, NULL },
};

/* ---- the state */

lua_State *fuzz_lua(void)
{
    const struct vm_options options = { 0 };

    if (vm != NULL)
        return vm->L;
    FUZZ_CHECK(vm_new(&vm, &options) == ERR_OK);
    luaJIT_setmode(vm->L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    vm->strings.max_steps = STEPS_MAX;
    luaL_register(vm->L, "fuzz", functions);
    lua_getfield(vm->L, LUA_REGISTRYINDEX, "tidepool.string");
    lua_setfield(vm->L, -2, "string"); /* LuaJIT's own */
    lua_settop(vm->L, 0);
    counts_lines = getenv("FUZZ_LINES") != NULL;
    if (counts_lines)
        atexit(tell_lines);
    return vm->L;
}

static int traceback(lua_State *L)
{
    lua_getglobal(L, "tostring");
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    luaL_traceback(L, L, lua_tostring(L, -1), 1);
    return 1;
}

/* Leaves the target's function on the stack. */
static void push_target(lua_State *L, const char *name)
{
    char path[128];

    lua_getfield(L, LUA_REGISTRYINDEX, name);
    if (lua_isfunction(L, -1))
        return;
    lua_pop(L, 1);
    snprintf(path, sizeof(path), "tests/fuzz/fuzz_%s.lua", name);
    if (luaL_loadfile(L, path) != 0 || lua_pcall(L, 0, 1, 0) != 0)
        fail(L, path);
    lua_pushvalue(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, name);
}

int fuzz_lua_run(const char *name, const uint8_t *bytes, size_t size)
{
    lua_State *L = fuzz_lua();

    if (counts_lines) /* those that are run once, too */
        lua_sethook(L, on_line, LUA_MASKLINE, 0);
    lua_pushcfunction(L, traceback);
    push_target(L, name);
    lua_pushlstring(L, (const char *)bytes, size);
    lua_sethook(L, on_line, LUA_MASKLINE, 0);
    if (lua_pcall(L, 1, 0, 1) != 0)
        fail(L, name);
    lua_settop(L, 0);
    for (int i = 0; vm->live.len > 0 || i == 0; i++) {
        FUZZ_CHECK(i < TURNS_MAX);
        loop_turn(vm->loop, 0);
    }
    lua_sethook(L, NULL, 0, 0);
    return 0;
}
