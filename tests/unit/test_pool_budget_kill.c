/* test_pool_budget_kill.c - processes that share a budget are killed at any
 * point, also under the lock: the count stays right, and all comes back. */
#include "unit.h"

#include "base/rand.h"
#include "pool/budget.h"
#include "pool/budget_census.h"
#include "pool/budget_ghost.h"
#include "pool/budget_permit.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS = 4, MAX = 5, KILLS = 150, HELD = MAX + 1 };

/* What the workers have, told in memory of their own: one that was killed
 * between taking and telling has one more. */
struct told {
    _Atomic uint32_t holders[MAX + 1]; /* of each permit: slot + 1 */
    _Atomic uint32_t collisions;
    _Atomic uint64_t takes;
};

struct field {
    struct budget *budget;
    struct told *told;
    pid_t pids[WORKERS];
};

static uint64_t now(void)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000000 + (uint64_t)at.tv_nsec;
}

static void *shared_memory(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_true(memory != MAP_FAILED);
    return memory;
}

/* ---- a worker */

static void take_one(const struct field *field,
                     const struct budget_share *share, uint32_t *held,
                     unsigned *count)
{
    const struct budget_wish wish = { .wanted = 1 };
    uint32_t free = 0;
    uint64_t at_ns;

    if (budget_take(share, &wish, now(), &held[*count], &at_ns) != BUDGET_TAKEN)
        return;
    if (!atomic_compare_exchange_strong(&field->told->holders[held[*count]],
                                        &free, share->slot + 1))
        field->told->collisions++;
    field->told->takes++;
    budget_set_backend(share, held[*count], getpid());
    (*count)++;
}

static void give_one(const struct field *field,
                     const struct budget_share *share, uint32_t *held,
                     unsigned *count)
{
    field->told->holders[held[--*count]] = 0;
    budget_give(share, held[*count], false, now());
}

static void offer_one(const struct budget_share *share, uint32_t permit)
{
    const struct budget_offer offer = { .permit = permit, .is_spare = true };
    uint64_t at_ns;

    (void)budget_offer(share, &offer, now(), &at_ns);
}

/* Takes, gives and offers until it is killed. */
static void work(const struct field *field)
{
    struct rand rand = { .state = (uint64_t)getpid() };
    struct budget_share share = { .budget = field->budget };
    uint32_t held[HELD];
    unsigned count = 0;
    int slot;

    prctl(PR_SET_PDEATHSIG, SIGKILL); /* when a check fails */
    slot = budget_claim(field->budget, getpid(), now(), NULL);

    share.slot = (unsigned)slot;
    if (slot < 0 || budget_join(&share, "postgres/main", MAX) != ERR_OK)
        _exit(1);
    for (;;) {
        uint64_t what = rand_below(&rand, 8);

        if (what < 4)
            take_one(field, &share, held, &count);
        else if (count > 0 && what < 7)
            give_one(field, &share, held, &count);
        else if (count > 0)
            offer_one(&share, held[0]);
        else
            budget_unwant(&share);
    }
}

/* ---- their master */

static void spawn(struct field *field, unsigned i)
{
    field->pids[i] = fork();
    assert_true(field->pids[i] >= 0);
    if (field->pids[i] == 0)
        work(field);
}

/* What it had told is not its any more; permits that it took and had not told
 * of are among the ghosts. */
static void reap(struct field *field, unsigned i)
{
    int status;

    kill(field->pids[i], SIGKILL);
    assert_int_equal(waitpid(field->pids[i], &status, 0), field->pids[i]);
    assert_true(WIFSIGNALED(status));
}

static struct budget_census census(const struct field *field)
{
    struct budget_census out = { 0 };
    const char *name;

    if (budget_row(field->budget, 0, &name, &out))
        assert_true(out.mine + out.others + out.ghosts <= MAX);
    return out;
}

/* Slots are claimed in order of the workers' first turns, so a dead one's are
 * found by what was told. */
static void forget(struct field *field, int slot)
{
    for (unsigned i = 0; i <= MAX; i++) {
        uint32_t holder = (uint32_t)slot + 1;

        (void)atomic_compare_exchange_strong(&field->told->holders[i], &holder,
                                             0);
    }
}

static int slot_of(const struct field *field, pid_t pid)
{
    for (unsigned slot = 0; slot < BUDGET_SLOTS; slot++)
        if (budget_pid(field->budget, slot) == pid)
            return (int)slot;
    return -1;
}

/* The dead one's connections are gone at the server as well. */
static void bury(struct field *field, pid_t pid)
{
    struct budget_share share = { .budget = field->budget };
    int slot = slot_of(field, pid);
    int32_t backend = (int32_t)pid;
    const char *name;
    struct budget_census out;

    if (slot >= 0)
        forget(field, slot);
    (void)budget_dead(field->budget, pid, now(), NULL);
    assert_int_equal(slot_of(field, pid), -1);
    if (budget_row(field->budget, 0, &name, &out))
        budget_bury(&share, &backend, 1, now());
}

static void nap(uint64_t ns)
{
    const struct timespec span = { .tv_nsec = (long)ns };

    nanosleep(&span, NULL);
}

static bool are_all_back(const struct field *field)
{
    return census(field).others + census(field).ghosts == 0;
}

static void test_killed_workers_leave_the_count_right(void **state)
{
    struct field field = { .budget = shared_memory(budget_size()),
                           .told = shared_memory(sizeof(struct told)) };
    struct rand rand = { .state = 1 };
    uint64_t till_ns;

    (void)state;
    assert_ok(budget_init(field.budget));
    for (unsigned i = 0; i < WORKERS; i++)
        spawn(&field, i);
    for (unsigned n = 0; n < KILLS; n++) {
        unsigned i = (unsigned)rand_below(&rand, WORKERS);

        nap(rand_below(&rand, 3000000));
        (void)census(&field);
        reap(&field, i);
        (void)census(&field);
        bury(&field, field.pids[i]);
        (void)census(&field);
        spawn(&field, i);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        reap(&field, i);
        bury(&field, field.pids[i]);
    }
    till_ns = now() + 10000000000;
    while (!are_all_back(&field) && now() < till_ns) {
        bury(&field, field.pids[0]); /* counts anew: a second is their grace */
        nap(10000000);
    }
    assert_true(are_all_back(&field));
    assert_int_equal(field.told->collisions, 0);
    assert_true(field.told->takes > KILLS);
    munmap(field.budget, budget_size());
    munmap(field.told, sizeof(struct told));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_workers_leave_the_count_right),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
