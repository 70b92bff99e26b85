/* test_lua_state.c - luaopen_tidepool() in Lua states of a host's own. */
#include "embed.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

/* A state with the standard libraries and, as a global, the module. */
static void open_module(lua_State *L)
{
    luaL_openlibs(L);
    lua_pushcfunction(L, luaopen_tidepool);
    if (lua_pcall(L, 0, 1, 0) != 0)
        fail_msg("%s", lua_tostring(L, -1));
    lua_setglobal(L, "tide");
}

static lua_State *new_state(void)
{
    lua_State *L = luaL_newstate();

    assert_non_null(L);
    open_module(L);
    return L;
}

/* Runs text, which is to return a string. */
static const char *result_of(lua_State *L, const char *text)
{
    if (luaL_dostring(L, text) != 0)
        fail_msg("%s", lua_tostring(L, -1));
    return lua_tostring(L, -1);
}

static void test_tasks_run_and_wait_in_a_state_of_the_hosts(void **state)
{
    lua_State *L = new_state();

    (void)state;
    assert_string_equal(result_of(L, "return tide.run(function(text)\n"
                                     "  local a, b = tide.all(\n"
                                     "    function() tide.sleep(0.002) "
                                     "return text end,\n"
                                     "    function() return 'b' end)\n"
                                     "  return a .. b\n"
                                     "end, 'a')"),
                        "ab");
    assert_int_equal(lua_gettop(L), 1);

    lua_close(L);
}

static void test_the_module_is_the_same_each_time(void **state)
{
    lua_State *L = new_state();

    (void)state;
    lua_getglobal(L, "tide");
    lua_pushcfunction(L, luaopen_tidepool);
    assert_int_equal(lua_pcall(L, 0, 1, 0), 0);
    assert_true(lua_rawequal(L, 1, 2));

    lua_close(L);
}

static void on_line(lua_State *L, lua_Debug *debug)
{
    (void)L;
    (void)debug;
}

struct memory {
    size_t used;
    unsigned calls;
};

static void *allocate(void *ud, void *ptr, size_t old_size, size_t new_size)
{
    struct memory *memory = ud;

    memory->calls++;
    memory->used += new_size - old_size;
    if (new_size > 0)
        return realloc(ptr, new_size);
    free(ptr);
    return NULL;
}

static void test_allocator_and_hook_are_the_hosts_to_the_end(void **state)
{
    struct memory memory = { .used = 0 };
    lua_State *L = lua_newstate(allocate, &memory);
    void *ud;

    (void)state;
    assert_non_null(L);
    lua_sethook(L, on_line, LUA_MASKLINE, 0);
    open_module(L);
    result_of(L, "tide.run(tide.sleep, 0.001)\n"
                 "tide.spawn(tide.sleep, 60)\n"
                 "db = tide.postgres('postgres:///x?host=/nonexistent')\n"
                 "return select(2, tide.run(db.one, db, 'SELECT 1')).code");
    assert_string_equal(lua_tostring(L, -1), "refused");
    assert_ptr_equal(lua_gethook(L), on_line);
    assert_ptr_equal(lua_getallocf(L, &ud), allocate);
    assert_ptr_equal(ud, &memory);

    lua_close(L);
    assert_int_equal(memory.used, 0);
}

static void test_the_environment_names_the_pools(void **state)
{
    lua_State *L = new_state();

    (void)state;
    setenv("REDIS_URL", "redis://127.0.0.1:1", 1);
    assert_string_equal(result_of(L, "tide.configure { log = "
                                     "{ level = 'error' } }\n"
                                     "return tide.redis():name()"),
                        "redis");
    unsetenv("REDIS_URL");

    lua_close(L);
}

static void test_a_state_without_libraries_is_told_what_is_missing(void **state)
{
    lua_State *L = luaL_newstate();

    (void)state;
    lua_pushcfunction(L, luaopen_base);
    lua_call(L, 0, 0);
    lua_pushcfunction(L, luaopen_tidepool);
    assert_int_not_equal(lua_pcall(L, 0, 1, 0), 0);
    assert_non_null(strstr(lua_tostring(L, -1), "luaL_openlibs()"));

    luaL_openlibs(L);
    lua_pushcfunction(L, luaopen_tidepool);
    assert_int_equal(lua_pcall(L, 0, 1, 0), 0);
    lua_close(L);
}

