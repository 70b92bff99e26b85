/*
 * embed.c - a runtime in a host: how long it takes to start, what memory it
 * has, how fast posts are answered.
 *
 *   embed start ROUNDS
 *   embed memory KIND URL CONNECTIONS     KIND: postgres or redis
 *   embed post THREADS OUTSTANDING SECONDS
 *
 * start prints "first" with wall and processor time from tide_open() to the
 * first reply, in microseconds, then "wall" and "cpu" of the others: p50, p99,
 * p99.9 and the largest; memory prints the growth
 * of resident memory in KB, "opened", "loaded" and "connected"; post prints
 * "rate" a second and "latency", four times as above.
 */
#include "samples.h"
#include "tidepool.h"

#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

enum { SAMPLES_MAX = 4000000, THREADS_MAX = 16, COLLECT_MAX = 256, KEYS = 64 };
enum { IDLE_SECONDS = 2, PATIENCE_SECONDS = 60 };

static void die(const char *what)
{
    fprintf(stderr, "embed: %s\n", what);
    exit(EXIT_FAILURE);
}

static void check(tide_runtime *runtime, int code)
{
    if (code != TIDE_OK)
        die(runtime != NULL ? tide_last_error(runtime) : tide_error_text(code));
}

static void turn(tide_runtime *runtime, int most_ms)
{
    struct pollfd item = { .fd = tide_poll_fd(runtime), .events = POLLIN };
    int timeout_ms = tide_next_timeout_ms(runtime);

    if (timeout_ms < 0 || timeout_ms > most_ms)
        timeout_ms = most_ms;
    poll(&item, 1, timeout_ms);
    check(runtime, tide_step(runtime, 1000000, NULL));
}

static void on_reply(void *ud, const tide_reply *reply)
{
    if (reply->code != TIDE_OK)
        die(reply->error);
    *(bool *)ud = true;
}

static void call(tide_runtime *runtime, const char *name)
{
    bool is_done = false;
    tide_request request;

    tide_request_init(&request);
    request.name = name;
    request.ud = &is_done;
    check(runtime, tide_call(runtime, &request, on_reply, NULL));
    while (!is_done)
        turn(runtime, 1000);
}

static tide_runtime *open_runtime(unsigned max_posts)
{
    tide_runtime *runtime = NULL;
    tide_options options;

    tide_options_init(&options);
    options.max_posts = max_posts;
    check(NULL, tide_open(&runtime, &options));
    return runtime;
}

/* ---- start */

static const char NOTHING[] =
    "require('tidepool').handler('nothing', function() end)";

/* Wall time, and processor time of the whole process. */
static void start_once(uint32_t *wall_ns, uint32_t *cpu_ns)
{
    uint64_t from_ns = clock_ns(CLOCK_MONOTONIC);
    uint64_t cpu_from_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    tide_runtime *runtime = open_runtime(0);

    check(runtime, tide_load(runtime, "embed.lua", NOTHING));
    call(runtime, "nothing");
    *wall_ns = (uint32_t)(clock_ns(CLOCK_MONOTONIC) - from_ns);
    *cpu_ns = (uint32_t)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_from_ns);
    check(NULL, tide_close(runtime));
}

static void measure_start(size_t rounds)
{
    uint32_t *wall_ns = calloc(rounds + 1, sizeof(*wall_ns));
    uint32_t *cpu_ns = calloc(rounds + 1, sizeof(*cpu_ns));

    if (wall_ns == NULL || cpu_ns == NULL)
        die("no memory");
    start_once(wall_ns, cpu_ns);
    printf("first %.1f %.1f\nwall", *wall_ns / 1e3, *cpu_ns / 1e3);
    for (size_t i = 0; i < rounds; i++)
        start_once(&wall_ns[i], &cpu_ns[i]);
    print_times(wall_ns, rounds);
    printf("\ncpu");
    print_times(cpu_ns, rounds);
    printf("\n");
    free(wall_ns);
    free(cpu_ns);
}

/* ---- memory */

/* KB of our own: without what is shared with files. */
static long resident(void)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[200];
    long kb = -1;

    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, "RssAnon: %ld", &kb) == 1)
            break;
    if (file != NULL)
        fclose(file);
    return kb;
}

static void turn_for(tide_runtime *runtime, uint64_t seconds)
{
    uint64_t end_ns = clock_ns(CLOCK_MONOTONIC) + seconds * 1000000000ULL;

    while (clock_ns(CLOCK_MONOTONIC) < end_ns)
        turn(runtime, 100);
}

static const char MEMORY[] =
    "local tide = require 'tidepool'\n"
    "local pools = { postgres = tide.postgres, redis = tide.redis }\n"
    "local KIND, COUNT = '%s', %s\n"
    "tide.handler('wait', function()\n"
    "  local pool = pools[KIND]()\n"
    "  repeat tide.sleep(0.01) local stats = pool:stats()\n"
    "  until stats.open - (stats.opening or 0) >= COUNT end)\n";

