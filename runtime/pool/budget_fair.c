/* budget_fair.c - see budget_permit.h: who gets one, and who gives one; and the
 * counts of budget_census.h. */
#include "pool/budget_inside.h"

#include "base/clock.h"
#include "pool/budget.h"
#include "pool/budget_census.h"
#include "pool/budget_permit.h"

/* Who has not said for so long that it is in need, is stuck or gone. */
static const uint64_t STALE_NS = 250000000;
/* What was taken this lately is not given to others. */
static const uint64_t HOLD_NS = 100000000;
/* Within its share, a worker may well use again what it used this lately. */
static const uint64_t RECENT_NS = 1000000000;
/* So long others may come with what they do not use, before who is busy gives.
 */
static const uint64_t PATIENCE_NS = 5000000;
static const uint64_t LOOK_AGAIN_NS = 20000000;

bool budget_is_needy(const struct budget_cell *cell, uint64_t now_ns)
{
    return cell->is_member && cell->wanted > 0 &&
           elapsed_ns(cell->seen_ns, now_ns) < STALE_NS;
}

static uint32_t wanted_by(const struct budget_row *row, unsigned slot,
                          uint64_t now_ns)
{
    const struct budget_cell *cell = &row->cells[slot];

    return budget_is_needy(cell, now_ns) ? cell->wanted : 0;
}

uint32_t budget_due(const struct budget_row *row,
                    const struct budget_tally *tally, unsigned slot,
                    uint64_t now_ns)
{
    uint32_t wanted = wanted_by(row, slot, now_ns);
    uint32_t taken = tally->taken[slot];
    uint32_t room = taken < tally->fair ? tally->fair - taken : 0;

    return wanted < room ? wanted : room;
}

/* ---- who gets */

/* Whether a has waited for longer than b, which has waited since b_ns. */
static bool is_before(const struct budget_row *row, unsigned a, unsigned b,
                      uint64_t b_ns)
{
    uint64_t a_ns = row->cells[a].since_ns;

    return a_ns < b_ns || (a_ns == b_ns && a < b);
}

uint32_t budget_ahead(const struct budget_row *row,
                      const struct budget_tally *tally, unsigned slot,
                      uint64_t now_ns)
{
    bool is_below = tally->taken[slot] < tally->fair;
    uint64_t since_ns = now_ns;
    uint32_t ahead = 0;

    if (wanted_by(row, slot, now_ns) > 0)
        since_ns = row->cells[slot].since_ns;
    for (unsigned other = 0; other < BUDGET_SLOTS; other++) {
        uint32_t wanted = wanted_by(row, other, now_ns);
        uint32_t due = budget_due(row, tally, other, now_ns);

        if (wanted == 0 || other == slot)
            continue;
        if (!is_below)
            ahead += due;
        if (is_before(row, other, slot, since_ns))
            ahead += is_below ? due : wanted - due;
    }
    return ahead;
}

void budget_wake_next(const struct budget_row *row,
                      const struct budget_tally *tally, uint64_t now_ns,
                      struct budget_wakes *wakes)
{
    uint32_t free = row->max > tally->used ? row->max - tally->used : 0;

    for (unsigned slot = 0; slot < BUDGET_SLOTS; slot++)
        if (wanted_by(row, slot, now_ns) > 0 &&
            budget_ahead(row, tally, slot, now_ns) < free)
            budget_wake(wakes, slot);
}

/* ---- who gives */

/* The need of all others but one worker. */
struct need {
    uint32_t due;        /* of those below their share, up to it */
    uint32_t wanted;     /* of all */
    bool is_without;     /* somebody has none at all */
    bool is_anyone_over; /* somebody has more than its share */
    uint64_t oldest_ns;  /* since when the first of the first kind waits */
};

static struct need need_of_others(const struct budget_row *row,
                                  const struct budget_tally *tally,
                                  unsigned slot, uint64_t now_ns)
{
    struct need need = { .oldest_ns = now_ns };

    for (unsigned other = 0; other < BUDGET_SLOTS; other++) {
        uint32_t due = budget_due(row, tally, other, now_ns);

        need.is_anyone_over |= tally->taken[other] > tally->fair;
        if (other == slot)
            continue;
        need.due += due;
        need.wanted += wanted_by(row, other, now_ns);
        need.is_without |= due > 0 && tally->taken[other] == 0;
        if (due > 0 && row->cells[other].since_ns < need.oldest_ns)
            need.oldest_ns = row->cells[other].since_ns;
    }
    return need;
}

/* For one who is below its share, or has nothing. */
static bool gives_share(const struct budget_tally *tally,
                        const struct need *need, uint32_t mine,
                        const struct budget_offer *offer, uint64_t now_ns,
                        uint64_t *at_ns)
{
    bool is_over = mine > tally->fair;
    bool helps = is_over || (need->is_without &&
                             (offer->is_spare || !need->is_anyone_over));

    if (offer->is_spare)
        return helps || offer->idle_ns >= RECENT_NS;
    *at_ns = now_ns + PATIENCE_NS;
    return helps && elapsed_ns(need->oldest_ns, now_ns) >= PATIENCE_NS;
}

