/* process.c - see process.h. */
#include "net/process.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/inside.h"
#include "net/watch.h"

enum {
    READ_SIZE = 16 * 1024,
    READS_A_TURN = 64, /* more than a pipe holds */
    OUTPUT_MAX = 1024 * 1024,
};

struct process {
    uv_process_t handle;
    struct loop *loop;          /* NULL: gone before an orphan ended */
    struct watch *output_watch; /* NULL: to a file, or all is read */
    int output_fd;              /* what we read, or -1 */
    struct buf output;
    int status;
    bool leads_group;
    struct list_node orphan; /* on loop->orphans once detached */
    process_fn fn;
    void *ud;
};

/* The descriptors that the child gets; ours to close once it has them. */
struct child_fds {
    int input;
    int output;
};

static void on_closed(uv_handle_t *handle)
{
    struct process *process =
        container_of((uv_process_t *)handle, struct process, handle);

    if (list_is_linked(&process->orphan))
        list_remove(&process->loop->orphans, &process->orphan);
    else if (process->loop != NULL)
        process->loop->open--;
    buf_free(&process->output);
    free(process);
}

static void stop_output(struct process *process)
{
    watch_close(process->output_watch);
    process->output_watch = NULL;
    if (process->output_fd >= 0)
        close(process->output_fd);
    process->output_fd = -1;
}

/* Reads what is there; false when no more will come. */
static bool read_output(struct process *process)
{
    struct buf *output = &process->output;
    char bytes[READ_SIZE];

    for (int i = 0; i < READS_A_TURN; i++) {
        ssize_t got = read(process->output_fd, bytes, sizeof(bytes));
        size_t room = OUTPUT_MAX - output->len;

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 && errno == EAGAIN;
        buf_put(output, bytes, (size_t)got < room ? (size_t)got : room);
    }
    return true;
}

static void on_output(struct watch *watch, int ready, void *ud)
{
    struct process *process = ud;

    (void)watch;
    (void)ready;
    if (!read_output(process))
        stop_output(process);
}

/*
 * All that the child wrote is in the pipe by now.  The pipe's end is not waited
 * for: a daemon that the child left behind may hold it open for ever.
 */
static void on_exit_status(uv_process_t *handle, int64_t status, int signal)
{
    struct process *process = container_of(handle, struct process, handle);

    if (process->output_fd >= 0)
        (void)read_output(process);
    stop_output(process);
    process->status = signal != 0 ? 128 + signal : (int)status;
    if (process->fn != NULL)
        process->fn(process, process->status, &process->output, process->ud);
    uv_close((uv_handle_t *)&process->handle, on_closed);
}

/* ---- starting */

static enum err refuse(const char *what, int error, struct err_text *why)
{
    err_text_set(why, "cannot start %s: %s", what, errno_text(error));
    return error == ENOMEM ? ERR_NOMEM : ERR_BADARG;
}

static int open_pipe(struct process *process)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return -1;
    /* Only our end: the child does not expect EAGAIN. */
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    process->output_fd = ends[0];
    return ends[1];
}

static void close_fds(const struct child_fds *fds)
{
    if (fds->input >= 0)
        close(fds->input);
    if (fds->output >= 0)
        close(fds->output);
}

static enum err open_fds(struct process *process, struct child_fds *fds,
                         const struct process_options *options,
                         struct err_text *why)
{
    const char *input = options->input != NULL ? options->input : "/dev/null";
    const char *log = options->log_path;

    fds->output = -1;
    fds->input = -1;
    if (options->shares_all)
        return ERR_OK;
    fds->input = open(input, O_RDONLY | O_CLOEXEC);
    if (fds->input < 0)
        return refuse(input, errno, why);
    fds->output =
        log != NULL ? open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644)
                    : open_pipe(process);
    if (fds->output < 0)
        return refuse(log != NULL ? log : options->args[0], errno, why);
    return ERR_OK;
}

static uv_stdio_container_t inherit(int fd)
{
    return (uv_stdio_container_t){ .flags = UV_INHERIT_FD, .data.fd = fd };
}

