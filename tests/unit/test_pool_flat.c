/*
 * test_pool_flat.c - the cost of an acquire, a release and a timeout does not
 * grow with the number of waiters or connections.  Proven without a clock: all
 * but those at the ends of the lists lie in pages that may not be touched, so
 * whatever walks over them dies.
 */
#include "fake_driver.h"
#include "pool/line.h"
#include "pool/why.h"

#include <sys/mman.h>

enum {
    WAITERS = 1000,
    CONNS = 500,
    EDGE = 4, /* how many at each end may be touched */
};

/* Things of any kind, FAKE_STRIDE bytes apart, each in pages of its own. */
static char *new_arena(size_t count)
{
    char *arena = mmap(NULL, count * FAKE_STRIDE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_true(arena != MAP_FAILED);
    return arena;
}

static void protect(char *arena, size_t count, int rights)
{
    char *middle = arena + EDGE * FAKE_STRIDE;
    size_t size = (count - 2 * EDGE) * FAKE_STRIDE;

    assert_int_equal(mprotect(middle, size, rights), 0);
}

struct crowd {
    struct fake fake;
    char *waiters;
    char *conns;
};

static struct wait_log *log_at(const struct crowd *crowd, size_t i)
{
    return (struct wait_log *)(void *)(crowd->waiters + i * FAKE_STRIDE);
}

static struct conn *conn_at(const struct crowd *crowd, size_t i)
{
    char *at = crowd->conns + i * FAKE_STRIDE;

    return &((struct fake_link *)(void *)at)->conn;
}

/* CONNS connections, all lent to the first of those who waited. */
static void open_crowd(struct crowd *crowd)
{
    struct fake *fake = &crowd->fake;

    memset(crowd, 0, sizeof(*crowd));
    crowd->waiters = new_arena(WAITERS + EDGE);
    crowd->conns = new_arena(2 * CONNS);
    fake_init(fake);
    fake->arena = crowd->conns;
    fake->settings.max_connections = CONNS;
    fake_start(fake);
    for (size_t i = 0; i < CONNS; i++)
        assert_ok(fake_join(fake, log_at(crowd, i)));
    fake_settle(fake);
    while (fake_first(fake, FAKE_OPEN) != NULL)
        fake_opened(fake);
    assert_int_equal(fake_count(fake, CONN_LEASED), CONNS);
    memset(crowd->waiters, 0, (size_t)CONNS * FAKE_STRIDE);
}

static void close_crowd(struct crowd *crowd)
{
    crowd->fake.is_unchecked = false;
    fake_end(&crowd->fake);
    munmap(crowd->waiters, (size_t)(WAITERS + EDGE) * FAKE_STRIDE);
    munmap(crowd->conns, (size_t)2 * CONNS * FAKE_STRIDE);
}

/* WAITERS in line, CONNS leased; from here on the middle of both is closed. */
static void start_busy(struct crowd *crowd)
{
    open_crowd(crowd);
    for (size_t i = 0; i < WAITERS; i++) {
        if (i == 1)
            log_at(crowd, i)->waiter.deadline_ns = crowd->fake.now_ns + MS;
        assert_ok(fake_join(&crowd->fake, log_at(crowd, i)));
    }
    crowd->fake.is_unchecked = true;
    protect(crowd->waiters, WAITERS, PROT_NONE);
    protect(crowd->conns, CONNS, PROT_NONE);
}

static void end_busy(struct crowd *crowd)
{
    protect(crowd->waiters, WAITERS, PROT_READ | PROT_WRITE);
    protect(crowd->conns, CONNS, PROT_READ | PROT_WRITE);
    close_crowd(crowd);
}

static void test_release_touches_only_the_ends_of_line_and_leases(void **state)
{
    static struct crowd crowd;

    (void)state;
    start_busy(&crowd);
    fake_release(&crowd.fake, conn_at(&crowd, 0), CONN_CLEAN);
    assert_ptr_equal(log_at(&crowd, 0)->conn, conn_at(&crowd, 0));
    end_busy(&crowd);
}

static void test_timeout_touches_only_its_neighbours(void **state)
{
    static struct crowd crowd;
    struct pool_why why;

    (void)state;
    start_busy(&crowd);
    fake_pass(&crowd.fake, MS);
    assert_err(log_at(&crowd, 1)->err, ERR_TIMEOUT);
    pool_explain(crowd.fake.pool, &log_at(&crowd, 1)->waiter, ERR_TIMEOUT,
                 crowd.fake.now_ns, &why); /* with the oldest holder */
    assert_int_equal(why.holder_ns, MS);
    assert_int_equal(why.waiting, WAITERS - 1);
    end_busy(&crowd);
}

static void test_joining_and_leaving_touch_only_the_end_of_the_line(void **s)
{
    static struct crowd crowd;

    (void)s;
    start_busy(&crowd);
    assert_null(fake_try(&crowd.fake));
    assert_ok(fake_join(&crowd.fake, log_at(&crowd, WAITERS)));
    pool_wait_cancel(crowd.fake.pool, &log_at(&crowd, WAITERS)->waiter,
                     crowd.fake.now_ns);
    pool_wait_cancel(crowd.fake.pool, &log_at(&crowd, 2)->waiter,
                     crowd.fake.now_ns);
    end_busy(&crowd);
}

static void test_loss_and_growth_touch_only_the_ends(void **state)
{
    static struct crowd crowd;

    (void)state;
    start_busy(&crowd);
    fake_release(&crowd.fake, conn_at(&crowd, 1), CONN_BROKEN);
    assert_int_equal(fake_count(&crowd.fake, CONN_OPENING), 1);
    fake_opened(&crowd.fake);
    assert_int_equal(log_at(&crowd, 0)->calls, 1);
    end_busy(&crowd);
}

/* CONNS idle; a lease takes and returns the one that came last. */
static void test_lending_touches_only_the_latest_idle_ones(void **state)
{
    static struct crowd crowd;
    struct conn *conn;

    (void)state;
    open_crowd(&crowd);
    for (size_t i = 0; i < CONNS; i++)
        fake_release(&crowd.fake, conn_at(&crowd, i), CONN_CLEAN);
    crowd.fake.is_unchecked = true;
    protect(crowd.conns, CONNS, PROT_NONE);
    for (int i = 0; i < 10; i++) {
        conn = fake_try(&crowd.fake);
        assert_ptr_equal(conn, conn_at(&crowd, CONNS - 1));
        fake_pass(&crowd.fake, MS);
        fake_release(&crowd.fake, conn, CONN_CLEAN);
    }
    protect(crowd.conns, CONNS, PROT_READ | PROT_WRITE);
    close_crowd(&crowd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_release_touches_only_the_ends_of_line_and_leases),
        cmocka_unit_test(test_timeout_touches_only_its_neighbours),
        cmocka_unit_test(
            test_joining_and_leaving_touch_only_the_end_of_the_line),
        cmocka_unit_test(test_loss_and_growth_touch_only_the_ends),
        cmocka_unit_test(test_lending_touches_only_the_latest_idle_ones),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
