/*
 * driver.h - what a driver tells the pool of its connections.
 *
 * The answers to the operations of conn_ops, and what the server did by itself.
 * now_ns as in pool.h.
 */
#ifndef TIDEPOOL_POOL_DRIVER_H
#define TIDEPOOL_POOL_DRIVER_H

#include "base/err.h"
#include "pool/conn.h"

/* While OPENING: conn has come to this phase. */
void pool_conn_phase(struct conn *conn, enum wait_phase phase, uint64_t now_ns);
void pool_conn_opened(struct conn *conn, uint64_t now_ns);
/* The attempt failed; the pool calls ops->close. */
void pool_conn_failed(struct conn *conn, const struct err_text *text,
                      uint64_t now_ns);
void pool_conn_tested(struct conn *conn, bool is_alive, uint64_t now_ns);
void pool_conn_reset(struct conn *conn, bool is_clean, uint64_t now_ns);
/* Its session was cleaned of what after_connect had set, too. */
void pool_conn_bare(struct conn *conn);
/* is_drained: the wire is quiet again; what it says then decides. */
void pool_conn_cancelled(struct conn *conn, bool is_drained, uint64_t now_ns);
/* The socket died while the pool had it (IDLE and the like), or a byte came
 * that nobody asked for.  LEASED and SHARED ones are told by their holder
 * through pool_release() or pool_discard(). */
void pool_conn_lost(struct conn *conn, const struct err_text *text,
                    uint64_t now_ns);
void pool_conn_closed(struct conn *conn, uint64_t now_ns);
/* A byte arrived. */
static inline void pool_conn_byte(struct conn *conn, uint64_t now_ns)
{
    conn->byte_ns = now_ns;
}

/*
 * The server said on conn that it shuts down, starts, or must not be written
 * to any more: what was opened before it said so is of no use.  Retires it as
 * pool_drain() does, in the next tick, so that any holder may call this.  Once
 * for all that say the same, and once in 5 s: a server that stays as it is
 * gains nothing by new connections.
 */
void pool_outdate(struct conn *conn, const struct err_text *text,
                  uint64_t now_ns);

#endif
