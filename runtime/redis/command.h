/* command.h - what is known of commands before they are sent: which may run on
 * a shared connection, which block, which may be sent twice. */
#ifndef TIDEPOOL_REDIS_COMMAND_H
#define TIDEPOOL_REDIS_COMMAND_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static const uint64_t COMMAND_BLOCKS_FOR_EVER = UINT64_MAX;

struct redis_command_use {
    bool is_read_only; /* changes nothing, so it may be sent twice */
    bool is_blocking;
    bool is_session;   /* leaves a state on its connection */
    bool is_open;      /* and one that a hook may not leave: MULTI, WATCH */
    bool is_mark;      /* leaves one that no reset takes away */
    uint64_t block_ns; /* how long it may block, 0 when it does not */
};

/*
 * Reads name and arguments of one command; lens may be NULL when all end with
 * a zero.  Commands that are not in the table (of modules, of later servers)
 * count as writes.  Returns ERR_BADARG when the command would change a
 * connection that others share, or take over any: why names what to use
 * instead.
 */
enum err redis_command_check(unsigned n_args, const char *const *args,
                             const size_t *lens, struct redis_command_use *out,
                             struct err_text *why) MUST_CHECK;
/* The same for a connection that is leased: is_session and is_mark are allowed.
 */
enum err redis_command_check_leased(unsigned n_args, const char *const *args,
                                    const size_t *lens,
                                    struct redis_command_use *out,
                                    struct err_text *why) MUST_CHECK;

#endif
