/* dump.c - see dump.h. */
#include "trace/dump.h"

#include "pool/conn.h"
#include "pool/pool.h"
#include "pool/status.h"
#include "trace/trace.h"

#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ARMED_MAX = TRACE_POOLS_MAX, PATH_MAX_BYTES = 1024, CHUNK = 16384 };

/* ---- the clock: a note's time is of the monotonic one */

static uint64_t microseconds(clockid_t clock)
{
    struct timespec time;

    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

/* Since when a recorder has something, of both clocks. */
static uint64_t zero_of(const struct flight *flight, uint64_t *began_us)
{
    struct flight_walk walk = { 0 };
    const struct flight_note *note = flight_next(flight, &walk);
    uint64_t now_us = microseconds(CLOCK_MONOTONIC);
    uint64_t zero_ns = now_us * 1000;

    if (note != NULL && note->at_ns < zero_ns)
        zero_ns = note->at_ns / 1000 * 1000;
    *began_us = microseconds(CLOCK_REALTIME) - (now_us - zero_ns / 1000);
    return zero_ns;
}

/* ---- when asked for */

struct holders {
    struct buf *out;
    uint64_t now_ns;
};

static void put_held(void *ud, const struct conn *conn)
{
    const struct holders *holders = ud;

    buf_printf(holders->out, "# held %llu %s %llu\n",
               (unsigned long long)conn->id,
               conn->site != NULL ? conn->site : "?",
               (unsigned long long)(holders->now_ns - conn->state_ns) / 1000);
}

void dump_text(struct buf *out, const struct pool *pool, const char *name,
               const char *kind, uint64_t now_ns)
{
    const struct flight *flight = pool_flight(pool);
    struct holders holders = { .out = out, .now_ns = now_ns };
    struct flight_walk walk = { 0 };
    const struct flight_note *note;
    char line[TRACE_HEAD_MAX];
    uint64_t began_us;
    uint64_t zero_ns = zero_of(flight, &began_us);

    buf_put(out, line, trace_begin(line, began_us));
    buf_put(out, line, trace_pool(line, 0, name, kind, pool_settings(pool)));
    pool_each_lease(pool, put_held, &holders);
    buf_put(out, line, trace_columns(line));
    while ((note = flight_next(flight, &walk)) != NULL)
        buf_put(out, line, trace_note(line, 0, note, zero_ns));
}

/* In the system's temporary directory somebody else may have put a link. */
static int open_path(const char *path)
{
    return open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
                0600);
}

static int write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t count = write(fd, data, len);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return errno;
        data += count;
        len -= (size_t)count;
    }
    return 0;
}

int dump_file(const char *path, const struct pool *pool, const char *name,
              const char *kind, uint64_t now_ns)
{
    struct buf text = { 0 };
    int fd = open_path(path);
    int error;

    if (fd < 0)
        return errno;
    dump_text(&text, pool, name, kind, now_ns);
    error = buf_failed(&text) ? ENOMEM : write_all(fd, text.data, text.len);
    if (close(fd) != 0 && error == 0)
        error = errno;
    buf_free(&text);
    return error;
}

/* ---- when the process crashes: only what signal handlers may call */

/* The head is made ahead: settings that change later are not in it. */
struct armed {
    const struct pool *pool; /* NULL: none */
    const struct flight *flight;
    char path[PATH_MAX_BYTES];
    char head[TRACE_HEAD_MAX];
    size_t head_len;
};

static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };

enum { SIGNALS = sizeof(signals) / sizeof(signals[0]), FRAMES = 64 };

/* Of the process, as signals are. */
static struct armed *armed; /* ARMED_MAX; NULL: nothing is */
static struct sigaction before[SIGNALS];
static char chunk[CHUNK];

static void write_flight(const struct armed *one, int fd)
{
    struct flight_walk walk = { 0 };
    const struct flight_note *note;
    uint64_t began_us;
    uint64_t zero_ns = zero_of(one->flight, &began_us);
    size_t len = trace_begin(chunk, began_us);

    write_all(fd, chunk, len);
    write_all(fd, one->head, one->head_len);
    len = trace_columns(chunk);
    while ((note = flight_next(one->flight, &walk)) != NULL) {
        if (len > CHUNK - TRACE_LINE_MAX) {
            write_all(fd, chunk, len);
            len = 0;
        }
        len += trace_note(chunk + len, 0, note, zero_ns);
    }
    write_all(fd, chunk, len);
}

static void say(const char *text)
{
    write_all(STDERR_FILENO, text, strlen(text));
}

/* addr2line -e tidepool makes lines of it.  After the dumps: with a stack that
 * is torn it may crash itself, which then ends the process. */
static void say_stack(void)
{
    void *frames[FRAMES];

    say("tidepool: its stack of C:\n");
    backtrace_symbols_fd(frames, backtrace(frames, FRAMES), STDERR_FILENO);
}

/* The signal has its default again: raising it ends the process with it. */
static void on_crash(int number)
{
    say("tidepool: crashed; what the pools did last is in:\n");
    for (int i = 0; i < ARMED_MAX; i++) {
        int fd;

        if (armed[i].pool == NULL)
            continue;
        fd = open_path(armed[i].path);
        if (fd < 0)
            continue;
        write_flight(&armed[i], fd);
        close(fd);
        say("  ");
        say(armed[i].path);
        say("\n");
    }
    say_stack();
    raise(number);
}

static bool install(void)
{
    struct sigaction action = { .sa_handler = on_crash,
                                .sa_flags = SA_RESETHAND | SA_ONSTACK };
    stack_t stack = { .ss_size = 65536 };
    void *frame[1];

    (void)backtrace(frame, 1); /* the first call loads a library */
    armed = calloc(ARMED_MAX, sizeof(*armed));
    stack.ss_sp = malloc(stack.ss_size); /* the other one may be full */
    if (armed == NULL || stack.ss_sp == NULL ||
        sigaltstack(&stack, NULL) != 0) {
        free(armed);
        free(stack.ss_sp);
        armed = NULL;
        return false;
    }
    for (int i = 0; i < SIGNALS; i++)
        sigaction(signals[i], &action, &before[i]);
    return true;
}

/* Nothing is armed any more. */
static void uninstall(void)
{
    stack_t none = { .ss_flags = SS_DISABLE }, own = { 0 };

    for (int i = 0; i < SIGNALS; i++)
        sigaction(signals[i], &before[i], NULL);
    if (sigaltstack(&none, &own) == 0)
        free(own.ss_sp);
    free(armed);
    armed = NULL;
}

bool dump_on_crash(const struct pool *pool, const char *path, const char *name,
                   const char *kind)
{
    if (strlen(path) >= PATH_MAX_BYTES || (armed == NULL && !install()))
        return false;
    for (int i = 0; i < ARMED_MAX; i++) {
        struct armed *one = &armed[i];

        if (one->pool != NULL)
            continue;
        memcpy(one->path, path, strlen(path) + 1);
        one->head_len =
            trace_pool(one->head, 0, name, kind, pool_settings(pool));
        one->flight = pool_flight(pool);
        one->pool = pool;
        return true;
    }
    return false;
}

void dump_disarm(const struct pool *pool)
{
    unsigned left = 0;

    for (int i = 0; armed != NULL && i < ARMED_MAX; i++) {
        if (armed[i].pool == pool)
            armed[i].pool = NULL;
        left += armed[i].pool != NULL;
    }
    if (armed != NULL && left == 0)
        uninstall();
}
