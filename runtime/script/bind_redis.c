/* bind_redis.c - Redis pools as Lua values. */
#include "redis/lease.h"
#include "redis/redis.h"
#include "redis/reply.h"
#include "redis/request.h"
#include "script/core.h"
#include "script/err.h"
#include "script/failure.h"
#include "script/lease.h"
#include "script/nested.h"
#include "script/park.h"
#include "script/redis_value.h"

/* Adds the command whose words are the values from first to the top. */
static enum err add_command(lua_State *L, struct redis_request *request,
                            int first, struct err_text *why)
{
    struct redis_words words;
    enum err err = redis_words_read(L, first, &words, why);

    if (err != ERR_OK)
        return err;
    return redis_request_add(request, words.count, words.args, words.lens, why);
}

/* Bits of a task's shape. */
enum { SHAPE_LIST = 1, SHAPE_COPES = 2 };

static void push_list(lua_State *L, struct task *task,
                      struct redis_asker *asker)
{
    struct redis_request *request = &task->redis;

    lua_createtable(L, (int)request->n_commands, 0);
    for (unsigned i = 0; i < request->n_commands; i++) {
        push_redis_reply(L, asker, redis_request_reply(request, i), true);
        lua_rawseti(L, -2, (int)i + 1);
    }
}

static void push_result(lua_State *L, struct task *task)
{
    struct redis_request *request = &task->redis;
    const struct redis_reply *reply = redis_request_reply(request, 0);
    struct redis_asker asker = {
        .box = task->operand,
        .is_coping = (task->shape & SHAPE_COPES) != 0,
    };

    if ((task->shape & SHAPE_LIST) == 0) {
        if (redis_reply_kind(reply) == REDIS_ERROR)
            lua_pushnil(L);
        push_redis_reply(L, &asker, reply, false);
        return;
    }
    if (redis_request_was_dropped(request)) {
        lua_pushnil(L);
        return;
    }
    if (redis_request_abort(request) != NULL) { /* it ran nothing */
        lua_pushnil(L);
        push_redis_reply(L, &asker, redis_request_abort(request), false);
        return;
    }
    push_list(L, task, &asker);
}

static void push_unanswered(lua_State *L, struct task *task, enum err err,
                            const struct err_text *text)
{
    struct script_pool *box = task->operand;

    lua_pushnil(L);
    if (!task->redis.was_sent && box->pool != NULL &&
        (err == ERR_TIMEOUT || err == ERR_REFUSED || err == ERR_BUSY)) {
        push_refusal(L, box, NULL, err);
        return;
    }
    push_failure(L, box, err, text);
    if (task->redis.was_sent) {
        lua_pushliteral(L, "unknown");
        lua_setfield(L, -2, "outcome");
    }
}

static void on_reply(struct redis_request *request, enum err err,
                     const struct err_text *text)
{
    struct task *task = container_of(request, struct task, redis);
    lua_State *L = task_results(task);

    if (err == ERR_OK)
        push_result(L, task);
    else
        push_unanswered(L, task, err, text);
    redis_request_deinit(request);
    task_wake(task);
}

static void cancel_reply(struct task *task)
{
    failure_count(task->operand, ERR_CANCELLED);
    redis_request_cancel(&task->redis);
    redis_request_deinit(&task->redis);
}

/* ---- calls */

/* The pool or the lease at 1. */
struct target {
    struct script_pool *box;
    struct redis_link *link; /* NULL: the pool's lanes */
};

static struct redis_request *begin(lua_State *L, struct task *task,
                                   const struct target *target)
{
    redis_request_init(&task->redis);
    task->redis.item.class = task->class;
    task->redis.on_done = on_reply;
    task->shape = lua_toboolean(L, 2) ? SHAPE_COPES : 0;
    if (target->link != NULL)
        redis_request_set_lease(&task->redis);
    return &task->redis;
}

static enum err send_to(const struct target *target, struct task *task)
{
    task->operand = target->box;
    if (target->link != NULL)
        return redis_link_send(target->link, &task->redis);
    task->awaits = target->box->pool;
    task->was_sent = &task->redis.was_sent;
    return redis_send(target->box->redis, &task->redis);
}

static int send(lua_State *L, struct task *task, const struct target *target)
{
    int n_refused = 0;
    enum err err;

    if (target->link == NULL)
        n_refused = nested_refuse(L, task, target->box, 2);
    if (n_refused == 0) {
        err = send_to(target, task);
        if (err == ERR_OK)
            return task_park(L, task, cancel_reply);
        n_refused = target->link != NULL
                        ? return_failure(L, target->box, err, NULL)
                        : return_refusal(L, target->box, NULL, err);
    }
    redis_request_deinit(&task->redis);
    return n_refused;
}

