/* bind_compile.c - scripts compiled on a thread, in a Lua state of its own: a
 * large one takes milliseconds, of which loading its byte code is a part. */
#include "script/vm.h"

#include "base/buf.h"
#include "net/work.h"
#include "script/core.h"
#include "script/err.h"
#include "script/park.h"
#include "script/task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct compile {
    struct vm *vm;
    struct task *task; /* NULL: nobody waits */
    int env_ref;
    char *chunk;     /* "@path" */
    char *text;      /* or NULL: what is in the file */
    size_t text_len; /* its own copy, as chunk */
    struct buf code;
    char *error; /* or NULL; from the thread */
};

/* ---- on the thread */

static int write_code(lua_State *L, const void *bytes, size_t len, void *ud)
{
    struct buf *code = ud;

    (void)L;
    buf_put(code, bytes, len);
    return buf_failed(code);
}

/* Under lua_cpcall. */
static int compile(lua_State *L)
{
    struct compile *compile = lua_touserdata(L, 1);
    int status;

    if (compile->text == NULL)
        status = luaL_loadfilex(L, compile->chunk + 1, "t");
    else
        status = luaL_loadbufferx(L, compile->text, compile->text_len,
                                  compile->chunk, "t");
    if (status != 0)
        return lua_error(L);
    if (lua_dump(L, write_code, &compile->code) != 0)
        lua_error(L);
    return 0;
}

static void on_run(void *ud)
{
    struct compile *own = ud;
    lua_State *L = luaL_newstate();

    if (L != NULL && lua_cpcall(L, compile, own) != 0) {
        const char *why = lua_tostring(L, -1);

        own->error = why != NULL ? strdup(why) : NULL;
        buf_clear(&own->code);
    }
    if (L != NULL)
        lua_close(L);
}

/* ---- on the loop */

static void compile_free(struct compile *compile)
{
    free(compile->chunk);
    free(compile->text);
    free(compile->error);
    buf_free(&compile->code);
    free(compile);
}

static void push_function(lua_State *L, const struct compile *compile)
{
    lua_State *main = compile->vm->L;

    if (compile->error != NULL || compile->code.len == 0) {
        return_text(L, ERR_BADARG, "%s",
                    compile->error != NULL ? compile->error
                                           : err_sentence(ERR_NOMEM));
        return;
    }
    if (luaL_loadbufferx(L, compile->code.data, compile->code.len,
                         compile->chunk, "b") != 0) {
        lua_settop(L, 0);
        return_err(L, ERR_NOMEM, NULL);
        return;
    }
    lua_rawgeti(main, LUA_REGISTRYINDEX, compile->env_ref);
    lua_xmove(main, L, 1);
    lua_setfenv(L, -2);
}

static void on_done(void *ud)
{
    struct compile *compile = ud;
    struct task *task = compile->task;

    if (task != NULL) {
        push_function(task_results(task), compile);
        luaL_unref(compile->vm->L, LUA_REGISTRYINDEX, compile->env_ref);
        task_wake(task);
    }
    compile_free(compile);
}

/* It goes on to its end. */
static void cancel_compile(struct task *task)
{
    struct compile *compile = task->operand;

    luaL_unref(compile->vm->L, LUA_REGISTRYINDEX, compile->env_ref);
    compile->task = NULL;
}

static struct compile *compile_new(const char *path, const char *text,
                                   size_t len)
{
    struct compile *compile = calloc(1, sizeof(*compile));
    size_t size = strlen(path) + 2;

    if (compile == NULL)
        return NULL;
    compile->chunk = malloc(size);
    compile->text = text != NULL ? malloc(len + 1) : NULL;
    compile->text_len = len;
    if (compile->chunk == NULL || (text != NULL && compile->text == NULL)) {
        compile_free(compile);
        return NULL;
    }
    snprintf(compile->chunk, size, "@%s", path);
    if (text != NULL)
        memcpy(compile->text, text, len);
    return compile;
}

/* compile_script(path, env [, text]): as load_script(), on a thread meanwhile.
 * Parks. */
static int l_compile_script(lua_State *L)
{
    struct task *task = task_check(L);
    const char *path = luaL_checkstring(L, 1);
    size_t len = 0;
    const char *text = luaL_optlstring(L, 3, NULL, &len);
    struct compile *compile;

    luaL_checktype(L, 2, LUA_TTABLE);
    compile = compile_new(path, text, len);
    if (compile == NULL ||
        work_start(vm_of(L)->loop, on_run, on_done, compile) != ERR_OK) {
        if (compile != NULL)
            compile_free(compile);
        return return_text(L, ERR_NOMEM, "no memory to compile %s", path);
    }
    lua_pushvalue(L, 2);
    compile->env_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    compile->vm = vm_of(L);
    compile->task = task;
    task->operand = compile;
    return task_park(L, task, cancel_compile);
}

static const luaL_Reg functions[] = {
    { "compile_script", l_compile_script },
    { NULL, NULL },
};

void bind_compile(lua_State *L, struct vm *vm)
{
    vm_register(L, vm, functions);
}
