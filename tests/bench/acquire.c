/*
 * acquire.c - what the pool's own code costs: ns of processor time for one
 * acquire and release.
 *
 *   acquire IN_LINE OPERATIONS
 *
 * IN_LINE 0: pool_try_acquire() and pool_release() of an idle connection.
 * IN_LINE n: pool_release() that hands the connection to the head of a line of
 * n, and pool_wait() of the one who gave it back, at the line's end.
 *
 * The driver connects to nothing and time is a counter: no system calls.
 */
#include "pool/driver.h"
#include "pool/lease.h"
#include "pool/line.h"
#include "pool/pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { STEP_NS = 100, WARM_UP_PART = 10 };

struct waiter {
    struct pool_waiter base;
    struct world *world;
};

struct world {
    struct pool *pool;
    struct conn conn;
    struct conn *lent;     /* by the latest hand-over */
    struct waiter *latest; /* who got it */
    uint64_t now_ns;
    bool is_opened;
};

static void die(const char *what)
{
    fprintf(stderr, "acquire: %s\n", what);
    exit(EXIT_FAILURE);
}

/* ---- the driver: one connection, always clean */

static struct conn *open_conn(void *driver)
{
    struct world *world = driver;

    world->is_opened = true;
    return &world->conn;
}

static enum conn_wire wire_of(const struct conn *conn)
{
    (void)conn;
    return CONN_CLEAN;
}

static void never(struct conn *conn)
{
    (void)conn;
    die("the pool asked for what was not expected");
}

static void close_conn(struct conn *conn, enum close_reason reason)
{
    (void)conn;
    (void)reason;
    die("the connection was closed");
}

static const struct conn_ops trivial_ops = {
    .name = "trivial",
    .open = open_conn,
    .wire = wire_of,
    .test = never,
    .reset = never,
    .cancel = never,
    .unshare = never,
    .close = close_conn,
};

/* ---- the host: never ticks, for nothing falls due in so short a time */

static void ignore_wake(void *ud, uint64_t at_ns)
{
    (void)ud;
    (void)at_ns;
}

static void ignore_event(void *ud, const struct pool_event *event)
{
    (void)ud;
    (void)event;
}

static void ignore_closed(void *ud)
{
    (void)ud;
}

static void start(struct world *world)
{
    struct pool_config config = {
        .ops = &trivial_ops,
        .driver = world,
        .host = { world, ignore_wake, ignore_event, ignore_closed },
        .addresses = 1,
    };

    world->now_ns = 1000000000;
    pool_settings_init(&config.settings, 1);
    config.settings.max_connections = 1;
    config.settings.max_waiters = 10000000;
    if (pool_new(&world->pool, &config, world->now_ns) != ERR_OK)
        die("out of memory");
    pool_tick(world->pool, world->now_ns);
    if (!world->is_opened)
        die("the pool opened nothing");
    pool_conn_opened(&world->conn, world->now_ns);
}

/* ---- what is measured */

static void lend_and_return(struct world *world)
{
    struct conn *conn;

    world->now_ns += STEP_NS;
    conn = pool_try_acquire(world->pool, false, NULL, world->now_ns);
    if (conn == NULL)
        die("the connection is not idle");
    pool_release(world->pool, conn, world->now_ns);
}

static void on_lent(struct pool_waiter *base, enum err err, struct conn *conn)
{
    struct waiter *waiter = container_of(base, struct waiter, base);

    if (err != ERR_OK)
        die("a wait failed");
    waiter->world->lent = conn;
    waiter->world->latest = waiter;
}

static void join(struct world *world, struct waiter *waiter)
{
    waiter->base = (struct pool_waiter){ .on_done = on_lent };
    waiter->world = world;
    if (pool_wait(world->pool, &waiter->base, world->now_ns) != ERR_OK)
        die("the line refused a waiter");
}

static void hand_over(struct world *world)
{
    struct waiter *before = world->latest;

    world->now_ns += STEP_NS;
    pool_release(world->pool, world->lent, world->now_ns);
    if (world->latest == before)
        die("nobody got the connection");
    join(world, before);
}

/* Takes the connection, and puts count in line behind it. */
static void form_line(struct world *world, size_t count)
{
    struct waiter *waiters = calloc(count + 1, sizeof(*waiters));

    if (waiters == NULL)
        die("out of memory");
    world->lent = pool_try_acquire(world->pool, false, NULL, world->now_ns);
    world->latest = &waiters[count];
    for (size_t i = 0; i < count; i++)
        join(world, &waiters[i]);
}

/* Of the processor: what else runs on this machine does not count. */
static uint64_t cpu_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static double measure(struct world *world, void (*once)(struct world *),
                      size_t count)
{
    uint64_t before_ns;

    for (size_t i = 0; i < count / WARM_UP_PART; i++)
        once(world);
    before_ns = cpu_ns();
    for (size_t i = 0; i < count; i++)
        once(world);
    return (double)(cpu_ns() - before_ns) / (double)count;
}

int main(int argc, char **argv)
{
    static struct world world;
    size_t in_line = argc == 3 ? strtoul(argv[1], NULL, 10) : 0;
    size_t count = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;

    if (count == 0) {
        fprintf(stderr, "usage: acquire IN_LINE OPERATIONS\n");
        return 2;
    }
    start(&world);
    if (in_line > 0)
        form_line(&world, in_line);
    printf("%.2f\n",
           measure(&world, in_line > 0 ? hand_over : lend_and_return, count));
    return EXIT_SUCCESS;
}