static void test_coroutines_of_the_host_may_load_and_run(void **state)
{
    lua_State *L = luaL_newstate();
    lua_State *co;

    (void)state;
    luaL_openlibs(L);
    co = lua_newthread(L);
    lua_pushcfunction(co, luaopen_tidepool);
    assert_int_equal(lua_resume(co, 0), 0);
    lua_setglobal(co, "tide");
    lua_settop(L, 0); /* it may be collected */
    result_of(L, "collectgarbage() return coroutine.wrap(function()\n"
                 "  coroutine.yield(tide.run(function()\n"
                 "    tide.sleep(0.001) return 'yes' end))\n"
                 "end)()");
    assert_string_equal(lua_tostring(L, -1), "yes");

    lua_close(L);
}

/* ---- threads */

static void *run_in_thread(void *ud)
{
    lua_State *L = luaL_newstate();

    (void)ud;
    open_module(L);
    result_of(L, "local sum = 0\n"
                 "for i = 1, 200 do\n"
                 "  sum = sum + tide.run(function()\n"
                 "    local a, b = tide.all(function() return i end,\n"
                 "      function() tide.sleep(0.0001) return 1 end)\n"
                 "    return a * b\n"
                 "  end)\n"
                 "end\n"
                 "return tostring(sum)");
    assert_string_equal(lua_tostring(L, -1), "20100");
    lua_close(L);
    return NULL;
}

static void test_each_thread_has_a_state_of_its_own(void **state)
{
    pthread_t threads[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_in_thread, NULL),
                         0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static void *call_from_elsewhere(void *L)
{
    pthread_setname_np(pthread_self(), "elsewhere");
    result_of(L, "return select(2, pcall(tide.run, print))");
    return NULL;
}

static void test_another_thread_is_told_whose_it_is(void **state)
{
    lua_State *L = new_state();
    char owner[64];
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, call_from_elsewhere, L), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    snprintf(owner, sizeof(owner), "belongs to the thread %d,", (int)gettid());
    assert_non_null(strstr(lua_tostring(L, -1), owner));
    assert_non_null(strstr(lua_tostring(L, -1), "(elsewhere)"));

    lua_close(L);
}

/* One that ended elsewhere: whoever joined its thread closes its state. */
static void *open_elsewhere(void *out)
{
    lua_State *L = new_state();

    result_of(L, "tide.spawn(tide.sleep, 60)\n"
                 "tide.redis('redis://127.0.0.1:1') return ''");
    *(lua_State **)out = L;
    return NULL;
}

static void test_any_thread_may_close_the_state(void **state)
{
    lua_State *L = NULL;
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, open_elsewhere, (void *)&L),
                     0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    lua_close(L);
}

static void test_a_runtime_may_be_beside_it(void **state)
{
    tide_runtime *runtime = open_runtime();
    lua_State *L = new_state();

    (void)state;
    assert_done(tide_step(runtime, 1000000, NULL));
    result_of(L, "return tide.run(function() tide.sleep(0.001) end) or ''");
    assert_done(tide_close(runtime));
    lua_close(L);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tasks_run_and_wait_in_a_state_of_the_hosts),
        cmocka_unit_test(test_the_module_is_the_same_each_time),
        cmocka_unit_test(test_allocator_and_hook_are_the_hosts_to_the_end),
        cmocka_unit_test(test_the_environment_names_the_pools),
        cmocka_unit_test(
            test_a_state_without_libraries_is_told_what_is_missing),
        cmocka_unit_test(test_coroutines_of_the_host_may_load_and_run),
        cmocka_unit_test(test_each_thread_has_a_state_of_its_own),
        cmocka_unit_test(test_another_thread_is_told_whose_it_is),
        cmocka_unit_test(test_any_thread_may_close_the_state),
        cmocka_unit_test(test_a_runtime_may_be_beside_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
