/* test_pool_class.c - classes: shares of turns while several wait, and who is
 * shed first. */
#include "fake_driver.h"
#include "pool/class.h"
#include "pool/stats.h"

static struct wait_log *wait_as(struct fake *fake, struct wait_log *log,
                                enum pool_class class)
{
    memset(log, 0, sizeof(*log));
    log->waiter.class = class;
    assert_ok(fake_wait(fake, log));
    return log;
}

static void start(struct fake *fake, struct conn **conn)
{
    fake_init(fake);
    fake->settings.max_connections = 1;
    fake_start_open(fake);
    *conn = fake_try(fake);
    assert_non_null(*conn);
}

/* Gives the connection back count times; counts who got it, by class. */
static void serve(struct fake *fake, struct conn *conn, unsigned count,
                  struct wait_log *logs, unsigned n_logs,
                  unsigned served[POOL_CLASSES])
{
    memset(served, 0, POOL_CLASSES * sizeof(*served));
    for (unsigned i = 0; i < count; i++)
        fake_release(fake, conn, CONN_CLEAN);
    for (unsigned i = 0; i < n_logs; i++)
        served[logs[i].waiter.class] += logs[i].calls;
}

static void test_each_class_gets_its_share(void **state)
{
    struct wait_log logs[156];
    unsigned served[POOL_CLASSES];
    struct fake fake;
    struct conn *conn;

    (void)state;
    start(&fake, &conn);
    for (unsigned i = 0; i < 156; i++)
        wait_as(&fake, &logs[i], (enum pool_class)(i / 52));
    serve(&fake, conn, 52, logs, 156, served);
    assert_in_range(served[CLASS_CRITICAL], 31, 33);
    assert_in_range(served[CLASS_NORMAL], 15, 17);
    assert_in_range(served[CLASS_BATCH], 3, 5);
    for (unsigned i = 0; i < 156; i++) /* within a class the first first */
        if (i % 52 > 0 && logs[i].calls > 0)
            assert_true(logs[i].turn > logs[i - 1].turn);
    fake_end(&fake);
}

static void test_shares_are_settings(void **state)
{
    struct wait_log logs[40];
    unsigned served[POOL_CLASSES];
    struct fake fake;
    struct conn *conn;

    (void)state;
    start(&fake, &conn);
    fake.settings.share_batch = 3;
    fake.settings.share_normal = 1;
    fake_set(&fake);
    for (unsigned i = 0; i < 40; i++)
        wait_as(&fake, &logs[i], i < 20 ? CLASS_NORMAL : CLASS_BATCH);
    serve(&fake, conn, 20, logs, 40, served);
    assert_int_equal(served[CLASS_BATCH], 15);
    assert_int_equal(served[CLASS_NORMAL], 5);
    fake_end(&fake);
}

/* A class that did not wait for long has no turns saved up. */
static void test_absence_saves_no_turns(void **state)
{
    struct wait_log early[60], batch[20];
    unsigned served[POOL_CLASSES];
    struct fake fake;
    struct conn *conn;

    (void)state;
    start(&fake, &conn);
    for (unsigned i = 0; i < 60; i++)
        wait_as(&fake, &early[i], CLASS_NORMAL);
    serve(&fake, conn, 40, early, 60, served);
    assert_int_equal(served[CLASS_NORMAL], 40);
    for (unsigned i = 0; i < 20; i++)
        wait_as(&fake, &batch[i], CLASS_BATCH);
    serve(&fake, conn, 10, batch, 20, served);
    assert_in_range(served[CLASS_BATCH], 2, 3);
    fake_end(&fake);
}

static void test_batch_is_shed_first(void **state)
{
    struct wait_log critical[4], normal[4], batch[4];
    unsigned shed[POOL_CLASSES] = { 0 };
    struct fake fake;
    struct conn *conn;

    (void)state;
    start(&fake, &conn);
    fake.settings.codel_target_ns = 10 * MS;
    fake.settings.codel_interval_ns = 50 * MS;
    fake_set(&fake);
    for (unsigned i = 0; i < 4; i++) {
        wait_as(&fake, &critical[i], CLASS_CRITICAL);
        wait_as(&fake, &normal[i], CLASS_NORMAL);
        wait_as(&fake, &batch[i], CLASS_BATCH);
        fake_pass(&fake, 5 * MS);
    }
    for (unsigned turn = 0; pool_stats(fake.pool)->shed == 0; turn++) {
        assert_true(turn < 1000);
        fake_pass(&fake, MS);
    }
    fake_settle(&fake);
    for (unsigned i = 0; i < 4; i++) {
        shed[CLASS_CRITICAL] += critical[i].calls;
        shed[CLASS_NORMAL] += normal[i].calls;
        shed[CLASS_BATCH] += batch[i].calls;
    }
    /* when all have waited for too long all go; nobody before the batch */
    assert_int_equal(shed[CLASS_BATCH], 4);
    for (unsigned i = 0; i < 4; i++)
        for (unsigned j = 0; j < 4; j++)
            if (critical[i].calls > 0)
                assert_true(critical[i].turn > batch[j].turn);
    fake_end(&fake);
}

static void test_names(void **state)
{
    (void)state;
    assert_int_equal(pool_class_named("batch"), CLASS_BATCH);
    assert_int_equal(pool_class_named("Batch"), POOL_CLASSES);
    for (enum pool_class class = 0; class < POOL_CLASSES; class ++)
        assert_int_equal(pool_class_named(pool_class_name(class)), class);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_class_gets_its_share),
        cmocka_unit_test(test_shares_are_settings),
        cmocka_unit_test(test_absence_saves_no_turns),
        cmocka_unit_test(test_batch_is_shed_first),
        cmocka_unit_test(test_names),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
