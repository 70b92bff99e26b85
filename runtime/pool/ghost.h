/*
 * ghost.h - what a driver knows of the server's processes, and asks of those
 * that dead workers left: ghosts, see budget_ghost.h.
 */
#ifndef TIDEPOOL_POOL_GHOST_H
#define TIDEPOOL_POOL_GHOST_H

#include <stddef.h>
#include <stdint.h>

struct conn;

/* The server's process that serves it, before pool_conn_opened(). */
void pool_conn_backend(struct conn *conn, int pid);
/* Before pool_conn_closed(): the server may have it still. */
void pool_conn_unsure(struct conn *conn);
/* Inside ops->test: dead workers' processes at the server; a driver that can
 * asks which of them are gone, in the same round trip. */
size_t pool_ghosts(const struct conn *conn, const int32_t **pids);
/* These are; before pool_conn_tested(). */
void pool_bury(struct conn *conn, const int32_t *pids, size_t count);

#endif
