/* stuck.c - see stuck.h.  From the handler on nothing allocates or locks. */
#include "script/stuck.h"

#include "base/number.h"
#include "script/task.h"
#include "script/watchdog.h"

#include <errno.h>
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum { C_FRAMES = 32, LUA_FRAMES = 32, LINE_MAX_BYTES = 512 };

/* A signal handler has no argument of ours. */
static struct vm *_Atomic the_vm;
static pthread_t the_thread;

/* ---- lines */

struct line {
    char text[LINE_MAX_BYTES];
    size_t len;
};

static void put(struct line *line, const char *text)
{
    size_t len = strnlen(text, sizeof(line->text) - line->len - 1);

    memcpy(line->text + line->len, text, len);
    line->len += len;
}

static void put_number(struct line *line, double number)
{
    char digits[NUMBER_TEXT_MAX + 1];
    size_t len = number_text(digits, number);

    digits[len] = '\0';
    put(line, digits);
}

static void write_line(struct line *line)
{
    ssize_t written;

    line->text[line->len++] = '\n';
    written = write(STDERR_FILENO, line->text, line->len);
    (void)written; /* nowhere to say so */
    line->len = 0;
}

/* ---- what is known */

static void tell_task(const struct vm *vm, struct line *line)
{
    const struct task *task = vm->current;
    uint64_t still_ms = loop_still_ns(vm->loop) / 1000000;

    put(line, "tidepool: ");
    if (vm->worker > 0) {
        put(line, "worker ");
        put_number(line, vm->worker);
        put(line, ", ");
    }
    put(line, "pid ");
    put_number(line, getpid());
    put(line, " is asked where it is: its loop stands still for ");
    put_number(line, (double)still_ms / 1000);
    put(line, " s, in ");
    if (task != NULL) {
        put(line, "task ");
        put_number(line, (double)task->id);
        put(line, ", ");
        put(line, task->label[0] != '\0' ? task->label : "of no name");
    } else {
        put(line, "no task");
    }
    write_line(line);
}

static void tell_c_stack(struct line *line)
{
    void *frames[C_FRAMES];

    put(line, "tidepool: its stack of C:");
    write_line(line);
    backtrace_symbols_fd(frames, backtrace(frames, C_FRAMES), STDERR_FILENO);
}

static void tell_lua_stack(lua_State *L, struct line *line)
{
    lua_Debug frame;

    put(line, "tidepool: its stack of Lua, below a call of C:");
    write_line(line);
    for (int level = 0; level < LUA_FRAMES && lua_getstack(L, level, &frame);
         level++) {
        if (!lua_getinfo(L, "nSl", &frame))
            return;
        put(line, "\t");
        put(line, frame.short_src);
        if (frame.currentline > 0) {
            put(line, ":");
            put_number(line, frame.currentline);
        }
        if (frame.name != NULL) {
            put(line, ": in ");
            put(line, frame.name);
        }
        write_line(line);
    }
}

static void on_quit(int signal, siginfo_t *info, void *context)
{
    struct vm *vm = atomic_load(&the_vm);
    struct line line = { .len = 0 };
    int error = errno;

    (void)info;
    (void)context;
    if (vm == NULL)
        return;
    if (!pthread_equal(pthread_self(), the_thread)) {
        pthread_kill(the_thread, signal);
        return;
    }
    tell_task(vm, &line);
    if (vm->current != NULL && !watchdog_is_asked(vm->watchdog)) {
        watchdog_ask(vm->watchdog);
    } else {
        if (vm->current != NULL)
            tell_lua_stack(vm->current->L, &line);
        tell_c_stack(&line); /* last: compiled code of Lua may break it */
    }
    errno = error;
}

/* ---- life */

void stuck_watch(struct vm *vm)
{
    struct sigaction action = { .sa_flags = SA_RESTART | SA_SIGINFO };
    void *frame[1];

    the_thread = pthread_self();
    atomic_store(&the_vm, vm);
    (void)backtrace(frame, 1); /* the first call loads a library */
    action.sa_sigaction = on_quit;
    sigaction(SIGQUIT, &action, NULL);
}

void stuck_unwatch(struct vm *vm)
{
    struct vm *expected = vm;

    if (atomic_compare_exchange_strong(&the_vm, &expected, NULL))
        signal(SIGQUIT, SIG_DFL);
}
