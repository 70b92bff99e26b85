/* test_redis_oom.c - every request ends once, whichever allocation fails on its
 * way: connecting, sending, reading. */
#include "oom.h"
#include "redis/redis.h"
#include "redis_peer.h"
#include "turns.h"
#include "unit.h"

enum { LIMIT_MS = 200 };

static struct world world;

/* As call_start(), but what finds no memory ends at once. */
static void try_start(struct call *call, const char *line)
{
    const char *const args[] = { line, "key", "1" };
    struct err_text why = { 0 };
    enum err err;

    call_init(call);
    call->request.timeout_ns = LIMIT_MS * NS_PER_MS;
    err = redis_request_add(&call->request, 3, args, NULL, &why);
    if (err == ERR_OK)
        err = redis_send(world.redis, &call->request);
    if (err == ERR_OK)
        return;
    assert_int_equal(call->calls, 0);
    call->calls++;
    call->err = err;
    redis_request_deinit(&call->request);
}

/* Returns whether the n-th allocation was reached. */
static bool run_without(unsigned n)
{
    struct call calls[3];
    bool is_reached;

    world_init(&world);
    world.peer.does_echo = true;
    world_open(&world);
    oom_fail_at(n);
    try_start(&calls[0], "SET");
    try_start(&calls[1], "BLPOP");
    try_start(&calls[2], "GETRANGE");
    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        call_wait(&world, &calls[i]);
    is_reached = oom_happened();
    oom_off();
    for (size_t i = 0; i < ARRAY_LEN(calls) && !is_reached; i++)
        assert_ok(calls[i].err);
    world_free(&world);
    return is_reached;
}

static void test_requests_end_once_whichever_allocation_fails(void **state)
{
    (void)state;
    for (unsigned n = 1; run_without(n); n++)
        assert_in_range(n, 1, 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_end_once_whichever_allocation_fails),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
