/*
 * main.c - runs schedules against the real pool/ and says in which of them a
 * rule was broken: see world.h and rules.c.
 *
 *   sim --schedules N   the seeds from 1 to N, on all cores
 *       --first N       from this seed on
 *       --seed N        this one, with its trace
 *       --seconds N     no longer than that; says how many there were
 *       --count         does not stop at a failure, counts them
 *
 * A failure is shown with its seed and the fewest actions that make it.
 */
#include "shrink.h"
#include "world.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { JOBS_MAX = 64, HANG_S = 5 };

struct options {
    uint64_t schedules, first, seed, seconds;
    bool has_seed, counts;
    unsigned jobs;
};

/* What one process has done. */
struct result {
    uint64_t runs, events, failures;
    struct tally sum;
    uint64_t seed; /* of the first failure */
    char why[400];
};

static struct world *at_work; /* for what assert() and signals end */
static volatile sig_atomic_t n_runs;

/* ---- whatever else ends a run */

/* In libc's place: a broken rule of the pool's own is one of ours. */
void __assert_fail(const char *expression, const char *file, unsigned line,
                   const char *function);
void __assert_fail(const char *expression, const char *file, unsigned line,
                   const char *function)
{
    world_fail(at_work, "%s:%u: %s: assertion %s", file, line, function,
               expression);
}

#ifndef __SANITIZE_ADDRESS__
static void on_crash(int number)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, number);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    world_fail(at_work, "it crashes, signal %d", number);
}
#endif

/* No run takes a second: one that does is in a loop without events. */
static void on_alarm(int number)
{
    static sig_atomic_t last, times;

    (void)number;
    times = n_runs == last ? times + 1 : 0;
    last = n_runs;
#ifndef __SANITIZE_ADDRESS__
    if (times >= HANG_S) {
        times = 0;
        on_crash(SIGALRM);
    }
#endif
}

static void watch(void)
{
    const struct itimerval second = { { 1, 0 }, { 1, 0 } };

    (void)signal(SIGALRM, on_alarm);
    (void)setitimer(ITIMER_REAL, &second, NULL);
#ifndef __SANITIZE_ADDRESS__
    (void)signal(SIGSEGV, on_crash);
    (void)signal(SIGFPE, on_crash);
#endif
}

static bool run(const struct schedule *schedule, bool is_traced)
{
    if (at_work == NULL)
        at_work = calloc(1, sizeof(*at_work));
    if (at_work == NULL)
        abort();
    n_runs++;
    return world_run(at_work, schedule, is_traced);
}

/* ---- many */

