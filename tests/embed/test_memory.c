/* test_memory.c - a host that has no memory for Lua: calls fail, the process
 * and the runtime go on. */
#include "embed.h"
#include "servers.h"

#include <stdlib.h>

enum { UNBOUND = -1 };

static const char SCRIPT[] =
    "local tide = require 'tidepool'\n"
    "tide.handler('work', function(call)\n"
    "  local child = tide.spawn(function() tide.sleep(0) error { 'no' } end)\n"
    "  local late = tide.spawn(function() tide.sleep(60) end)\n"
    "  tide.sleep(0)\n"
    "  late:cancel()\n"
    "  local ok, err = pcall(function()\n"
    "    return tide.all(function() tide.sleep(0) return ('x'):rep(100) end,\n"
    "      function() tide.sleep(0) return call.payload end)\n"
    "  end)\n"
    "  child:wait()\n"
    "  late:wait()\n"
    "  return ok and 'done' or tostring(err)\n"
    "end)\n"
    "tide.handler('wait', function() tide.sleep(60) end)\n"
    "tide.handler('ask', function(call)\n"
    "  local db, cache = tide.postgres(), tide.redis()\n"
    "  local row, err = db:one('SELECT $1::text AS text', ('x'):rep(1000))\n"
    "  if not row then return tostring(err) end\n"
    "  local _, wrong = db:one 'SELECT 1/0'\n"
    "  local kept\n"
    "  kept, err = cache:set('k', row.text)\n"
    "  if not kept then return tostring(err) end\n"
    "  kept, err = cache:get 'k'\n"
    "  if not kept then return tostring(err) end\n"
    "  local _, bad = cache:call('HGET', 'k', 'f')\n"
    "  local same = #kept == 1000 and wrong.sqlstate == '22012' and bad\n"
    "  return same and 'done' or 'otherwise'\n"
    "end)\n";

/* What is asked for beyond left allocations is refused. */
struct heap {
    long left; /* UNBOUND: all is given */
    long blocks;
    bool has_refused;
};

static void *allocate(void *ud, void *ptr, size_t old_size, size_t new_size)
{
    struct heap *heap = ud;
    void *block = NULL;

    if (new_size > 0 && (ptr == NULL || new_size > old_size) &&
        heap->left == 0) {
        heap->has_refused = true;
        return NULL;
    }
    if (new_size > 0 && heap->left > 0)
        heap->left--;
    heap->blocks += (new_size > 0) - (ptr != NULL);
    if (new_size > 0)
        block = realloc(ptr, new_size);
    else
        free(ptr);
    return block;
}

static tide_runtime *open_on(struct heap *heap)
{
    tide_options options;
    tide_runtime *runtime = NULL;

    *heap = (struct heap){ .left = UNBOUND };
    tide_options_init(&options);
    options.allocate = allocate;
    options.allocate_ud = heap;
    assert_done(tide_open(&runtime, &options));
    assert_done(tide_set(runtime, "database.postgres_url", postgres_url()));
    assert_done(tide_set(runtime, "redis.url", redis_url()));
    assert_done(tide_load(runtime, "host.lua", SCRIPT));
    return runtime;
}

static void close_on(struct heap *heap, tide_runtime *runtime)
{
    assert_done(tide_close(runtime));
    assert_int_equal(heap->blocks, 0);
}

/* With memory for so many allocations; false: it was enough. */
static bool fails_without_memory(struct heap *heap, tide_runtime *runtime,
                                 const char *name, long allocations)
{
    struct answer answer = { 0 };
    tide_request request = request_for(&answer, name, "payload");
    int code;

    heap->has_refused = false;
    heap->left = allocations;
    code = tide_call(runtime, &request, on_reply, NULL);
    if (code == TIDE_OK)
        step_until(runtime, answer.count > 0);
    else
        assert_code(code, TIDE_NOMEM);
    heap->left = UNBOUND;
    if (!heap->has_refused)
        assert_string_equal(answer.payload, "done");
    return heap->has_refused;
}

static void fail_each(const char *name)
{
    struct heap heap;
    tide_runtime *runtime = open_on(&heap);
    struct answer answer = { 0 };
    long allocations = 0;

    while (fails_without_memory(&heap, runtime, name, allocations)) {
        ask(runtime, &answer, name, "payload");
        assert_string_equal(answer.payload, "done");
        allocations++;
    }
    assert_true(allocations > 5);
    close_on(&heap, runtime);
}

static void test_tasks_end_whichever_allocation_fails(void **state)
{
    (void)state;
    fail_each("work");
}

static void test_answers_are_told_whichever_allocation_fails(void **state)
{
    (void)state;
    fail_each("ask");
}

static void test_a_task_is_told_without_memory(void **state)
{
    struct heap heap;
    tide_runtime *runtime = open_on(&heap);
    struct answer answer = { 0 };
    tide_request request = request_for(&answer, "wait", "");
    uint64_t id;

    (void)state;
    assert_done(tide_call(runtime, &request, on_reply, &id));
    assert_done(tide_step(runtime, 1000000000, NULL));
    heap.left = 0;
    assert_done(tide_cancel(runtime, id));
    step_until(runtime, answer.count > 0);
    assert_true(heap.has_refused);
    assert_int_equal(answer.count, 1);
    heap.left = UNBOUND;
    close_on(&heap, runtime);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_task_is_told_without_memory),
        cmocka_unit_test(test_tasks_end_whichever_allocation_fails),
        cmocka_unit_test(test_answers_are_told_whichever_allocation_fails),
    };

    return cmocka_run_group_tests(tests, servers_start, servers_stop);
}
