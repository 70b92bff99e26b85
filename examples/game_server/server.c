/*
 * server.c - a game server: 60 ticks a second, players on UDP, everything that
 * lasts by the handlers of a Lua script.
 *
 *   game_server [--port N] [--script game.lua] [--final FILE] [--alone]
 *
 * DATABASE_URL and REDIS_URL say where the servers are.  SIGHUP, or a change of
 * the script's file, loads it anew; SIGUSR1 prints the figures since the last
 * time; SIGTERM saves all and ends, with the last state of each player in FILE.
 * With --alone there is no script and no database, to compare.
 */
#include "figures.h"
#include "world.h"

#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    TICKS_A_SECOND = 60,
    RECEIVE_MS = 4,   /* so often the socket is looked at */
    BEHIND_TICKS = 5, /* more than these are given up */
    START_SECONDS = 60,
    END_MS = 30000,
    MAX_POSTS = 8192
};

static const uint64_t MS = 1000000, SECOND = 1000000000;
static const uint64_t TICK = 1000000000 / TICKS_A_SECOND;
static const uint64_t BUDGET = 2000000; /* of the script in a tick */
static const uint64_t MARGIN = 500000;  /* before a tick nothing is begun */

struct server {
    struct world world;
    tide_runtime *runtime;
    int signals;
    const char *script;
    struct timespec script_time; /* of the file's last change */
    uint64_t tick, due_ns;
    bool is_ending, wants_reload, is_reloading;
    unsigned reloads, missed;
    struct figures durations, cpu, lateness;
};

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

static uint64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

/* ---- the script */

static void on_log(void *ud, const char *line, size_t len)
{
    (void)ud;
    fwrite(line, 1, len, stderr);
}

static void on_reply(void *ud, const tide_reply *reply)
{
    int *code = ud;

    *code = reply->code;
    if (reply->code != TIDE_OK)
        fprintf(stderr, "%s\n", reply->error);
}

/* Calls a handler and steps until it has answered: before the first tick and
 * after the last.  Gives the reply's code. */
static int call_and_wait(tide_runtime *runtime, const char *name)
{
    tide_request request;
    int code, reply_code = -1;

    tide_request_init(&request);
    request.name = name;
    request.timeout_ms = END_MS;
    request.ud = &reply_code;
    code = tide_call(runtime, &request, on_reply, NULL);
    while (code == TIDE_OK && reply_code < 0) {
        struct pollfd item = { .fd = tide_poll_fd(runtime), .events = POLLIN };

        poll(&item, 1, tide_next_timeout_ms(runtime));
        code = tide_step(runtime, BUDGET, NULL);
    }
    return code != TIDE_OK ? code : reply_code;
}

static bool has_changed(struct server *server)
{
    struct timespec before = server->script_time;
    struct stat info;

    if (stat(server->script, &info) != 0)
        return false; /* it is being replaced */
    server->script_time = info.st_mtim;
    return before.tv_sec != info.st_mtim.tv_sec ||
           before.tv_nsec != info.st_mtim.tv_nsec;
}

/* When the new one is wrong, the old one goes on. */
static void on_reloaded(void *ud, const tide_reply *reply)
{
    struct server *server = ud;

    server->is_reloading = false;
    if (reply->code == TIDE_OK) {
        server->reloads++;
        puts("reloaded");
    } else {
        fprintf(stderr, "not reloaded: %s\n", reply->error);
    }
}

/* The steps that follow do it, one at a time. */
static void reload_if_wanted(struct server *server)
{
    if (server->runtime == NULL || !server->wants_reload ||
        server->is_reloading)
        return;
    server->wants_reload = false;
    server->is_reloading = tide_begin_reload(server->runtime, NULL, on_reloaded,
                                             server) == TIDE_OK;
    if (!server->is_reloading)
        fprintf(stderr, "not reloaded: %s\n", tide_last_error(server->runtime));
}

/* Saves have connections of their own, so that they do not wait for trades. */
static bool set_up(tide_runtime *runtime, const char *database,
                   const char *redis)
{
    return tide_set(runtime, "database.postgres_url", database) == TIDE_OK &&
           tide_set(runtime, "database.pool.max_connections", "14") ==
               TIDE_OK &&
           tide_set(runtime, "database.saves.postgres_url", database) ==
               TIDE_OK &&
           tide_set(runtime, "database.saves.pool.max_connections", "2") ==
               TIDE_OK &&
           tide_set(runtime, "redis.url", redis) == TIDE_OK;
}

static bool open_script(struct server *server)
{
    const char *database = getenv("DATABASE_URL"), *redis = getenv("REDIS_URL");
    uint64_t give_up_ns = now_ns() + START_SECONDS * SECOND;
    tide_options options;

    if (database == NULL || redis == NULL) {
        fprintf(stderr, "DATABASE_URL and REDIS_URL are needed\n");
        return false;
    }
    tide_options_init(&options);
    options.write_log = on_log;
    options.max_posts = MAX_POSTS;
    if (tide_open(&server->runtime, &options) != TIDE_OK)
        return false;
    if (!set_up(server->runtime, database, redis) ||
        tide_load(server->runtime, server->script, NULL) != TIDE_OK) {
        fprintf(stderr, "%s\n", tide_last_error(server->runtime));
        return false;
    }
    has_changed(server);
    while (call_and_wait(server->runtime, "setup") != TIDE_OK) {
        if (now_ns() > give_up_ns)
            return false;
        usleep(100000);
    }
    return true;
}

