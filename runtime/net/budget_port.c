/* budget_port.c - see budget_port.h. */
#include "net/budget_port.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/inside.h"
#include "net/signals.h"

struct budget_port {
    struct loop *loop;
    int fd;
    struct budget *budget; /* mapped; NULL: not yet */
    struct signal_watch *bell;
    bool is_worker;
    unsigned slot;
    struct list members;
};

static void ring(void *ud, unsigned slot, int pid)
{
    (void)ud;
    (void)slot;
    (void)kill(pid, SIGURG); /* it may have gone a moment ago */
}

static const struct budget_bell bell = { .ring = ring };

/* A member may leave when it looks, but no other. */
static void on_bell(int signal, void *ud)
{
    struct budget_port *port = ud;
    struct list_node *next;

    (void)signal;
    for (struct list_node *node = port->members.head.next;
         node != &port->members.head; node = next) {
        struct budget_member *member =
            container_of(node, struct budget_member, node);

        next = node->next;
        member->look(member);
    }
}

/* ---- life */

static enum err fail(const char *what, int error, struct err_text *why)
{
    err_text_set(why, "%s: %s", what, errno_text(error));
    return error == ENOMEM ? ERR_NOMEM : ERR_BADARG;
}

static enum err map(struct budget_port *port, struct err_text *why)
{
    void *memory = mmap(NULL, budget_size(), PROT_READ | PROT_WRITE, MAP_SHARED,
                        port->fd, 0);

    if (memory == MAP_FAILED)
        return fail("cannot map the budget's memory", errno, why);
    port->budget = memory;
    return ERR_OK;
}

/* Of a fixed size for ever: nobody can take memory away under another. */
static enum err make(struct budget_port *port, struct err_text *why)
{
    enum err err;

    port->fd = memfd_create("tidepool-budget", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (port->fd < 0)
        return fail("cannot make the budget's memory", errno, why);
    if (ftruncate(port->fd, (off_t)budget_size()) != 0 ||
        fcntl(port->fd, F_ADD_SEALS,
              F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        return fail("cannot size the budget's memory", errno, why);
    err = map(port, why);
    return err == ERR_OK ? budget_init(port->budget) : err;
}

static enum err open_fd(struct budget_port *port, struct err_text *why)
{
    struct stat stat;
    enum err err;

    if (port->fd < 0 || fstat(port->fd, &stat) != 0)
        return fail("the budget's descriptor", port->fd < 0 ? EBADF : errno,
                    why);
    (void)fcntl(port->fd, F_SETFD, FD_CLOEXEC);
    if (stat.st_size < (off_t)budget_size()) {
        err_text_set(why,
                     "the budget has %lld bytes, this version of tidepool "
                     "needs %zu",
                     (long long)stat.st_size, budget_size());
        return ERR_BADARG;
    }
    err = map(port, why);
    if (err == ERR_OK)
        err = budget_check(port->budget, (size_t)stat.st_size, why);
    return err;
}

static enum err begin(struct budget_port **out, struct loop *loop, int fd,
                      enum err (*open)(struct budget_port *port,
                                       struct err_text *why),
                      struct err_text *why)
{
    struct budget_port *port = calloc(1, sizeof(*port));
    enum err err;

    if (port == NULL) {
        if (fd >= 0)
            close(fd);
        return ERR_NOMEM;
    }
    port->loop = loop;
    port->fd = fd;
    list_init(&port->members);
    err = open(port, why);
    if (err != ERR_OK) {
        budget_port_close(port);
        return err;
    }
    *out = port;
    return ERR_OK;
}

enum err budget_port_new(struct budget_port **out, struct loop *loop,
                         struct err_text *why)
{
    return begin(out, loop, -1, make, why);
}

enum err budget_port_attach(struct budget_port **out, struct loop *loop, int fd,
                            struct err_text *why)
{
    return begin(out, loop, fd, open_fd, why);
}

/* Workers whose master died with them: nobody else will tell. */
static void bury_the_gone(struct budget_port *port)
{
    for (unsigned slot = 0; slot < BUDGET_SLOTS; slot++) {
        int pid = budget_pid(port->budget, slot);

        if (pid != 0 && kill(pid, 0) != 0 && errno == ESRCH)
            (void)budget_port_dead(port, pid);
    }
}

enum err budget_port_claim(struct budget_port *port, unsigned *slot,
                           struct err_text *why)
{
    enum err err;
    int place;

    assert(!port->is_worker);
    bury_the_gone(port);
    err = signal_watch_open(&port->bell, port->loop, SIGURG, on_bell, port);
    if (err != ERR_OK) {
        err_text_set(why, "cannot watch for SIGURG: %s", err_sentence(err));
        return err;
    }
    place =
        budget_claim(port->budget, getpid(), loop_now_ns(port->loop), &bell);
    if (place < 0) {
        signal_watch_close(port->bell);
        port->bell = NULL;
        err_text_set(why,
                     "the budget has room for %d workers, and all are "
                     "there",
                     BUDGET_SLOTS);
        return ERR_BUSY;
    }
    port->is_worker = true;
    port->slot = (unsigned)place;
    *slot = port->slot;
    return ERR_OK;
}

void budget_port_close(struct budget_port *port)
{
    if (port == NULL)
        return;
    assert(port->members.len == 0);
    if (port->is_worker)
        budget_unclaim(port->budget, port->slot);
    signal_watch_close(port->bell);
    if (port->budget != NULL)
        munmap(port->budget, budget_size());
    if (port->fd >= 0)
        close(port->fd);
    free(port);
}

int budget_port_fd(const struct budget_port *port)
{
    return port->fd;
}

struct budget *budget_port_budget(const struct budget_port *port)
{
    return port->budget;
}

unsigned budget_port_dead(struct budget_port *port, int pid)
{
    return budget_dead(port->budget, pid, loop_now_ns(port->loop), &bell);
}

/* ---- members */

enum err budget_member_join(struct budget_member *member,
                            struct budget_port *port, const char *name,
                            uint32_t max)
{
    enum err err;

    assert(port->is_worker);
    member->share.budget = port->budget;
    member->share.slot = port->slot;
    member->share.bell = bell;
    err = budget_join(&member->share, name, max);
    if (err != ERR_OK)
        return err;
    member->port = port;
    list_push_back(&port->members, &member->node);
    return ERR_OK;
}

void budget_member_leave(struct budget_member *member)
{
    if (member->port == NULL)
        return;
    list_remove(&member->port->members, &member->node);
    budget_leave(&member->share, loop_now_ns(member->port->loop));
    member->port = NULL;
}