static void measure_memory(const char *kind, const char *url, const char *count)
{
    bool is_postgres = strcmp(kind, "postgres") == 0;
    const char *section = is_postgres ? "database" : "redis";
    long before = resident();
    tide_runtime *runtime = open_runtime(0);
    char key[100], script[1000];

    printf("opened %ld\n", resident() - before);
    snprintf(key, sizeof(key), "%s.%s", section,
             is_postgres ? "postgres_url" : "url");
    check(runtime, tide_set(runtime, key, url));
    snprintf(key, sizeof(key), "%s.pool.min_connections", section);
    check(runtime, tide_set(runtime, key, count));
    snprintf(key, sizeof(key), "%s.pool.max_connections", section);
    check(runtime, tide_set(runtime, key, count));
    snprintf(script, sizeof(script), MEMORY, kind, count);
    check(runtime, tide_load(runtime, "embed.lua", script));
    printf("loaded %ld\n", resident() - before);
    call(runtime, "wait");
    turn_for(runtime, IDLE_SECONDS);
    printf("connected %ld\n", resident() - before);
    check(NULL, tide_close(runtime));
}

/* ---- posts */

struct poster {
    tide_runtime *runtime;
    pthread_t thread;
    sem_t room; /* for one more that is outstanding */
    atomic_bool is_over;
    uint64_t number;
};

struct sent {
    struct poster *poster;
    uint64_t at_ns;
};

static void *post_on(void *ud)
{
    struct poster *poster = ud;

    for (uint64_t i = 0; !atomic_load(&poster->is_over); i++) {
        struct sent *sent = malloc(sizeof(*sent));
        tide_request request;

        if (sent == NULL)
            die("no memory");
        sem_wait(&poster->room);
        tide_request_init(&request);
        request.name = "nothing";
        request.ud = sent;
        request.free_ud = free;
        *sent = (struct sent){ poster, clock_ns(CLOCK_MONOTONIC) };
        check(NULL, tide_post(poster->runtime, (i + poster->number) % KEYS,
                              &request));
    }
    return NULL;
}

/* Takes what has ended; gives how many. */
static size_t collect(tide_runtime *runtime, uint32_t *times_ns, size_t len)
{
    tide_result results[COLLECT_MAX];
    size_t count = 0;
    uint64_t now_ns;

    check(runtime, tide_collect(runtime, results, COLLECT_MAX, &count));
    now_ns = clock_ns(CLOCK_MONOTONIC);
    for (size_t i = 0; i < count; i++) {
        struct sent *sent = results[i].ud;

        if (results[i].code != TIDE_OK)
            die(results[i].error);
        if (len + i < SAMPLES_MAX)
            times_ns[len + i] = (uint32_t)(now_ns - sent->at_ns);
        sem_post(&sent->poster->room);
    }
    return count;
}

static void measure_posts(size_t threads, unsigned outstanding,
                          uint64_t seconds)
{
    uint32_t *times_ns = malloc(SAMPLES_MAX * sizeof(*times_ns));
    tide_runtime *runtime =
        open_runtime(outstanding + COLLECT_MAX + THREADS_MAX);
    uint64_t from_ns = clock_ns(CLOCK_MONOTONIC);
    uint64_t end_ns = from_ns + seconds * 1000000000ULL;
    struct poster posters[THREADS_MAX] = { { 0 } };
    size_t len = 0;

    if (times_ns == NULL || threads > THREADS_MAX)
        die("too many");
    check(runtime, tide_load(runtime, "embed.lua", NOTHING));
    for (size_t i = 0; i < threads; i++) {
        posters[i].runtime = runtime;
        posters[i].number = i;
        sem_init(&posters[i].room, 0, outstanding / (unsigned)threads);
        pthread_create(&posters[i].thread, NULL, post_on, &posters[i]);
    }
    while (clock_ns(CLOCK_MONOTONIC) < end_ns) {
        turn(runtime, 100);
        len += collect(runtime, times_ns, len);
    }
    printf("rate %.0f\nlatency", (double)len / (double)seconds);
    print_times(times_ns, len < SAMPLES_MAX ? len : SAMPLES_MAX);
    printf("\n");
    for (size_t i = 0; i < threads; i++) {
        atomic_store(&posters[i].is_over, true);
        sem_post(&posters[i].room);
        pthread_join(posters[i].thread, NULL);
    }
    check(NULL, tide_close(runtime));
    free(times_ns);
}

int main(int argc, char **argv)
{
    alarm(PATIENCE_SECONDS);
    if (argc == 3 && strcmp(argv[1], "start") == 0)
        measure_start(strtoul(argv[2], NULL, 10));
    else if (argc == 5 && strcmp(argv[1], "memory") == 0)
        measure_memory(argv[2], argv[3], argv[4]);
    else if (argc == 5 && strcmp(argv[1], "post") == 0)
        measure_posts(strtoul(argv[2], NULL, 10),
                      (unsigned)strtoul(argv[3], NULL, 10),
                      strtoull(argv[4], NULL, 10));
    else
        die("start, memory or post expected");
    return EXIT_SUCCESS;
}
