/* test_pg_cancel.c - a cancel that there is no memory for. */
#include "makers.h"
#include "oom.h"
#include "pg_peer.h"
#include "turns.h"

#include "pg/cancel.h"
#include "pg/cancel_call.h"
#include "pg/link.h"

static struct world world;
static struct pg_link *link;
static struct cancel_call *call;

static int set_up(void **state)
{
    (void)state;
    pg_world_init(&world);
    pg_world_open(&world);
    link = pg_world_lease(&world);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pg_world_release(&world, link);
    pg_world_free(&world);
    return 0;
}

static enum err make_call(void)
{
    call = cancel_call_new(link->pq);
    return call != NULL ? ERR_OK : ERR_NOMEM;
}

static void drop_call(void)
{
    cancel_call_free(call);
}

static void test_call_is_made_or_not(void **state)
{
    static const struct maker maker = { "cancel_call_new", make_call,
                                        drop_call };

    (void)state;
    makers_check(world.loop, &maker, 1);
}

/* Whichever allocation fails, nothing waits for a cancel that does not come. */
static void test_link_has_a_cancel_or_not(void **state)
{
    unsigned failed = 0;

    (void)state;
    for (;; failed++) {
        oom_fail_at(failed + 1);
        link_cancel_start(link);
        oom_off();
        if (!oom_happened())
            break;
        wait_for(world.loop, link->cancel == NULL);
        assert_int_equal(world.peer.n_cancels, 0);
    }
    assert_true(failed > 0);
    assert_non_null(link->cancel);
    wait_for(world.loop, link->cancel == NULL);
    assert_int_equal(world.peer.n_cancels, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_call_is_made_or_not),
        TEST(test_link_has_a_cancel_or_not),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
