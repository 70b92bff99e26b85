/*
 * main.c - an HTTP gateway in C on a libuv loop of its own, which asks a Lua
 * script what to answer.
 *
 *   edge-gateway SCRIPT [HOST:PORT [KEY=VALUE]...]
 *
 * KEY=VALUE are settings of the runtime, as "redis.url=redis://10.0.0.7"; the
 * servers are those of DATABASE_URL and REDIS_URL without them.  HUP loads the
 * script again, TERM and INT end it when what was asked is answered.
 */
#include "front.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DRAIN_MS = 10000, WRITE_MS = 2000, SIGNALS = 3 };

struct host {
    uv_loop_t loop;
    uv_signal_t signals[SIGNALS];
    tide_runtime *runtime;
    struct front front;
    bool wants_reload;
    bool is_ending;
};

/* An edge has its answer soon or does without; argv may say otherwise. */
static const char *const defaults[] = {
    "database.pool.connect_timeout=500ms",
    "database.pool.acquire_timeout=500ms",
    "database.pool.statement_timeout=500ms",
    "database.pool.min_connections=1", /* so that it is known to be away */
    "redis.pool.connect_timeout=200ms",
    "redis.pool.acquire_timeout=200ms",
    "redis.pool.statement_timeout=200ms",
    "redis.pool.min_connections=1",
};

static void write_log(void *ud, const char *line, size_t len)
{
    fwrite(line, 1, len, ud);
}

/* ---- settings: true, or it has said what is wrong */

static bool set(tide_runtime *runtime, const char *key, const char *value)
{
    if (value == NULL || tide_set(runtime, key, value) == TIDE_OK)
        return true;
    fprintf(stderr, "edge-gateway: %s\n", tide_last_error(runtime));
    return false;
}

static bool set_word(tide_runtime *runtime, const char *word)
{
    const char *equals = strchr(word, '=');
    char key[100];

    if (equals == NULL || (size_t)(equals - word) >= sizeof(key)) {
        fprintf(stderr, "edge-gateway: %s: KEY=VALUE expected\n", word);
        return false;
    }
    snprintf(key, sizeof(key), "%.*s", (int)(equals - word), word);
    return set(runtime, key, equals + 1);
}

static bool set_all(tide_runtime *runtime, int argc, char **argv)
{
    for (size_t i = 0; i < sizeof(defaults) / sizeof(*defaults); i++) {
        if (!set_word(runtime, defaults[i]))
            return false;
    }
    if (!set(runtime, "database.postgres_url", getenv("DATABASE_URL")) ||
        !set(runtime, "redis.url", getenv("REDIS_URL")))
        return false;
    for (int i = 0; i < argc; i++) {
        if (!set_word(runtime, argv[i]))
            return false;
    }
    return true;
}

/* ---- signals: tide_reload() and tide_drain() turn the loop, so they are for
 * when it is not turned */

static void on_signal(uv_signal_t *handle, int number)
{
    struct host *host = handle->data;

    if (number == SIGHUP)
        host->wants_reload = true;
    else
        host->is_ending = true;
    uv_stop(&host->loop);
}

static void heed_signals(struct host *host)
{
    static const int numbers[SIGNALS] = { SIGHUP, SIGTERM, SIGINT };

    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < SIGNALS; i++) {
        uv_signal_init(&host->loop, &host->signals[i]);
        host->signals[i].data = host;
        uv_signal_start(&host->signals[i], on_signal, numbers[i]);
    }
}

static void reload(struct host *host)
{
    host->wants_reload = false;
    if (tide_reload(host->runtime, NULL) != TIDE_OK)
        fprintf(stderr, "edge-gateway: the old script goes on: %s\n",
                tide_last_error(host->runtime));
}

static void serve(struct host *host)
{
    while (!host->is_ending) {
        if (host->wants_reload) /* a signal may come while it reloads, too */
            reload(host);
        else
            uv_run(&host->loop, UV_RUN_DEFAULT);
    }
    front_stop(&host->front);
    if (tide_drain(host->runtime, DRAIN_MS) != TIDE_OK)
        fprintf(stderr, "edge-gateway: some requests had no end\n");
    front_end(&host->front, WRITE_MS);
}

/* ---- the whole */

/* "127.0.0.1:8080", "::1:8080". */
static bool listen_at(struct host *host, const char *where)
{
    const char *colon = strrchr(where, ':');
    char name[64];
    int error;

    snprintf(name, sizeof(name), "%.*s",
             colon != NULL ? (int)(colon - where) : 0, where);
    error = front_listen(&host->front, &host->loop, host->runtime, name,
                         colon != NULL ? atoi(colon + 1) : 0);
    if (error != 0) {
        fprintf(stderr, "edge-gateway: %s: %s\n", where, uv_strerror(error));
        return false;
    }
    printf("listening on http://%s:%d\n", name, front_port(&host->front));
    fflush(stdout);
    return true;
}

static bool open_runtime(struct host *host, int argc, char **argv)
{
    tide_options options;

    tide_options_init(&options);
    options.uv_loop = &host->loop;
    options.write_log = write_log;
    options.ud = stderr;
    if (tide_open(&host->runtime, &options) != TIDE_OK) {
        fprintf(stderr, "edge-gateway: no runtime\n");
        return false;
    }
    if (!set_all(host->runtime, argc > 3 ? argc - 3 : 0, argv + 3))
        return false;
    if (tide_load(host->runtime, argv[1], NULL) == TIDE_OK)
        return true;
    fprintf(stderr, "edge-gateway: %s\n", tide_last_error(host->runtime));
    return false;
}

int main(int argc, char **argv)
{
    static struct host host;
    bool is_fine = false;

    if (argc < 2) {
        fprintf(stderr, "usage: edge-gateway SCRIPT [HOST:PORT "
                        "[KEY=VALUE]...]\n");
        return 2;
    }
    uv_loop_init(&host.loop);
    heed_signals(&host);
    if (open_runtime(&host, argc, argv) &&
        listen_at(&host, argc > 2 ? argv[2] : "127.0.0.1:8080")) {
        serve(&host);
        is_fine = true;
    }
    tide_close(host.runtime); /* accepts NULL */
    for (int i = 0; i < SIGNALS; i++)
        uv_close((uv_handle_t *)&host.signals[i], NULL);
    uv_run(&host.loop, UV_RUN_DEFAULT); /* closes what is left */
    return uv_loop_close(&host.loop) == 0 && is_fine ? 0 : 1;
}
