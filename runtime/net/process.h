/* process.h - child processes: start, signal, be told of the end. */
#ifndef TIDEPOOL_NET_PROCESS_H
#define TIDEPOOL_NET_PROCESS_H

#include "base/buf.h"
#include "net/loop.h"

enum { PROCESS_INHERITED_MAX = 160 };

struct process;

struct process_options {
    const char *file;     /* the program; NULL: args[0] */
    char *const *args;    /* args[0] is looked up in PATH; NULL-terminated */
    char *const *env;     /* NULL: as ours */
    const char *cwd;      /* NULL: as ours */
    const char *log_path; /* stdout and stderr are appended; NULL: collected */
    bool shares_errors;   /* stderr is ours, neither logged nor collected */
    bool shares_all;      /* stdin, stdout and stderr are ours */
    const int *inherited; /* descriptors that it has as 3, 4, ... */
    unsigned n_inherited; /* at most PROCESS_INHERITED_MAX */
    bool leads_group;     /* signals reach what it starts, too; it is not on
                             our terminal */
    const char *input;    /* NULL: /dev/null, else a file for stdin */
};

/* status: exit code, or 128 + signal.  output: what was collected, both
 * streams, up to 1 MB; the process frees itself after the call. */
typedef void (*process_fn)(struct process *process, int status,
                           const struct buf *output, void *ud);

/* fn is called once, when the child is gone and its output is read. */
enum err process_start(struct process **out, struct loop *loop,
                       const struct process_options *options, process_fn fn,
                       void *ud, struct err_text *why) MUST_CHECK;
int process_pid(const struct process *process);
void process_signal(struct process *process, int signal);
/* fn will not be called; the child goes on, and is reaped. */
void process_detach(struct process *process);

#endif
