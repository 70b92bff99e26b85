/*
 * step.c - how long tide_step() takes, and the calls beside it, in a host that
 * ticks a thousand times a second while something is wrong.
 *
 *   step SCENARIO BUDGET_US SECONDS
 *
 * POSTGRES_URL and REDIS_URL name servers, for the scenarios that need them.
 * Prints a line for each kind of call: NAME COUNT, then p50, p99, p99.9 and the
 * largest of its wall time in microseconds, then the same of its processor
 * time, which does not count what others do on the machine; but what a virtual
 * one has to wait for it does, and of that "machine" tells, a loop that is
 * always the same.  Then "over STEPS MACHINE": how many steps took more of the
 * processor than the budget and 1 ms, and how many of those loops more than
 * that 1 ms, which is what the machine adds to anything; and "late STEPS
 * TAKEN": how many steps took more than that by the wall, and from how many of
 * these the processor was taken, for another thread or a server.  "skip WHY"
 * where it cannot be measured.
 */
#include "samples.h"
#include "silent.h"
#include "tidepool.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SAMPLES_MAX = 2000000, PENDING_MAX = 10000, COLLECT_MAX = 256 };
enum { OVERRUN_NS = 1000000 };
enum { CALLS_A_TICK = 4, TICK_MS = 1, SCRAM_ITERATIONS = 4096, SPINS = 100000 };

/* ---- what is measured */

enum kind { STEP, CALL, POST, COLLECT, MACHINE, KINDS };

static const char *const kind_names[] = { "step", "call", "post", "collect",
                                          "machine" };

struct samples {
    uint32_t *wall_ns, *cpu_ns;
    size_t len;
};

struct moment {
    uint64_t wall_ns, cpu_ns;
};

static struct samples samples[KINDS];

static struct moment now(void)
{
    return (struct moment){ clock_ns(CLOCK_MONOTONIC),
                            clock_ns(CLOCK_THREAD_CPUTIME_ID) };
}

static void keep(enum kind kind, struct moment from)
{
    struct moment to = now();
    struct samples *all = &samples[kind];

    if (all->wall_ns == NULL) {
        all->wall_ns = malloc(SAMPLES_MAX * sizeof(*all->wall_ns));
        all->cpu_ns = malloc(SAMPLES_MAX * sizeof(*all->cpu_ns));
    }
    if (all->wall_ns == NULL || all->cpu_ns == NULL || all->len == SAMPLES_MAX)
        return;
    all->wall_ns[all->len] = (uint32_t)(to.wall_ns - from.wall_ns);
    all->cpu_ns[all->len++] = (uint32_t)(to.cpu_ns - from.cpu_ns);
}

static void print_samples(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        struct samples *all = &samples[kind];

        if (all->len == 0)
            continue;
        printf("%s %zu", kind_names[kind], all->len);
        print_times(all->wall_ns, all->len);
        print_times(all->cpu_ns, all->len);
        printf("\n");
    }
}

static size_t count_over(enum kind kind, uint64_t limit_ns)
{
    const struct samples *all = &samples[kind];
    size_t count = 0;

    for (size_t i = 0; i < all->len; i++)
        count += all->cpu_ns[i] > limit_ns;
    return count;
}

/* ---- a host */

struct host {
    tide_runtime *runtime;
    uint64_t budget_ns;
    unsigned out;   /* calls without a reply */
    unsigned posts; /* that were not collected */
    unsigned long n_ok, n_failed;
    unsigned long n_late, n_taken; /* steps */
    struct silent *silent[2];
};

struct scenario {
    const char *name;
    const char *handlers[2];
    unsigned calls; /* that are out at most, of each */
    bool (*set_up)(struct host *host);
    void (*tick)(struct host *host); /* beside the calls; or NULL */
};

static void die(const char *what, const char *why)
{
    fprintf(stderr, "step: %s: %s\n", what, why);
    exit(EXIT_FAILURE);
}

static bool skip(const char *why)
{
    printf("skip %s\n", why);
    return false;
}

static void set(struct host *host, const char *key, const char *value)
{
    if (tide_set(host->runtime, key, value) != TIDE_OK)
        die(key, tide_last_error(host->runtime));
}

static void on_reply(void *ud, const tide_reply *reply)
{
    struct host *host = ud;

    host->out--;
    if (reply->code == TIDE_OK)
        host->n_ok++;
    else
        host->n_failed++;
}

static void call(struct host *host, const char *name)
{
    tide_request request;
    struct moment from;

    tide_request_init(&request);
    request.name = name;
    request.ud = host;
    from = now();
    if (tide_call(host->runtime, &request, on_reply, NULL) == TIDE_OK)
        host->out++;
    keep(CALL, from);
}