static bool is_anyone_over(const struct budget_tally *tally)
{
    for (unsigned slot = 0; slot < BUDGET_SLOTS; slot++)
        if (tally->taken[slot] > tally->fair)
            return true;
    return false;
}

/* There are more than max.  When there are more workers than that, all have
 * their fair share of one: then who is asked first gives. */
static bool must_shrink(const struct budget_row *row,
                        const struct budget_tally *tally, uint32_t mine)
{
    uint32_t living = tally->used - tally->leaving - tally->ghosts;

    if (mine > tally->fair)
        return true;
    return living > row->max && !is_anyone_over(tally);
}

static enum budget_answer decide(struct budget_row *row, unsigned slot,
                                 const struct budget_offer *offer,
                                 uint64_t now_ns, uint64_t *at_ns)
{
    const struct budget_permit *permit = &row->permits[offer->permit];
    struct budget_tally tally;
    struct need need;
    uint32_t spare, mine;

    budget_tally(row, now_ns, &tally);
    budget_flag(row, &tally, now_ns);
    mine = tally.taken[slot];
    *at_ns = now_ns + LOOK_AGAIN_NS;
    if (tally.used - tally.leaving > row->max)
        return must_shrink(row, &tally, mine) ? BUDGET_SHRINK : BUDGET_KEEP;
    need = need_of_others(row, &tally, slot, now_ns);
    spare = row->max - (tally.used - tally.leaving);
    if (need.wanted <= spare || (mine <= offer->keeps && !need.is_without))
        return BUDGET_KEEP;
    if (elapsed_ns(permit->since_ns, now_ns) < HOLD_NS) {
        *at_ns = permit->since_ns + HOLD_NS;
        return BUDGET_KEEP;
    }
    if (need.due > spare &&
        gives_share(&tally, &need, mine, offer, now_ns, at_ns))
        return BUDGET_YIELD;
    if (!offer->is_spare)
        return BUDGET_KEEP;
    if (mine > tally.fair || offer->idle_ns >= RECENT_NS)
        return BUDGET_YIELD;
    *at_ns = now_ns + RECENT_NS - offer->idle_ns;
    return BUDGET_KEEP;
}

bool budget_is_short(const struct budget_share *share)
{
    return (budget_row_of(share)->flags & ROW_SHORT) != 0;
}

enum budget_answer budget_offer(const struct budget_share *share,
                                const struct budget_offer *offer,
                                uint64_t now_ns, uint64_t *at_ns)
{
    struct budget_row *row = budget_row_of(share);
    enum budget_answer answer;

    budget_lock(share->budget);
    answer = decide(row, share->slot, offer, now_ns, at_ns);
    if (answer != BUDGET_KEEP)
        row->permits[offer->permit].is_leaving = 1;
    budget_unlock(share->budget);
    return answer;
}

/* ---- reading it */

uint32_t budget_changes(const struct budget_share *share)
{
    return budget_row_of(share)->changes;
}

void budget_read(const struct budget_share *share, struct budget_part *out)
{
    const struct budget_row *row = budget_row_of(share);

    budget_lock(share->budget);
    *out = (struct budget_part){ .max = row->max };
    for (unsigned slot = 0; slot < BUDGET_SLOTS; slot++) {
        out->workers += row->cells[slot].is_member;
        out->rank += slot < share->slot && row->cells[slot].is_member;
    }
    budget_unlock(share->budget);
    if (out->workers == 0)
        out->workers = 1;
}

static void count_row(struct budget_row *row, unsigned slot,
                      struct budget_census *out)
{
    struct budget_tally tally;

    budget_tally(row, 0, &tally);
    *out = (struct budget_census){ .max = row->max,
                                   .ghosts = tally.ghosts,
                                   .workers = tally.members };
    for (uint32_t i = 0; i < row->high; i++)
        out->mine += row->permits[i].owner == slot + 1;
    out->others = tally.used - tally.ghosts - out->mine;
    for (unsigned other = 0; other < BUDGET_SLOTS; other++)
        out->needy +=
            row->cells[other].is_member != 0 && row->cells[other].wanted > 0;
}

void budget_count(const struct budget_share *share, struct budget_census *out)
{
    budget_lock(share->budget);
    count_row(budget_row_of(share), share->slot, out);
    budget_unlock(share->budget);
}

bool budget_row(struct budget *budget, unsigned row, const char **name,
                struct budget_census *out)
{
    if (row >= BUDGET_ROWS || !budget->rows[row].is_used)
        return false;
    budget_lock(budget);
    count_row(&budget->rows[row], BUDGET_SLOTS, out);
    budget_unlock(budget);
    *name = budget->rows[row].name;
    return true;
}
