/* budget.c - see budget.h and budget_permit.h: the block, its slots, rows and
 * permits. */
#include "pool/budget_inside.h"

#include "base/clock.h"
#include "pool/bucket.h"
#include "pool/budget_permit.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum { MAGIC = 0x74696465, VERSION = 1 }; /* "tide"; with every new layout */

/* A ghost of which nobody can be asked, and the wait for another to ask. */
static const uint64_t GRACE_NS = 1000000000;
static const uint64_t HELD_NS = 5000000000; /* that one is held, too */
/* Who is in need has others woken this often, and less and less. */
static const uint64_t CALL_EVERY_NS = 50000000;
static const uint64_t CALL_AT_LEAST_NS = 1000000000;

/* ---- the lock */

void budget_lock(struct budget *budget)
{
    int status = pthread_mutex_lock(&budget->mutex);

    if (status == EOWNERDEAD) /* see budget.h: nothing is half done */
        status = pthread_mutex_consistent(&budget->mutex);
    assert(status == 0);
    (void)status;
}

void budget_unlock(struct budget *budget)
{
    int status = pthread_mutex_unlock(&budget->mutex);

    assert(status == 0);
    (void)status;
}

void budget_ring(const struct budget *budget, const struct budget_bell *bell,
                 const struct budget_wakes *wakes, unsigned but)
{
    if (bell == NULL || bell->ring == NULL)
        return;
    for (unsigned slot = 0; slot < BUDGET_SLOTS; slot++) {
        int pid = budget->pids[slot];

        if (slot != but && pid != 0 &&
            (wakes->bits[slot / 64] >> (slot % 64) & 1) != 0)
            bell->ring(bell->ud, slot, pid);
    }
}

/* ---- the block */

size_t budget_size(void)
{
    return sizeof(struct budget);
}

enum err budget_init(struct budget *budget)
{
    pthread_mutexattr_t attributes;
    int status = pthread_mutexattr_init(&attributes);

    if (status == 0)
        status =
            pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (status == 0)
        status = pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    if (status == 0)
        status = pthread_mutex_init(&budget->mutex, &attributes);
    if (status != 0)
        return ERR_INTERNAL;
    budget->version = VERSION;
    budget->size = sizeof(*budget);
    budget->magic = MAGIC;
    return ERR_OK;
}

enum err budget_check(const struct budget *budget, size_t size,
                      struct err_text *why)
{
    if (size < sizeof(budget->magic) + sizeof(budget->version) ||
        budget->magic != MAGIC) {
        err_text_set(why, "it is no budget of tidepool");
        return ERR_BADARG;
    }
    if (budget->version == VERSION && size == sizeof(*budget) &&
        budget->size == size)
        return ERR_OK;
    err_text_set(why,
                 "the budget was made by another version of tidepool: layout "
                 "%u of %zu bytes, this one has %d of %zu",
                 budget->version, size, VERSION, sizeof(*budget));
    return ERR_BADARG;
}

/* ---- counting */

static bool is_owned_by(const struct budget_permit *permit, unsigned slot)
{
    return permit->owner == slot + 1;
}

void budget_tally(struct budget_row *row, uint64_t now_ns,
                  struct budget_tally *out)
{
    memset(out, 0, sizeof(*out));
    for (unsigned slot = 0; slot < BUDGET_SLOTS; slot++)
        out->members += row->cells[slot].is_member;
    for (uint32_t i = 0; i < row->high; i++) {
        struct budget_permit *permit = &row->permits[i];
        uint32_t owner = permit->owner;

        if (owner == BUDGET_GHOST && permit->backend == 0 &&
            elapsed_ns(permit->since_ns, now_ns) >= GRACE_NS)
            permit->owner = owner = BUDGET_FREE;
        if (owner == BUDGET_FREE)
            continue;
        out->used++;
        out->ghosts += owner == BUDGET_GHOST;
        if (permit->is_leaving)
            out->leaving++;
        else if (owner != BUDGET_GHOST)
            out->taken[owner - 1]++;
    }
    out->fair = row->max / (out->members > 0 ? out->members : 1);
    if (out->fair == 0)
        out->fair = 1;
}