/* Gives how many there are. */
static int choose_fds(uv_stdio_container_t *stdio, const struct child_fds *fds,
                      const struct process_options *options)
{
    bool shares = options->shares_all;

    assert(options->n_inherited <= PROCESS_INHERITED_MAX);
    stdio[0] = inherit(shares ? STDIN_FILENO : fds->input);
    stdio[1] = inherit(shares ? STDOUT_FILENO : fds->output);
    stdio[2] =
        inherit(shares || options->shares_errors ? STDERR_FILENO : fds->output);
    for (unsigned i = 0; i < options->n_inherited; i++)
        stdio[3 + i] = inherit(options->inherited[i]);
    return 3 + (int)options->n_inherited;
}

static int spawn(struct process *process, const struct child_fds *fds,
                 const struct process_options *options)
{
    uv_stdio_container_t stdio[3 + PROCESS_INHERITED_MAX];
    uv_process_options_t how = {
        .file = options->file != NULL ? options->file : options->args[0],
        .args = (char **)options->args,
        .env = (char **)options->env,
        .cwd = options->cwd,
        .exit_cb = on_exit_status,
        .flags = options->leads_group ? UV_PROCESS_DETACHED : 0,
        .stdio = stdio,
        .stdio_count = choose_fds(stdio, fds, options),
    };

    process->leads_group = options->leads_group;
    return uv_spawn(process->loop->uv, &process->handle, &how);
}

/* Makes the child and watches what it says. */
static enum err start(struct process *process,
                      const struct process_options *options,
                      struct err_text *why)
{
    struct child_fds fds;
    enum err err = open_fds(process, &fds, options, why);
    int status;

    if (err == ERR_OK && process->output_fd >= 0) {
        err = watch_open(&process->output_watch, process->loop,
                         process->output_fd, on_output, process);
        if (err != ERR_OK)
            refuse(options->args[0], ENOMEM, why);
    }
    if (err != ERR_OK) {
        close_fds(&fds);
        stop_output(process);
        buf_free(&process->output);
        free(process);
        return err;
    }
    process->loop->open++;
    status = spawn(process, &fds, options);
    close_fds(&fds);
    if (status == 0)
        return ERR_OK;
    stop_output(process);
    uv_close((uv_handle_t *)&process->handle, on_closed);
    return refuse(options->args[0], -status, why);
}

enum err process_start(struct process **out, struct loop *loop,
                       const struct process_options *options, process_fn fn,
                       void *ud, struct err_text *why)
{
    struct process *process = calloc(1, sizeof(*process));
    enum err err;

    if (process == NULL)
        return refuse(options->args[0], ENOMEM, why);
    process->loop = loop;
    process->output_fd = -1;
    process->fn = fn;
    process->ud = ud;
    err = start(process, options, why);
    if (err != ERR_OK)
        return err;
    if (process->output_watch != NULL)
        watch_want(process->output_watch, WATCH_READ);
    *out = process;
    return ERR_OK;
}

int process_pid(const struct process *process)
{
    return process->handle.pid;
}

void process_signal(struct process *process, int signal)
{
    /* Once it has ended its number may be another's. */
    if (!uv_is_active((uv_handle_t *)&process->handle))
        return;
    if (process->leads_group)
        (void)kill(-process->handle.pid, signal);
    else
        uv_process_kill(&process->handle, signal);
}

void process_detach(struct process *process)
{
    process->fn = NULL;
    if (!uv_is_active((uv_handle_t *)&process->handle))
        return; /* it has ended */
    uv_unref((uv_handle_t *)&process->handle);
    process->loop->open--;
    list_push_back(&process->loop->orphans, &process->orphan);
    /* Still read: a pipe that nobody reads would stop it. */
    if (process->output_watch != NULL)
        watch_unref(process->output_watch);
}

void process_forget_orphans(struct loop *loop)
{
    struct list_node *node;

    while ((node = list_pop_front(&loop->orphans)) != NULL) {
        struct process *process = container_of(node, struct process, orphan);

        process->loop = NULL;
        stop_output(process);
        if (!uv_is_closing((uv_handle_t *)&process->handle))
            uv_close((uv_handle_t *)&process->handle, on_closed);
    }
}
