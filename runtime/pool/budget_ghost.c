/* budget_ghost.c - see budget_ghost.h. */
#include "pool/budget_ghost.h"

#include "base/clock.h"
#include "pool/budget_inside.h"

static const uint64_t ASK_EVERY_NS = 200000000;

bool budget_has_ghosts(const struct budget_share *share)
{
    return (budget_row_of(share)->flags & ROW_GHOSTS) != 0;
}

size_t budget_ask(const struct budget_share *share, uint64_t now_ns,
                  int32_t pids[BUDGET_ASK_MAX], uint64_t *at_ns)
{
    struct budget_row *row = budget_row_of(share);
    struct budget_tally tally;
    size_t count = 0;

    budget_lock(share->budget);
    budget_tally(row, now_ns, &tally);
    budget_flag(row, &tally, now_ns);
    *at_ns = now_ns + ASK_EVERY_NS;
    if (row->asked_ns != 0 && elapsed_ns(row->asked_ns, now_ns) < ASK_EVERY_NS)
        *at_ns = row->asked_ns + ASK_EVERY_NS;
    else
        for (uint32_t i = 0; i < row->high && count < BUDGET_ASK_MAX; i++)
            if (row->permits[i].owner == BUDGET_GHOST &&
                row->permits[i].backend != 0)
                pids[count++] = row->permits[i].backend;
    if (count > 0)
        row->asked_ns = now_ns;
    budget_unlock(share->budget);
    return count;
}

void budget_bury(const struct budget_share *share, const int32_t *pids,
                 size_t count, uint64_t now_ns)
{
    struct budget_row *row = budget_row_of(share);
    struct budget_wakes wakes = { { 0 } };

    budget_lock(share->budget);
    for (uint32_t i = 0; i < row->high; i++)
        for (size_t j = 0; j < count; j++)
            if (row->permits[i].owner == BUDGET_GHOST &&
                row->permits[i].backend == pids[j])
                row->permits[i].owner = BUDGET_FREE;
    budget_tell_free(share, now_ns, &wakes);
    budget_unlock(share->budget);
    budget_ring(share->budget, &share->bell, &wakes, share->slot);
}