void budget_flag(struct budget_row *row, const struct budget_tally *tally,
                 uint64_t now_ns)
{
    uint32_t flags = tally->ghosts > 0 ? ROW_GHOSTS : 0;

    if (tally->used > row->max)
        flags |= ROW_SHORT;
    for (unsigned slot = 0; slot < BUDGET_SLOTS; slot++)
        if (budget_is_needy(&row->cells[slot], now_ns))
            flags |= ROW_SHORT;
    row->flags = flags;
}

static void wake_members(const struct budget_row *row,
                         struct budget_wakes *wakes)
{
    for (unsigned slot = 0; slot < BUDGET_SLOTS; slot++)
        if (row->cells[slot].is_member)
            budget_wake(wakes, slot);
}

/* ---- slots */

int budget_pid(const struct budget *budget, unsigned slot)
{
    return budget->pids[slot];
}

static void clear_cell(struct budget_row *row, unsigned slot)
{
    struct budget_cell *cell = &row->cells[slot];

    if (cell->is_member)
        row->changes++;
    cell->wanted = 0;
    cell->called_ns = 0;
    cell->is_member = 0;
}

static void make_ghost(struct budget_permit *permit, uint64_t now_ns)
{
    permit->since_ns = now_ns;
    permit->is_leaving = 0;
    permit->owner = BUDGET_GHOST;
}

/* What slot has of row becomes ghosts, and it is no member any more. */
static unsigned bereave(struct budget_row *row, unsigned slot, uint64_t now_ns,
                        struct budget_wakes *wakes)
{
    struct budget_tally tally;
    unsigned count = 0;

    for (uint32_t i = 0; i < row->high; i++)
        if (is_owned_by(&row->permits[i], slot)) {
            make_ghost(&row->permits[i], now_ns);
            count++;
        }
    if (count > 0 || row->cells[slot].is_member)
        wake_members(row, wakes);
    clear_cell(row, slot);
    budget_tally(row, now_ns, &tally);
    budget_flag(row, &tally, now_ns);
    return count;
}

static unsigned bury_process(struct budget *budget, int pid, uint64_t now_ns,
                             struct budget_wakes *wakes)
{
    unsigned count = 0;

    for (unsigned slot = 0; slot < BUDGET_SLOTS; slot++) {
        if (budget->pids[slot] != pid)
            continue;
        for (unsigned i = 0; i < BUDGET_ROWS; i++)
            if (budget->rows[i].is_used)
                count += bereave(&budget->rows[i], slot, now_ns, wakes);
        budget->pids[slot] = 0;
    }
    return count;
}

int budget_claim(struct budget *budget, int pid, uint64_t now_ns,
                 const struct budget_bell *bell)
{
    struct budget_wakes wakes = { { 0 } };
    int found = -1;

    assert(pid > 0);
    budget_lock(budget);
    (void)bury_process(budget, pid, now_ns, &wakes);
    for (unsigned slot = 0; slot < BUDGET_SLOTS && found < 0; slot++)
        if (budget->pids[slot] == 0) {
            budget->pids[slot] = pid;
            found = (int)slot;
        }
    budget_unlock(budget);
    budget_ring(budget, bell, &wakes, BUDGET_SLOTS);
    return found;
}

void budget_unclaim(struct budget *budget, unsigned slot)
{
    budget_lock(budget);
    budget->pids[slot] = 0;
    budget_unlock(budget);
}

unsigned budget_dead(struct budget *budget, int pid, uint64_t now_ns,
                     const struct budget_bell *bell)
{
    struct budget_wakes wakes = { { 0 } };
    unsigned count;

    assert(pid > 0);
    budget_lock(budget);
    count = bury_process(budget, pid, now_ns, &wakes);
    budget_unlock(budget);
    budget_ring(budget, bell, &wakes, BUDGET_SLOTS);
    return count;
}

/* ---- rows */

