/* failure.c - see failure.h. */
#include "script/failure.h"
#include "pool/conn_state.h"
#include "pool/stats.h"
#include "pool/why.h"
#include "script/core.h"
#include "script/err.h"
#include "script/lease.h"

#include <string.h>

void failure_count(const struct script_pool *box, enum err err)
{
    if (box->pool != NULL)
        pool_count_error(box->pool, err);
}

void push_failure(lua_State *L, const struct script_pool *box, enum err err,
                  const struct err_text *text)
{
    failure_count(box, err);
    push_err(L, err, text);
}

/* err.waited = { total =, queue =, tcp = ... } in seconds. */
static void set_waited(lua_State *L, const struct pool_why *why)
{
    lua_createtable(L, 0, WAIT_PHASES + 1);
    lua_pushnumber(L, (lua_Number)why->waited_ns / 1e9);
    lua_setfield(L, -2, "total");
    for (int i = 0; i < WAIT_PHASES; i++) {
        lua_pushnumber(L, (lua_Number)why->phase_ns[i] / 1e9);
        lua_setfield(L, -2, wait_phase_name(i));
    }
    lua_setfield(L, -2, "waited");
}

void push_refusal(lua_State *L, const struct script_pool *box,
                  const struct pool_waiter *waiter, enum err err)
{
    struct pool_why why;
    struct err_text text = { .text = "" };

    pool_explain(box->pool, waiter, err, loop_now_ns(box->vm->loop), &why);
    pool_why_text(&why, box->name, &text);
    push_failure(L, box, err, &text);
    set_waited(L, &why);
}

int return_failure(lua_State *L, const struct script_pool *box, enum err err,
                   const struct err_text *text)
{
    lua_pushnil(L);
    push_failure(L, box, err, text);
    return 2;
}

int return_refusal(lua_State *L, const struct script_pool *box,
                   const struct pool_waiter *waiter, enum err err)
{
    lua_pushnil(L);
    push_refusal(L, box, waiter, err);
    return 2;
}

/* ---- what Lua modules refuse by themselves */

static enum err check_code(lua_State *L, int index)
{
    const char *code = luaL_checkstring(L, index);

    for (int err = ERR_OK + 1; err < ERR_COUNT; err++)
        if (strcmp(err_code(err), code) == 0)
            return err;
    luaL_argerror(L, index, "code of an err expected");
    return ERR_INTERNAL;
}

static int fail(lua_State *L, const struct script_pool *box)
{
    enum err err = check_code(L, 2);
    struct err_text text = { .text = "" };

    err_text_set(&text, "%s", luaL_checkstring(L, 3));
    return return_failure(L, box, err, &text);
}

/* raw_fail(pool, code, message): nil, err. */
static int l_raw_fail(lua_State *L)
{
    struct script_pool *box = check_any_pool(L, 1);

    return fail(L, box);
}

/* raw_fail(lease, code, message): the same. */
static int l_lease_fail(lua_State *L)
{
    return fail(L, lease_check(L, POOL_POSTGRES)->box);
}

static const luaL_Reg pool_methods[] = {
    { "raw_fail", l_raw_fail },
    { NULL, NULL },
};

static const luaL_Reg lease_methods[] = {
    { "raw_fail", l_lease_fail },
    { NULL, NULL },
};

void bind_failure(lua_State *L, struct vm *vm)
{
    vm_extend(L, vm, "postgres", pool_methods);
    vm_extend(L, vm, "redis", pool_methods);
    vm_extend(L, vm, "postgres_lease", lease_methods);
}
