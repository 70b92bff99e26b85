/* access_log.h - one line for a request that was answered, or for a share of
 * them. */
#ifndef TIDEPOOL_SCRIPT_ACCESS_LOG_H
#define TIDEPOOL_SCRIPT_ACCESS_LOG_H

#include "http/access.h"
#include "script/vm.h"

/* Part of a server. */
struct access_log {
    bool is_on;
    uint64_t from;    /* the key of the first that is logged, sample_from() */
    uint64_t slow_ns; /* these are logged, too; 0: none is slow */
};

/* Reads { sample = 0..1, slow = seconds }, the table at index; on from here. */
void access_log_read(lua_State *L, int index, struct access_log *log);

void access_log_write(struct vm *vm, const struct access_log *log,
                      const struct http_access *access);

#endif