static struct budget_row *find_row(struct budget *budget, const char *name,
                                   uint32_t max)
{
    struct budget_row *row;

    for (row = budget->rows; row < budget->rows + BUDGET_ROWS; row++) {
        if (row->is_used && strcmp(row->name, name) == 0)
            return row;
        if (row->is_used)
            continue;
        memcpy(row->name, name, strlen(name) + 1);
        row->max = max;
        row->configured = max;
        row->is_used = 1; /* the last: till then it is free */
        return row;
    }
    return NULL;
}

/* Looks at everything anew: the members are told in their own time. */
static void change(const struct budget_share *share, uint32_t max)
{
    struct budget_row *row = budget_row_of(share);
    struct budget_tally tally;

    row->max = max;
    row->changes++;
    budget_tally(row, 0, &tally);
    budget_flag(row, &tally, 0);
}

enum err budget_join(struct budget_share *share, const char *name, uint32_t max)
{
    struct budget *budget = share->budget;
    struct budget_wakes wakes = { { 0 } };
    struct budget_row *row;

    if (strlen(name) >= BUDGET_NAME_MAX)
        return ERR_BADARG;
    budget_lock(budget);
    row = find_row(budget, name, max);
    if (row != NULL) {
        share->row = (unsigned)(row - budget->rows);
        row->cells[share->slot].is_member = 1;
        change(share, row->configured != max ? max : row->max);
        row->configured = max;
        wake_members(row, &wakes);
    }
    budget_unlock(budget);
    if (row == NULL)
        return ERR_BADARG;
    budget_ring(budget, &share->bell, &wakes, share->slot);
    return ERR_OK;
}

void budget_leave(struct budget_share *share, uint64_t now_ns)
{
    struct budget_wakes wakes = { { 0 } };

    budget_lock(share->budget);
    (void)bereave(budget_row_of(share), share->slot, now_ns, &wakes);
    budget_unlock(share->budget);
    budget_ring(share->budget, &share->bell, &wakes, share->slot);
}

void budget_set_max(const struct budget_share *share, uint32_t max)
{
    struct budget_wakes wakes = { { 0 } };
    struct budget_row *row = budget_row_of(share);

    budget_lock(share->budget);
    if (row->max != max) {
        change(share, max);
        wake_members(row, &wakes);
    }
    budget_unlock(share->budget);
    budget_ring(share->budget, &share->bell, &wakes, share->slot);
}

/* ---- taking and giving */

/* For so long nobody had an idle connection to ask for the ghosts that are
 * there: all are ghosts, or the others are held.  One more must go, also with
 * more ghosts than max has become; and, later, another where that is held. */
static bool is_haunted(const struct budget_row *row,
                       const struct budget_tally *tally, uint64_t now_ns)
{
    uint32_t living = tally->used - tally->ghosts;
    bool is_first = tally->used == row->max || living == 0;
    uint64_t patience_ns = is_first ? GRACE_NS : HELD_NS;

    if (tally->used < row->max || tally->ghosts == 0 || living >= row->max ||
        elapsed_ns(row->asked_ns, now_ns) < patience_ns)
        return false;
    for (uint32_t i = 0; i < row->high; i++)
        if (row->permits[i].owner != BUDGET_FREE &&
            elapsed_ns(row->permits[i].since_ns, now_ns) < patience_ns)
            return false;
    return true;
}

static uint32_t take_free(struct budget_row *row, unsigned slot,
                          uint64_t now_ns)
{
    uint32_t at = 0;

    while (row->permits[at].owner != BUDGET_FREE)
        at++;
    assert(at <= POOL_MAX_CONNECTIONS);
    if (at >= row->high)
        row->high = at + 1;
    row->permits[at].since_ns = now_ns;
    row->permits[at].is_leaving = 0;
    row->permits[at].backend = 0;
    row->permits[at].owner = slot + 1;
    return at;
}

static uint64_t clamp(uint64_t value, uint64_t least, uint64_t most)
{
    if (value < least)
        return least;
    return value < most ? value : most;
}

/* Remembers what it wants; others that are in no need themselves are woken when
 * it wants more than before, and else less and less often. */
static void want(struct budget_row *row, const struct budget_tally *tally,
                 unsigned slot, uint32_t wanted, uint64_t now_ns,
                 struct budget_wakes *wakes)
{
    struct budget_cell *cell = &row->cells[slot];
    bool was_needy = budget_is_needy(cell, now_ns);
    bool is_more = !was_needy || wanted > cell->wanted;
    uint64_t every_ns;

