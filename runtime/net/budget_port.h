/*
 * budget_port.h - a process's way to a budget: the memory that an instance
 * shares is a memfd, which children inherit by number; workers wake one another
 * by SIGURG, which does no harm to whom it reaches by mistake: all ignore it
 * that do not ask for it.
 */
#ifndef TIDEPOOL_NET_BUDGET_PORT_H
#define TIDEPOOL_NET_BUDGET_PORT_H

#include "net/loop.h"
#include "pool/budget.h"

struct budget_port;

/* In a master: makes one, that of a new instance. */
enum err budget_port_new(struct budget_port **out, struct loop *loop,
                         struct err_text *why) MUST_CHECK;
/* In a worker, or in the master that takes over: fd was inherited, and is the
 * port's from here on, also when it fails. */
enum err budget_port_attach(struct budget_port **out, struct loop *loop, int fd,
                            struct err_text *why) MUST_CHECK;
/* Becomes a worker: its pools take permits from here on.  *slot is its place.
 * ERR_BUSY: all places are taken. */
enum err budget_port_claim(struct budget_port *port, unsigned *slot,
                           struct err_text *why) MUST_CHECK;
/* Accepts NULL.  Its pools are closed. */
void budget_port_close(struct budget_port *port);

int budget_port_fd(const struct budget_port *port);
struct budget *budget_port_budget(const struct budget_port *port);
/* The child pid is gone, and reaped: how many connections it had. */
unsigned budget_port_dead(struct budget_port *port, int pid);

/* A pool's place at the port of a worker; embedded in its clock. */
struct budget_member {
    struct list_node node;
    struct budget_port *port;
    struct budget_share share;
    void (*look)(struct budget_member *member); /* the bell rang */
};

enum err budget_member_join(struct budget_member *member,
                            struct budget_port *port, const char *name,
                            uint32_t max) MUST_CHECK;
/* Does nothing when it has not joined. */
void budget_member_leave(struct budget_member *member);

#endif