static void post(struct host *host, uint64_t key, const char *name)
{
    tide_request request;
    struct moment from;

    tide_request_init(&request);
    request.name = name;
    from = now();
    if (tide_post(host->runtime, key, &request) == TIDE_OK)
        host->posts++;
    keep(POST, from);
}

static void collect(struct host *host)
{
    tide_result results[COLLECT_MAX];
    struct moment from = now();
    size_t count = 0;

    (void)tide_collect(host->runtime, results, COLLECT_MAX, &count);
    keep(COLLECT, from);
    host->posts -= (unsigned)count;
    for (size_t i = 0; i < count; i++)
        host->n_ok += results[i].code == TIDE_OK;
}

/* How often the processor was taken from this thread. */
static long times_taken(void)
{
    struct rusage usage;

    return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nivcsw : 0;
}

static void step(struct host *host)
{
    long taken = times_taken();
    struct moment from = now();

    if (tide_step(host->runtime, host->budget_ns, NULL) != TIDE_OK)
        die("step", tide_last_error(host->runtime));
    keep(STEP, from);
    if (now().wall_ns - from.wall_ns <= host->budget_ns + OVERRUN_NS)
        return;
    host->n_late++;
    host->n_taken += times_taken() != taken;
}

/* Work that is always the same: what it takes at most, the machine takes. */
static void spin(void)
{
    struct moment from = now();

    for (volatile int i = 0; i < SPINS; i++)
        ;
    keep(MACHINE, from);
}

static void wait_for_tick(struct host *host)
{
    struct pollfd item = { .fd = tide_poll_fd(host->runtime),
                           .events = POLLIN };
    int timeout_ms = tide_next_timeout_ms(host->runtime);

    if (timeout_ms != 0)
        poll(&item, 1, TICK_MS);
}

static void run(struct host *host, const struct scenario *scenario,
                uint64_t seconds)
{
    uint64_t end_ns = clock_ns(CLOCK_MONOTONIC) + seconds * 1000000000ULL;

    while (clock_ns(CLOCK_MONOTONIC) < end_ns) {
        for (int i = 0; i < CALLS_A_TICK; i++)
            if (scenario->handlers[i % 2] != NULL &&
                host->out < scenario->calls)
                call(host, scenario->handlers[i % 2]);
        if (scenario->tick != NULL)
            scenario->tick(host);
        wait_for_tick(host);
        step(host);
        spin();
    }
}

/* ---- what is wrong */

static const char ASK[] =
    "local tide = require 'tidepool'\n"
    "tide.handler('ask', function()\n"
    "  return tide.postgres():one('SELECT 1 AS one') end)\n"
    "tide.handler('get', function() return tide.redis():get 'k' end)\n"
    "tide.handler('rows', function()\n"
    "  local rows, err = tide.postgres():query("
    "'SELECT i, md5(i::text) AS text FROM generate_series(1, 100000) AS i')\n"
    "  return rows and tostring(#rows), err end)\n"
    "tide.handler('nothing', function() end)\n"
    "tide.handler('slow', function() tide.sleep(0.3) end)\n";

static bool use_servers(struct host *host)
{
    const char *postgres = getenv("POSTGRES_URL");
    const char *redis = getenv("REDIS_URL");

    if (postgres == NULL || redis == NULL)
        return skip("no servers");
    set(host, "database.postgres_url", postgres);
    set(host, "redis.url", redis);
    return true;
}

/* Attempts end soon, so that there are many. */
static void use(struct host *host, const char *postgres, const char *redis,
                int ports[2])
{
    static const char *const limits[][2] = {
        { "database.pool.connect_timeout", "200ms" },
        { "database.pool.acquire_timeout", "500ms" },
        { "redis.pool.connect_timeout", "200ms" },
        { "redis.pool.acquire_timeout", "500ms" },
        { "database.pool.max_connections", "20" },
    };
    char url[300];

    for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++)
        set(host, limits[i][0], limits[i][1]);
    snprintf(url, sizeof(url), postgres, ports[0]);
    set(host, "database.postgres_url", url);
    snprintf(url, sizeof(url), redis, ports[1]);
    set(host, "redis.url", url);
}

static bool use_silent(struct host *host, enum silence of_postgres,
                       enum silence of_redis, const char *postgres,
                       const char *redis)
{
    host->silent[0] = silent_new(of_postgres, SCRAM_ITERATIONS);
    host->silent[1] = silent_new(of_redis, 0);
    if (host->silent[0] == NULL || host->silent[1] == NULL)
        return skip("no socket to listen on");
    use(host, postgres, redis,
        (int[]){ silent_port(host->silent[0]), silent_port(host->silent[1]) });
    return true;
}

static bool use_black_hole(struct host *host)
{
    return use_silent(host, SILENT_BACKLOG, SILENT_BACKLOG,
                      "postgres://u@127.0.0.1:%d/d", "redis://127.0.0.1:%d");
}

