/* bind_process.c - child processes as Lua values. */
#include "net/process.h"
#include "script/core.h"
#include "script/err.h"
#include "script/park.h"
#include "script/task.h"
#include "script/userdata.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static const char PROCESS_TYPE[] = "tidepool.process";

enum { WORDS_MAX = 256 };

/* A userdata, kept until the child has ended. */
struct script_process {
    struct vm *vm;
    struct process *process; /* NULL once ended */
    int pid;
    int status;
    int output_ref;
    int self_ref;
    struct list waiters; /* tasks parked in wait(), by wait_node */
};

static struct script_process *check_process(lua_State *L)
{
    return vm_check_type(L, 1, PROCESS_TYPE);
}

static int push_end(lua_State *L, struct script_process *box)
{
    lua_pushinteger(L, box->status);
    lua_rawgeti(L, LUA_REGISTRYINDEX, box->output_ref);
    return 2;
}

static void on_exit_of(struct process *process, int status,
                       const struct buf *output, void *ud)
{
    struct script_process *box = ud;
    lua_State *L = box->vm->L;
    struct list_node *node;

    (void)process;
    box->process = NULL;
    box->status = status;
    lua_pushlstring(L, output->len > 0 ? output->data : "", output->len);
    box->output_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    while ((node = list_pop_front(&box->waiters)) != NULL) {
        struct task *task = container_of(node, struct task, wait_node);
        push_end(task_results(task), box);
        task_wake(task);
    }
    luaL_unref(L, LUA_REGISTRYINDEX, box->self_ref);
}

/* The strings of the list at the top; they are kept by the list. */
static void take_words(lua_State *L, char **words, const char *what)
{
    int count = (int)lua_objlen(L, -1);

    if (count < 1 || count >= WORDS_MAX)
        luaL_error(L, "%s: 1 to %d words expected", what, WORDS_MAX - 1);
    for (int i = 0; i < count; i++) {
        lua_rawgeti(L, -1, i + 1);
        if (lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "%s: word %d is no string", what, i + 1);
        words[i] = (char *)(uintptr_t)lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    words[count] = NULL;
}

static bool is_overridden(const char *entry, char *const *added, int count)
{
    size_t len = strcspn(entry, "=") + 1;

    for (int i = 0; i < count; i++)
        if (strncmp(entry, added[i], len) == 0)
            return true;
    return false;
}

/* Ours, with the table at the top over it; NULL when there is none.  The
 * strings made for it are left on the stack. */
static char **take_env(lua_State *L)
{
    char *added[WORDS_MAX];
    size_t size = 0;
    char **env;
    int count = 0;
    int total;
    int table = lua_gettop(L);

    if (lua_isnil(L, table))
        return NULL;
    luaL_checkstack(L, WORDS_MAX + 8, "env");
    lua_pushnil(L);
    while (count < WORDS_MAX - 1 && lua_next(L, table) != 0) {
        const char *text = lua_pushfstring(L, "%s=%s", lua_tostring(L, -2),
                                           lua_tostring(L, -1));
        added[count++] = (char *)(uintptr_t)text;
        lua_replace(L, -2);   /* the value: now the text, which stays */
        lua_pushvalue(L, -2); /* the key, for the next turn */
    }
    while (environ[size] != NULL)
        size++;
    env = lua_newuserdata(L, (size + (size_t)count + 1) * sizeof(*env));
    memcpy(env, added, (size_t)count * sizeof(*env));
    total = count;
    for (char **entry = environ; *entry != NULL; entry++)
        if (!is_overridden(*entry, added, count))
            env[total++] = *entry;
    env[total] = NULL;
    return env;
}

static const char *option(lua_State *L, const char *key)
{
    lua_getfield(L, 1, key);
    return luaL_optstring(L, -1, NULL);
}

static bool flag(lua_State *L, const char *key)
{
    lua_getfield(L, 1, key);
    return lua_toboolean(L, -1);
}

/* The descriptors of the list inherit, if there is one. */
static void take_inherited(lua_State *L, int *fds,
                           struct process_options *options)
{
    size_t count;

    lua_getfield(L, 1, "inherit");
    count = lua_istable(L, -1) ? lua_objlen(L, -1) : 0;
    if (count > PROCESS_INHERITED_MAX)
        luaL_error(L, "inherit: at most %d descriptors", PROCESS_INHERITED_MAX);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        fds[i] = luaL_checkint(L, -1);
        lua_pop(L, 1);
    }
    options->inherited = fds;
    options->n_inherited = (unsigned)count;
}

