/* bind_login.c - who a pool's next connects log in as. */
#include "pg/pg.h"
#include "redis/redis.h"
#include "script/core.h"
#include "script/err.h"
#include "script/failure.h"

#include <string.h>

static void check_login_keys(lua_State *L)
{
    if (!lua_istable(L, 2))
        raise_at_script(L,
                        "credentials: table with password and user "
                        "expected, got %s",
                        luaL_typename(L, 2));
    for (lua_pushnil(L); lua_next(L, 2) != 0; lua_pop(L, 1)) {
        const char *key =
            lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";

        if (strcmp(key, "user") != 0 && strcmp(key, "password") != 0)
            raise_at_script(L, "unknown key of credentials: %s",
                            key[0] != '\0' ? key : luaL_typename(L, -2));
    }
}

/* A text field of the table at 2, or NULL; the value stays on the stack. */
static const char *login_field(lua_State *L, const char *key)
{
    size_t len;
    const char *text;

    check_login_keys(L);
    lua_getfield(L, 2, key);
    if (lua_isnil(L, -1))
        return NULL;
    if (lua_type(L, -1) != LUA_TSTRING)
        raise_at_script(L, "%s: string expected, got %s", key,
                        luaL_typename(L, -1));
    text = lua_tolstring(L, -1, &len);
    if (strlen(text) != len)
        raise_at_script(L, "%s holds a zero byte", key);
    return text;
}

/* raw_credentials(pool, { password =, user = }): for the next connects; without
 * a table those of the configuration. */
static int l_credentials(lua_State *L)
{
    struct script_pool *box = check_open_pool(L, 1);
    bool is_given = !lua_isnone(L, 2);
    const char *user = is_given ? login_field(L, "user") : NULL;
    const char *password = is_given ? login_field(L, "password") : NULL;
    enum err err;

    if (is_given && password == NULL)
        raise_at_script(L, "credentials: password expected");
    err = box->kind == POOL_POSTGRES
              ? pg_pool_login(box->pg, user, password)
              : redis_pool_login(box->redis, user, password);
    if (err != ERR_OK)
        return return_failure(L, box, err, NULL);
    lua_pushboolean(L, 1);
    return 1;
}

static const luaL_Reg methods[] = {
    { "raw_credentials", l_credentials },
    { NULL, NULL },
};

void bind_login(lua_State *L, struct vm *vm)
{
    vm_extend(L, vm, "postgres", methods);
    vm_extend(L, vm, "redis", methods);
}
