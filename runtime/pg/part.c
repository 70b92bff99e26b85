/*
 * part.c - see part.h: the last of a link.  PQfinish() closes the socket before
 * the server's process has left pg_stat_activity, so a connection opened at
 * once in its place could be one more than max_connections there.  A copy of
 * the socket says when that process has gone, which takes about a millisecond.
 */
#include "pg/part.h"

#include "net/watch.h"
#include "net/work.h"
#include "pg/link.h"
#include "pool/driver.h"
#include "pool/ghost.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* A server that does not answer, or has more to say than anybody reads. */
static const uint64_t PATIENCE_NS = PART_PATIENCE_MS * 1000000ULL;
enum { DISCARD_MAX = 1024 * 1024, READ_SIZE = 16 * 1024 };

static void end(struct pg_link *link, bool is_sure)
{
    struct pg_pool *pg = link->pg;

    deadline_stop(pg->loop, &link->deadline);
    watch_close(link->watch);
    if (link->last_fd >= 0)
        close(link->last_fd);
    if (!is_sure)
        pool_conn_unsure(&link->conn);
    pool_conn_closed(&link->conn, loop_now_ns(pg->loop));
    free(link);
}

/* Reads on to the end; false when it has not come yet. */
static bool is_at_end(struct pg_link *link)
{
    char bytes[READ_SIZE];
    ssize_t got = 1;

    while (got > 0 && link->n_discarded < DISCARD_MAX) {
        got = recv(link->last_fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        if (got > 0)
            link->n_discarded += (size_t)got;
    }
    return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
}

static void on_ready(struct watch *watch, int events, void *ud)
{
    struct pg_link *link = ud;

    (void)watch;
    (void)events;
    if (is_at_end(link))
        end(link, true);
    else if (link->n_discarded >= DISCARD_MAX)
        end(link, false);
}

static void on_patience_over(struct deadline *deadline)
{
    end(container_of(deadline, struct pg_link, deadline), false);
}

int part_copy_socket(const PGconn *pq)
{
    int fd = pq != NULL ? PQsocket(pq) : -1;

    if (fd < 0 || PQstatus(pq) == CONNECTION_STARTED)
        return -1;
    return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

/* libpq has let go of it. */
static void await_end(struct pg_link *link)
{
    struct pg_pool *pg = link->pg;

    if (link->last_fd < 0) {
        end(link, true);
        return;
    }
    shutdown(link->last_fd, SHUT_WR);
    if (is_at_end(link)) {
        end(link, true);
        return;
    }
    if (watch_open(&link->watch, pg->loop, link->last_fd, on_ready, link) !=
        ERR_OK) {
        end(link, false);
        return;
    }
    watch_want(link->watch, WATCH_READ);
    link->deadline = (struct deadline){ .fn = on_patience_over };
    deadline_start(pg->loop, &link->deadline,
                   loop_now_ns(pg->loop) + PATIENCE_NS);
}

static void on_finish(void *ud)
{
    struct pg_link *link = ud;

    PQfinish(link->pq);
}

static void on_finished(void *ud)
{
    await_end(ud);
}

void link_part(struct pg_link *link)
{
    link->last_fd = part_copy_socket(link->pq);
    link->watch = NULL;
    /* with TLS it has root certificates to free */
    if (link->pq != NULL && PQsslInUse(link->pq) &&
        work_start(link->pg->loop, on_finish, on_finished, link) == ERR_OK)
        return;
    PQfinish(link->pq); /* says goodbye */
    await_end(link);
}