/* process{ args =, env =, cwd =, log =, input =, file =, inherit =,
 * shares_errors =, shares_all =, leads_group = }: its descriptors 3, 4, ... are
 * those of the list inherit. */
static int l_process(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct err_text why = { .text = "" };
    char *words[WORDS_MAX];
    int inherited[PROCESS_INHERITED_MAX];
    struct process_options options = { .args = words };
    struct script_process *box;
    enum err err;

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getfield(L, 1, "args");
    luaL_checktype(L, -1, LUA_TTABLE);
    take_words(L, words, "args");
    options.cwd = option(L, "cwd");
    options.log_path = option(L, "log");
    options.input = option(L, "input");
    options.file = option(L, "file");
    options.shares_errors = flag(L, "shares_errors");
    options.shares_all = flag(L, "shares_all");
    options.leads_group = flag(L, "leads_group");
    take_inherited(L, inherited, &options);
    lua_getfield(L, 1, "env");
    options.env = take_env(L);
    box = lua_newuserdata(L, sizeof(*box));
    memset(box, 0, sizeof(*box));
    box->vm = vm;
    box->output_ref = LUA_NOREF;
    list_init(&box->waiters);
    vm_set_type(L, PROCESS_TYPE);
    err =
        process_start(&box->process, vm->loop, &options, on_exit_of, box, &why);
    if (err != ERR_OK)
        return return_err(L, err, &why);
    box->pid = process_pid(box->process);
    lua_pushvalue(L, -1);
    box->self_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 1;
}

static int l_pid(lua_State *L)
{
    lua_pushinteger(L, check_process(L)->pid);
    return 1;
}

/* signal(name): does nothing when the child has ended. */
static int l_signal(lua_State *L)
{
    static const char *const names[] = { "TERM", "INT",  "QUIT", "KILL", "HUP",
                                         "USR1", "USR2", "STOP", "CONT", NULL };
    static const int numbers[] = { SIGTERM, SIGINT,  SIGQUIT, SIGKILL, SIGHUP,
                                   SIGUSR1, SIGUSR2, SIGSTOP, SIGCONT };
    struct script_process *box = check_process(L);
    int number = numbers[luaL_checkoption(L, 2, "TERM", names)];

    if (box->process != NULL)
        process_signal(box->process, number);
    return 0;
}

static void cancel_wait(struct task *task)
{
    struct script_process *box = task->operand;

    list_remove(&box->waiters, &task->wait_node);
}

/* wait(): exit status (128 + signal) and output. */
static int l_wait(lua_State *L)
{
    struct script_process *box = check_process(L);
    struct task *task = task_check(L);

    if (box->process == NULL)
        return push_end(L, box);
    list_push_back(&box->waiters, &task->wait_node);
    task->operand = box;
    return task_park(L, task, cancel_wait);
}

static int l_process_gc(lua_State *L)
{
    struct script_process *box = lua_touserdata(L, 1);

    if (box->process != NULL) /* the runtime ends before the child */
        process_detach(box->process);
    luaL_unref(L, LUA_REGISTRYINDEX, box->output_ref);
    return 0;
}

/* end_with_parent(pid): a TERM comes when the process that started this one is
 * gone.  False when it is not pid: that one has gone already. */
static int l_end_with_parent(lua_State *L)
{
    int parent = luaL_checkint(L, 1);

    prctl(PR_SET_PDEATHSIG, SIGTERM);
    lua_pushboolean(L, getppid() == parent);
    return 1;
}

static int l_parent_pid(lua_State *L)
{
    lua_pushinteger(L, getppid());
    return 1;
}

static const luaL_Reg methods[] = {
    { "pid", l_pid },         { "signal", l_signal }, { "wait", l_wait },
    { "__gc", l_process_gc }, { NULL, NULL },
};

static const luaL_Reg functions[] = {
    { "process", l_process },
    { "end_with_parent", l_end_with_parent },
    { "parent_pid", l_parent_pid },
    { NULL, NULL },
};

void bind_process(lua_State *L, struct vm *vm)
{
    vm_metatable(L, vm, PROCESS_TYPE, methods);
    lua_setfield(L, -2, "child");
    vm_register(L, vm, functions);
}
