/* bind_tls.c - see bind_tls.h. */
#include "script/bind_tls.h"

#include "script/core.h"
#include "script/err.h"
#include "script/fields.h"
#include "script/userdata.h"

static const char TLS_TYPE[] = "tidepool.tls";

enum { CERTIFICATES_MAX = 64, NAME_MAX_BYTES = 256 };

/* A userdata; it holds the context. */
struct script_tls {
    struct tls_context *context;
};

struct tls_context *tls_at(lua_State *L, int index)
{
    struct script_tls *box;

    if (lua_isnil(L, index))
        return NULL;
    box = vm_check_type(L, index, TLS_TYPE);
    return box->context;
}

static struct script_tls *push_box(lua_State *L)
{
    struct script_tls *box = lua_newuserdata(L, sizeof(*box));

    box->context = NULL;
    vm_set_type(L, TLS_TYPE);
    return box;
}

/* A path that the table at index keeps; or NULL. */
static const char *path(lua_State *L, int index, const char *key)
{
    const char *found;

    lua_getfield(L, index, key);
    found = lua_tostring(L, -1);
    lua_pop(L, 1);
    return found;
}

/* tls_server{ { certificate =, key = }, ... }: paths; or nil, err. */
static int l_tls_server(lua_State *L)
{
    struct err_text why = { .text = "" };
    struct tls_pair pairs[CERTIFICATES_MAX];
    struct script_tls *box;
    size_t count;
    enum err err;

    luaL_checktype(L, 1, LUA_TTABLE);
    count = lua_objlen(L, 1);
    luaL_argcheck(L, count > 0 && count <= CERTIFICATES_MAX, 1,
                  "1 to 64 certificates expected");
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, 1, (int)i + 1);
        pairs[i].certificate = path(L, -1, "certificate");
        pairs[i].key = path(L, -1, "key");
        lua_pop(L, 1);
        luaL_argcheck(L, pairs[i].certificate != NULL && pairs[i].key != NULL,
                      1, "certificate and key expected");
    }
    box = push_box(L);
    err = tls_context_new_server(&box->context, pairs, count, &why);
    return err == ERR_OK ? 1 : return_err(L, err, &why);
}

/* tls_client{ ca =, certificate =, key =, insecure = }; or nil, err. */
static int l_tls_client(lua_State *L)
{
    struct err_text why = { .text = "" };
    struct tls_client client = { 0 };
    struct script_tls *box;
    enum err err;

    luaL_checktype(L, 1, LUA_TTABLE);
    client.ca = path(L, 1, "ca");
    client.pair.certificate = path(L, 1, "certificate");
    client.pair.key = path(L, 1, "key");
    lua_getfield(L, 1, "insecure");
    client.is_insecure = lua_toboolean(L, -1);
    box = push_box(L);
    err = tls_context_new_client(&box->context, &client, &why);
    return err == ERR_OK ? 1 : return_err(L, err, &why);
}

/* certificates(): of a server, a list of { name =, expires = }, a time as
 * os.time() has it. */
static int l_certificates(lua_State *L)
{
    struct tls_context *context = tls_at(L, 1);
    char name[NAME_MAX_BYTES];
    int64_t expires_s;

    lua_newtable(L);
    for (size_t i = 0;
         tls_context_certificate(context, i, &expires_s, name, sizeof(name));
         i++) {
        lua_createtable(L, 0, 2);
        lua_pushstring(L, name);
        lua_setfield(L, -2, "name");
        field_number(L, "expires", (double)expires_s);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

static int l_gc(lua_State *L)
{
    struct script_tls *box = vm_check_type(L, 1, TLS_TYPE);

    tls_context_free(box->context);
    box->context = NULL;
    return 0;
}

static const luaL_Reg methods[] = {
    { "certificates", l_certificates },
    { "__gc", l_gc },
    { NULL, NULL },
};

static const luaL_Reg functions[] = {
    { "tls_server", l_tls_server },
    { "tls_client", l_tls_client },
    { NULL, NULL },
};

void bind_tls(lua_State *L, struct vm *vm)
{
    vm_metatable(L, vm, TLS_TYPE, methods);
    lua_setfield(L, -2, "tls");
    vm_register(L, vm, functions);
}
