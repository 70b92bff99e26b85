/* hearing.h - one task that is parked until something is heard, a time has
 * passed, or another task wakes it. */
#ifndef TIDEPOOL_SCRIPT_HEARING_H
#define TIDEPOOL_SCRIPT_HEARING_H

#include "script/bind_pool.h"

/* Embedded in what is heard through.  push leaves the results of the wait:
 * what was heard so far, which may be nothing. */
struct hearing {
    int (*push)(lua_State *L, struct hearing *hearing);
    struct task *task;             /* parked, or NULL */
    bool is_woken;                 /* the next wait returns at once */
    const struct script_pool *box; /* counts a cancelled wait; or NULL */
};

/* `return hearing_wait(...)`: at once when there is something to push or
 * somebody has woken it, otherwise at the latest after so long.  Raises when
 * another task waits. */
int hearing_wait(lua_State *L, struct hearing *hearing, bool has_something,
                 uint64_t ns);
/* Something was heard. */
void hearing_tell(struct hearing *hearing);
/* This wait, or the next one, ends. */
void hearing_wake(struct hearing *hearing);

#endif