static bool use_stalled_tls(struct host *host)
{
    return use_silent(host, SILENT_TLS, SILENT_ALWAYS,
                      "postgres://u@127.0.0.1:%d/d?sslmode=verify-full"
                      "&sslrootcert=/etc/ssl/certs/ca-certificates.crt",
                      "rediss://127.0.0.1:%d");
}

static bool use_stalled_login(struct host *host)
{
    return use_silent(host, SILENT_LOGIN, SILENT_ALWAYS,
                      "postgres://u:secret@127.0.0.1:%d/d?sslmode=disable",
                      "redis://:secret@127.0.0.1:%d");
}

/* A file system of our own in which the name server is a socket that nobody
 * reads. */
static bool use_silent_names(struct host *host)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons(53) };
    static const char conf[] = "nameserver 127.77.0.53\n"
                               "options timeout:1 attempts:1\n";
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char path[] = "/tmp/tidepool-resolv-XXXXXX";
    int file = mkstemp(path);
    bool is_there;

    inet_pton(AF_INET, "127.77.0.53", &address.sin_addr);
    is_there = write(file, conf, sizeof(conf) - 1) == sizeof(conf) - 1 &&
               bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
               unshare(CLONE_NEWNS) == 0 &&
               mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
               mount(path, "/etc/resolv.conf", NULL, MS_BIND, NULL) == 0;
    close(file);
    unlink(path);
    if (!is_there)
        return skip("no right to a resolv.conf and a port of its own");
    use(host, "postgres://u@db.tidepool.test:%d/d",
        "redis://cache.tidepool.test:%d", (int[]){ 5432, 6379 });
    return true;
}

/* ---- what is much */

static void post_many(struct host *host)
{
    static uint64_t turn;

    while (host->posts < PENDING_MAX)
        post(host, turn++ * 2654435761U % 5000, "nothing");
    collect(host);
}

static void post_some(struct host *host)
{
    static uint64_t turn;

    post(host, turn++ % 7, "nothing");
    collect(host);
}

static void reload(struct host *host)
{
    static char text[200000];
    static unsigned ticks;
    size_t len;

    if (ticks++ % 50 != 0)
        return;
    len = (size_t)snprintf(text, sizeof(text), "%s", ASK);
    for (int i = 0; i < 300; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len,
                                "tide.handler('h%d', function(call) local a, b"
                                " = %d, call.payload return b .. a end)\n",
                                i, i);
    if (tide_begin_reload(host->runtime, text, on_reply, host) == TIDE_OK)
        host->out++;
}

static const struct scenario scenarios[] = {
    { "healthy", { "ask", "get" }, 64, use_servers, post_some },
    { "black_hole", { "ask", "get" }, 64, use_black_hole, post_some },
    { "dns", { "ask", "get" }, 64, use_silent_names, post_some },
    { "tls", { "ask", "get" }, 64, use_stalled_tls, post_some },
    { "login", { "ask", "get" }, 64, use_stalled_login, post_some },
    { "dies", { "ask", "get" }, 64, use_servers, post_some },
    { "reload", { "slow", "nothing" }, 64, use_servers, reload },
    { "rows", { "rows", NULL }, 2, use_servers, post_some },
    { "posts", { NULL, NULL }, 0, use_servers, post_many },
};

static const struct scenario *find(const char *name)
{
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(*scenarios); i++)
        if (strcmp(scenarios[i].name, name) == 0)
            return &scenarios[i];
    die(name, "no such scenario");
    return NULL;
}

int main(int argc, char **argv)
{
    struct host host = { 0 };
    const struct scenario *scenario;
    tide_options options;

    if (argc != 4)
        die("usage", "step SCENARIO BUDGET_US SECONDS");
    scenario = find(argv[1]);
    host.budget_ns = strtoull(argv[2], NULL, 10) * 1000;
    tide_options_init(&options);
    options.max_posts = 2 * PENDING_MAX;
    if (tide_open(&host.runtime, &options) != TIDE_OK)
        die("open", "it failed");
    if (!scenario->set_up(&host))
        return EXIT_SUCCESS;
    if (tide_load(host.runtime, "step.lua", ASK) != TIDE_OK)
        die("load", tide_last_error(host.runtime));
    run(&host, scenario, strtoull(argv[3], NULL, 10));
    print_samples();
    printf("over %zu %zu\n", count_over(STEP, host.budget_ns + OVERRUN_NS),
           count_over(MACHINE, OVERRUN_NS));
    printf("late %lu %lu\n", host.n_late, host.n_taken);
    printf("replies %lu %lu\n", host.n_ok, host.n_failed);
    (void)tide_close(host.runtime);
    return EXIT_SUCCESS;
}
