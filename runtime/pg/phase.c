/* phase.c - see phase.h. */
#include "pg/phase.h"

#include "pg/link.h"

#include <assert.h>

/* clang-format off */
static const bool legal_moves[LINK_PHASES][LINK_PHASES] = {
    [LINK_CONNECTING] = { [LINK_QUIET] = true },
    [LINK_QUIET]      = { [LINK_PREPARING] = true, [LINK_RUNNING] = true,
                          [LINK_CHORE] = true, [LINK_LANE] = true,
                          [LINK_COPY] = true, [LINK_BROKEN] = true },
    [LINK_COPY]       = { [LINK_QUIET] = true, [LINK_BROKEN] = true },
    [LINK_LANE]       = { [LINK_QUIET] = true, [LINK_BROKEN] = true },
    [LINK_PREPARING]  = { [LINK_QUIET] = true, [LINK_BROKEN] = true },
    [LINK_RUNNING]    = { [LINK_QUIET] = true, [LINK_BROKEN] = true },
    [LINK_CHORE]      = { [LINK_QUIET] = true, [LINK_BROKEN] = true },
    [LINK_BROKEN]     = { [LINK_BROKEN] = true },
};
/* clang-format on */

void link_move(struct pg_link *link, enum link_phase phase)
{
    assert(legal_moves[link->phase][phase]);
    link->phase = phase;
}