/* ---- figures */

static void print_figures(struct server *server)
{
    struct counts *counts = &server->world.counts;

    printf("figures ticks %zu", server->durations.len);
    figures_print(&server->durations, "duration_us");
    figures_print(&server->cpu, "cpu_us");
    figures_print(&server->lateness, "lateness_us");
    printf(" missed %u moves %u done %u refused %u failed %u busy %u"
           " saves_failed %u dirty_max %u loss_max_ms %u reloads %u\n",
           server->missed, counts->moves, counts->done, counts->refused,
           counts->failed, counts->busy, counts->saves_failed,
           counts->dirty_max, counts->loss_max_ms, server->reloads);
    memset(counts, 0, sizeof(*counts));
    server->missed = 0;
    server->reloads = 0;
}

/* ---- ticks */

static void heed_signals(struct server *server)
{
    struct signalfd_siginfo info;

    while (read(server->signals, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGHUP)
            server->wants_reload = true;
        else if (info.ssi_signo == SIGUSR1)
            print_figures(server);
        else
            server->is_ending = true;
    }
}

/* Until the next tick is due: takes what came and steps. */
static void wait_for_tick(struct server *server)
{
    for (;;) {
        struct pollfd item = { .fd = -1, .events = POLLIN };
        uint64_t now = now_ns();
        uint64_t left = server->due_ns > now ? server->due_ns - now : 0;
        int wait_ms, next_ms = -1;

        if (left <= MARGIN)
            break;
        if (server->runtime != NULL) {
            item.fd = tide_poll_fd(server->runtime);
            next_ms = tide_next_timeout_ms(server->runtime);
        }
        wait_ms = (int)((left - MARGIN) / MS);
        wait_ms = wait_ms < RECEIVE_MS ? wait_ms : RECEIVE_MS;
        if (next_ms >= 0 && next_ms < wait_ms)
            wait_ms = next_ms;
        if (wait_ms == 0 && next_ms != 0)
            break;
        poll(&item, 1, wait_ms);
        world_receive(&server->world);
        now = now_ns();
        if (server->runtime != NULL && now + MARGIN < server->due_ns)
            tide_step(server->runtime, server->due_ns - now - MARGIN, NULL);
    }
    while (now_ns() < server->due_ns) {
        struct timespec due = { .tv_sec = (time_t)(server->due_ns / SECOND),
                                .tv_nsec = (long)(server->due_ns % SECOND) };

        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
    }
}

static void look_around(struct server *server)
{
    if (has_changed(server))
        server->wants_reload = true;
    world_ask_stats(&server->world);
}

static void tick(struct server *server)
{
    uint64_t start = now_ns(), cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);

    figures_add(&server->lateness, start - server->due_ns);
    world_receive(&server->world);
    world_tick(&server->world);
    world_save(&server->world, server->tick);
    if (server->tick % TICKS_A_SECOND == 0)
        look_around(server);
    if (server->runtime != NULL) {
        tide_step(server->runtime, BUDGET, NULL);
        world_collect(&server->world);
    }
    server->tick++;
    server->due_ns += TICK;
    figures_add(&server->cpu, clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu);
    figures_add(&server->durations, now_ns() - start);
    while (server->due_ns + BEHIND_TICKS * TICK < now_ns()) {
        server->due_ns += TICK;
        server->missed++;
    }
}

/* ---- the whole */

static bool finish(struct server *server, const char *final)
{
    bool is_done;

    if (server->runtime == NULL)
        return true;
    world_finish(&server->world);
    is_done = tide_drain(server->runtime, END_MS) == TIDE_OK;
    world_collect(&server->world);
    if (server->world.counts.saves_failed > 0)
        is_done = false;
    if (final != NULL && !world_write(&server->world, final))
        is_done = false;
    return tide_close(server->runtime) == TIDE_OK && is_done;
}

static int take_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "port", required_argument, NULL, 'p' },
        { "script", required_argument, NULL, 's' },
        { "final", required_argument, NULL, 'f' },
        { "alone", no_argument, NULL, 'a' },
        { NULL, 0, NULL, 0 }
    };
    struct server server = { .script = "game.lua" };
    const char *final = NULL;
    bool is_alone = false;
    uint16_t port = 0;
    int option;

    setvbuf(stdout, NULL, _IOLBF, 0);
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'p': port = (uint16_t)atoi(optarg); break;
        case 's': server.script = optarg; break;
        case 'f': final = optarg; break;
        case 'a': is_alone = true; break;
        default: return 2;
        }
    }
    server.signals = take_signals(); /* before other threads begin */
    if (!is_alone && !open_script(&server))
        return 1;
    if (!world_open(&server.world, server.runtime, port)) {
        perror("world");
        return 1;
    }
    server.due_ns = now_ns() + TICK;
    while (!server.is_ending) {
        wait_for_tick(&server);
        tick(&server);
        heed_signals(&server);
        reload_if_wanted(&server);
    }
    print_figures(&server);
    option = finish(&server, final) ? 0 : 1;
    world_close(&server.world);
    return option;
}