    if (wanted == 0)
        return;
    if (!was_needy)
        cell->since_ns = now_ns;
    cell->wanted = wanted;
    cell->seen_ns = now_ns;
    every_ns = clamp(elapsed_ns(cell->since_ns, now_ns) / 2, CALL_EVERY_NS,
                     CALL_AT_LEAST_NS);
    if (!is_more && elapsed_ns(cell->called_ns, now_ns) < every_ns)
        return;
    cell->called_ns = now_ns;
    for (unsigned other = 0; other < BUDGET_SLOTS; other++)
        if (tally->taken[other] > 0 &&
            !budget_is_needy(&row->cells[other], now_ns))
            budget_wake(wakes, other);
}

static enum budget_verdict try_take(struct budget_row *row, unsigned slot,
                                    const struct budget_wish *wish,
                                    uint64_t now_ns, uint32_t *permit,
                                    uint64_t *at_ns, struct budget_wakes *wakes)
{
    struct budget_cell *cell = &row->cells[slot];
    enum budget_verdict verdict = BUDGET_TAKEN;
    struct budget_tally tally;
    uint32_t free;

    budget_tally(row, now_ns, &tally);
    free = row->max > tally.used ? row->max - tally.used : 0;
    *at_ns = bucket_ready_ns(&row->full_ns, wish->rate, row->max, now_ns);
    if (free <= budget_ahead(row, &tally, slot, now_ns) &&
        !is_haunted(row, &tally, now_ns)) {
        verdict = BUDGET_REFUSED;
        want(row, &tally, slot, wish->wanted, now_ns, wakes);
    } else if (*at_ns > now_ns) {
        verdict = BUDGET_LATER;
    } else {
        bucket_take(&row->full_ns, wish->rate, now_ns);
        *permit = take_free(row, slot, now_ns);
        tally.used++;
        cell->wanted -= cell->wanted > 0;
        cell->since_ns = now_ns; /* it waits for the next one from here on */
    }
    budget_flag(row, &tally, now_ns);
    return verdict;
}

enum budget_verdict budget_take(const struct budget_share *share,
                                const struct budget_wish *wish, uint64_t now_ns,
                                uint32_t *permit, uint64_t *at_ns)
{
    struct budget_wakes wakes = { { 0 } };
    enum budget_verdict verdict;

    budget_lock(share->budget);
    verdict = try_take(budget_row_of(share), share->slot, wish, now_ns, permit,
                       at_ns, &wakes);
    budget_unlock(share->budget);
    budget_ring(share->budget, &share->bell, &wakes, share->slot);
    return verdict;
}

void budget_unwant(const struct budget_share *share)
{
    budget_lock(share->budget);
    budget_row_of(share)->cells[share->slot].wanted = 0;
    budget_unlock(share->budget);
}

void budget_set_backend(const struct budget_share *share, uint32_t permit,
                        int pid)
{
    budget_row_of(share)->permits[permit].backend = pid;
}

void budget_tell_free(const struct budget_share *share, uint64_t now_ns,
                      struct budget_wakes *wakes)
{
    struct budget_row *row = budget_row_of(share);
    struct budget_tally tally;

    budget_tally(row, now_ns, &tally);
    budget_wake_next(row, &tally, now_ns, wakes);
    budget_flag(row, &tally, now_ns);
}

void budget_give(const struct budget_share *share, uint32_t at, bool is_ghost,
                 uint64_t now_ns)
{
    struct budget_permit *permit = &budget_row_of(share)->permits[at];
    struct budget_wakes wakes = { { 0 } };

    budget_lock(share->budget);
    if (is_owned_by(permit, share->slot)) {
        if (is_ghost)
            make_ghost(permit, now_ns);
        else
            permit->owner = BUDGET_FREE;
        budget_tell_free(share, now_ns, &wakes);
    }
    budget_unlock(share->budget);
    budget_ring(share->budget, &share->bell, &wakes, share->slot);
}