/* Raises for a command that cannot be sent, at the script's line. */
static int refuse(lua_State *L, struct task *task, const struct target *target,
                  enum err err, const struct err_text *why)
{
    redis_request_deinit(&task->redis);
    if (err != ERR_BADARG)
        return return_failure(L, target->box, err, why);
    raise_at_script(L, "%s", why->text);
}

/* call(target, is_coping, command, args...): see struct redis_asker. */
static int call(lua_State *L, const struct target *target)
{
    struct task *task = task_check(L);
    struct err_text why = { .text = "" };
    struct redis_request *request = begin(L, task, target);
    enum err err = add_command(L, request, 3, &why);

    if (err != ERR_OK)
        return refuse(L, task, target, err, &why);
    return send(L, task, target);
}

/* Adds the command that the list at index holds. */
static enum err add_listed(lua_State *L, struct redis_request *request,
                           int index, struct err_text *why)
{
    int words = (int)lua_objlen(L, index);

    luaL_checkstack(L, words + 8, "command");
    for (int i = 1; i <= words; i++)
        lua_rawgeti(L, index, i);
    return add_command(L, request, index + 1, why);
}

/* run(target, is_coping, is_multi, { { command, args... }, ... }): a list. */
static int run(lua_State *L, const struct target *target)
{
    struct task *task = task_check(L);
    struct err_text why = { .text = "" };
    struct redis_request *request = begin(L, task, target);
    int count = (int)lua_objlen(L, 4);

    if (lua_toboolean(L, 3))
        redis_request_set_multi(request);
    for (int i = 1; i <= count; i++) {
        enum err err;
        lua_settop(L, 4);
        lua_rawgeti(L, 4, i);
        err = add_listed(L, request, 5, &why);
        if (err != ERR_OK)
            return refuse(L, task, target, err, &why);
    }
    task->shape |= SHAPE_LIST;
    return send(L, task, target);
}

static struct target pool_target(lua_State *L)
{
    struct script_pool *box = check_pool(L, 1, POOL_REDIS);

    nested_check_hook(L, box->vm->current, box);
    return (struct target){ .box = box };
}

static int l_call(lua_State *L)
{
    struct target target = pool_target(L);

    return call(L, &target);
}

static int l_run(lua_State *L)
{
    struct target target = pool_target(L);

    return run(L, &target);
}

/* False when the pool took the connection. */
static bool lease_target(lua_State *L, struct target *target)
{
    struct lease *lease = lease_check(L, POOL_REDIS);

    if (lease->conn == NULL)
        return_taken(L, lease);
    else
        *target = (struct target){ lease->box, redis_link_of(lease->conn) };
    return lease->conn != NULL;
}

static int l_lease_call(lua_State *L)
{
    struct target target;

    return lease_target(L, &target) ? call(L, &target) : 2;
}

static int l_lease_run(lua_State *L)
{
    struct target target;

    return lease_target(L, &target) ? run(L, &target) : 2;
}

static int l_open(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct err_text why = { .text = "" };
    struct pool_arguments arguments;
    struct redis_config config;
    struct script_pool *box;
    enum err err;

    if (!pool_arguments(L, &arguments, &why))
        return return_err(L, ERR_BADARG, &why);
    config = (struct redis_config){
        .name = arguments.name,
        .url = arguments.url,
        .client_name = arguments.application_name,
        .settings = arguments.settings,
        .log = &vm->log,
        .budget = vm->budget,
        .seed = rand_next(&vm->rand),
    };
    box = pool_push(L, POOL_REDIS, arguments.name);
    err = redis_pool_open(&box->redis, vm->loop, &config, &why);
    if (err != ERR_OK)
        return return_err(L, err, &why);
    pool_opened(L, box, redis_pool_pool(box->redis));
    return 1;
}

static const luaL_Reg pool_methods[] = {
    { "raw_call", l_call },
    { "raw_run", l_run },
    { NULL, NULL },
};

static const luaL_Reg lease_methods[] = {
    { "raw_call", l_lease_call },
    { "raw_run", l_lease_run },
    { NULL, NULL },
};

static const luaL_Reg functions[] = {
    { "redis_open", l_open },
    { NULL, NULL },
};

void bind_redis(lua_State *L, struct vm *vm)
{
    vm_extend(L, vm, "redis", pool_methods);
    vm_extend(L, vm, "redis_lease", lease_methods);
    vm_register(L, vm, functions);
}
