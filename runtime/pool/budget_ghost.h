/*
 * budget_ghost.h - the permits of dead workers come back.
 *
 * A dead worker's sockets are closed by the kernel, but the server may go on
 * with what it was told to do.  Its permits become ghosts: they come back when
 * a living connection was told that the server's process is gone, or after 1 s
 * when it is not known.  When for 1 s nobody has an idle connection to ask
 * with, one more than max may be opened, to ask; and another after 5 s in which
 * that one was held, too.
 */
#ifndef TIDEPOOL_POOL_BUDGET_GHOST_H
#define TIDEPOOL_POOL_BUDGET_GHOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct budget_share;

enum { BUDGET_ASK_MAX = 64 }; /* ghosts asked for at once */

bool budget_has_ghosts(const struct budget_share *share);
/* The server's processes to ask for; 0 when somebody asked a moment ago, then
 * *at_ns is when to look again. */
size_t budget_ask(const struct budget_share *share, uint64_t now_ns,
                  int32_t pids[BUDGET_ASK_MAX], uint64_t *at_ns);
/* These are gone. */
void budget_bury(const struct budget_share *share, const int32_t *pids,
                 size_t count, uint64_t now_ns);

#endif
