/* bind_budget.c - one max_connections for all workers, as a Lua value. */
#include "net/budget_port.h"
#include "pool/budget_census.h"
#include "script/core.h"
#include "script/err.h"
#include "script/fields.h"
#include "script/userdata.h"
#include "script/vm.h"

static const char BUDGET_TYPE[] = "tidepool.budget";

/* A userdata; the port of a worker is the vm's. */
struct script_budget {
    struct vm *vm;
    struct budget_port *port; /* NULL: closed */
};

static struct script_budget *check_budget(lua_State *L)
{
    struct script_budget *box = vm_check_type(L, 1, BUDGET_TYPE);

    if (box->port == NULL)
        raise_at_script(L, "the budget is closed");
    return box;
}

static struct script_budget *push_budget(lua_State *L)
{
    struct script_budget *box = lua_newuserdata(L, sizeof(*box));

    box->vm = vm_of(L);
    box->port = NULL;
    vm_set_type(L, BUDGET_TYPE);
    return box;
}

/* budget_new(): in a master. */
static int l_new(lua_State *L)
{
    struct script_budget *box = push_budget(L);
    struct err_text why = { .text = "" };
    enum err err = budget_port_new(&box->port, box->vm->loop, &why);

    return err == ERR_OK ? 1 : return_err(L, err, &why);
}

/* budget_attach(fd): that of the parent; fd is not to be used any more. */
static int l_attach(lua_State *L)
{
    int fd = (int)luaL_checkinteger(L, 1);
    struct script_budget *box = push_budget(L);
    struct err_text why = { .text = "" };
    enum err err = budget_port_attach(&box->port, box->vm->loop, fd, &why);

    return err == ERR_OK ? 1 : return_err(L, err, &why);
}

/* claim(): becomes a worker; pools that are opened from here on share their
 * connections.  Gives its place, from 0. */
static int l_claim(lua_State *L)
{
    struct script_budget *box = check_budget(L);
    struct err_text why = { .text = "" };
    unsigned slot = 0;
    enum err err;

    if (box->vm->budget != NULL)
        raise_at_script(L, "this process is a worker already");
    if (box->vm->pools.len > 0)
        raise_at_script(L, "pools are open: claim() comes before them");
    err = budget_port_claim(box->port, &slot, &why);
    if (err != ERR_OK)
        return return_err(L, err, &why);
    box->vm->budget = box->port;
    lua_pushinteger(L, (lua_Integer)slot);
    return 1;
}

static int l_fd(lua_State *L)
{
    lua_pushinteger(L, budget_port_fd(check_budget(L)->port));
    return 1;
}

/* dead(pid): the child has been reaped; gives how many connections it had. */
static int l_dead(lua_State *L)
{
    struct script_budget *box = check_budget(L);
    int pid = (int)luaL_checkinteger(L, 2);

    luaL_argcheck(L, pid > 0, 2, "a process id expected");
    lua_pushinteger(L, (lua_Integer)budget_port_dead(box->port, pid));
    return 1;
}

/* pools(): of each { name, max, taken, ghosts, workers, needy }. */
static int l_pools(lua_State *L)
{
    struct budget *budget = budget_port_budget(check_budget(L)->port);
    struct budget_census census;
    const char *name;

    lua_newtable(L);
    for (unsigned i = 0; budget_row(budget, i, &name, &census); i++) {
        lua_createtable(L, 0, 6);
        field_text(L, "name", name);
        field_number(L, "max", census.max);
        field_number(L, "taken", census.others + census.ghosts);
        field_number(L, "ghosts", census.ghosts);
        field_number(L, "workers", census.workers);
        field_number(L, "needy", census.needy);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

/* A worker's is closed with the vm, when its pools are. */
static int l_close(lua_State *L)
{
    struct script_budget *box = vm_check_type(L, 1, BUDGET_TYPE);

    if (box->port != box->vm->budget)
        budget_port_close(box->port);
    box->port = NULL;
    return 0;
}

static const luaL_Reg methods[] = {
    { "claim", l_claim }, { "fd", l_fd },       { "dead", l_dead },
    { "pools", l_pools }, { "close", l_close }, { "__gc", l_close },
    { NULL, NULL },
};

static const luaL_Reg functions[] = {
    { "budget_new", l_new },
    { "budget_attach", l_attach },
    { NULL, NULL },
};

void bind_budget(lua_State *L, struct vm *vm)
{
    vm_metatable(L, vm, BUDGET_TYPE, methods);
    lua_setfield(L, -2, "budget");
    vm_register(L, vm, functions);
}