static double seconds(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void note_failure(struct result *result, uint64_t seed)
{
    if (result->failures++ > 0)
        return;
    result->seed = seed;
    memcpy(result->why, at_work->why, sizeof(result->why));
}

static void run_job(const struct options *options, unsigned job,
                    struct result *result)
{
    double end = seconds() + (double)options->seconds;
    static struct schedule schedule;

    for (uint64_t i = job; i < options->schedules; i += options->jobs) {
        if (options->seconds > 0 && result->runs % 64 == 0 && seconds() > end)
            break;
        schedule_make(&schedule, options->first + i);
        result->runs++;
        if (!run(&schedule, false))
            note_failure(result, options->first + i);
        result->events += at_work->events;
        tally_add(&result->sum, &at_work->sum);
        if (result->failures > 0 && !options->counts)
            break;
    }
}

static void add(struct result *sum, const struct result *part)
{
    sum->runs += part->runs;
    sum->events += part->events;
    tally_add(&sum->sum, &part->sum);
    if (part->failures > 0 && (sum->failures == 0 || part->seed < sum->seed)) {
        sum->seed = part->seed;
        memcpy(sum->why, part->why, sizeof(sum->why));
    }
    sum->failures += part->failures;
}

/* Of the processes that have ended: what the machine did besides is not in it.
 */
static double processor_seconds(void)
{
    struct rusage usage;

    (void)getrusage(RUSAGE_CHILDREN, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static pid_t start_job(const struct options *options, unsigned job,
                       const int fds[2])
{
    struct result result = { 0 };
    pid_t pid;

    (void)fflush(NULL);
    pid = fork();
    if (pid != 0)
        return pid;
    watch();
    /* pools come and go: what they were in is not given back each time */
    (void)mallopt(M_TRIM_THRESHOLD, 1 << 28);
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 28);
    (void)mallopt(M_TOP_PAD, 1 << 22);
    run_job(options, job, &result);
    _exit(write(fds[1], &result, sizeof(result)) == sizeof(result) ? 0 : 1);
}

/* False when a process did not come to its end. */
static bool run_all(const struct options *options, struct result *sum)
{
    struct result part;
    bool is_whole = true;
    int fds[2], status;

    if (pipe(fds) != 0)
        return false;
    for (unsigned job = 0; job < options->jobs; job++)
        if (start_job(options, job, fds) < 0)
            return false;
    for (unsigned job = 0; job < options->jobs; job++) {
        pid_t pid;

        do {
            pid = wait(&status);
        } while (pid < 0 && errno == EINTR);
        is_whole &= WIFEXITED(status) && WEXITSTATUS(status) == 0;
        if (is_whole && read(fds[0], &part, sizeof(part)) == sizeof(part))
            add(sum, &part);
    }
    return is_whole;
}

/* ---- one */

static bool fails(const struct schedule *schedule)
{
    return !run(schedule, false);
}

static void print(const struct schedule *schedule)
{
    char text[256];

    printf("# %u workers, lanes %s%s\n", schedule->workers,
           schedule->has_flow ? "without groups" : "with groups",
           schedule->is_hasty ? ", hosts without time" : "");
    for (unsigned i = 0; i < schedule->count; i++) {
        action_text(&schedule->actions[i], text, sizeof(text));
        printf("#   %s\n", text);
    }
}

/* Makes it small and shows it; gives whether it passes. */
static bool show(uint64_t seed)
{
    static struct schedule schedule;
    unsigned count;

    watch();
    schedule_make(&schedule, seed);
    count = schedule.count;
    if (!fails(&schedule)) {
        print(&schedule);
        printf("# ---- what happens\n");
        return run(&schedule, true);
    }
    schedule_shrink(&schedule, fails);
    printf("# seed %llu: %u of its %u actions are enough\n",
           (unsigned long long)seed, schedule.count, count);
    print(&schedule);
    printf("# ---- what happens\n");
    return run(&schedule, true);
}

/* ---- the command */

static uint64_t number(const char *text)
{
    char *end;
    uint64_t value = strtoull(text, &end, 10);

    if (*text != '\0' && *end == '\0')
        return value;
    (void)fprintf(stderr, "sim: not a number: %s\n", text);
    exit(2);
}

static bool take(struct options *options, const char *name, const char *value)
{
    if (strcmp(name, "--schedules") == 0)
        options->schedules = number(value);
    else if (strcmp(name, "--first") == 0)
        options->first = number(value);
    else if (strcmp(name, "--seconds") == 0)
        options->seconds = number(value);
    else if (strcmp(name, "--seed") == 0)
        options->seed = number(value);
    else
        return false;
    options->has_seed |= strcmp(name, "--seed") == 0;
    return true;
}

static void read_options(struct options *options, int argc, char **argv)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    *options = (struct options){ .schedules = 1000, .first = 1, .jobs = 1 };
    if (cores > 1)
        options->jobs = cores < JOBS_MAX ? (unsigned)cores : JOBS_MAX;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--count") == 0) {
            options->counts = true;
        } else if (i + 1 == argc || !take(options, argv[i], argv[i + 1])) {
            (void)fprintf(stderr, "sim: no option: %s\n", argv[i]);
            exit(2);
        } else {
            i++;
        }
    }
}

static int report(const struct options *options, const struct result *sum,
                  double took, bool is_whole)
{
    bool is_well = is_whole && sum->failures == 0;

    printf("# %llu schedules, %llu events, in %.1f s on %u processes: %.0f a "
           "second, %.0f a second of processor time\n",
           (unsigned long long)sum->runs, (unsigned long long)sum->events, took,
           options->jobs, (double)sum->runs / took,
           (double)sum->runs / processor_seconds());
#define XX(name) \
    printf("# %12llu " #name "\n", (unsigned long long)sum->sum.name);
    TALLY_MAP(XX)
#undef XX
    if (sum->failures > 0)
        printf("# %llu failed, the first is seed %llu: %s\n",
               (unsigned long long)sum->failures, (unsigned long long)sum->seed,
               sum->why);
    if (sum->failures > 0 && !options->counts)
        (void)show(sum->seed);
    printf("%s 1 - the rules hold in all schedules from seed %llu on\n",
           is_well ? "ok" : "not ok", (unsigned long long)options->first);
    if (sum->failures > 0)
        printf("# again: make sim SEED=%llu\n", (unsigned long long)sum->seed);
    return is_well ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct options options;
    struct result sum = { 0 };
    double start = seconds();
    bool is_well;

    read_options(&options, argc, argv);
    printf("1..1\n");
    if (options.has_seed) {
        is_well = show(options.seed);
        printf("%s 1 - the rules hold at seed %llu\n",
               is_well ? "ok" : "not ok", (unsigned long long)options.seed);
        return is_well ? 0 : 1;
    }
    is_well = run_all(&options, &sum);
    return report(&options, &sum, seconds() - start, is_well);
}
