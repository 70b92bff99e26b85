/* budget_inside.h - how the shared block lies in memory; for budget*.c. */
#ifndef TIDEPOOL_POOL_BUDGET_INSIDE_H
#define TIDEPOOL_POOL_BUDGET_INSIDE_H

#include "pool/budget.h"
#include "pool/settings.h"

#include <pthread.h>
#include <stdatomic.h>

enum { BUDGET_FREE = 0, BUDGET_GHOST = UINT16_MAX }; /* else slot + 1 */

struct budget_permit {
    _Atomic uint32_t owner;
    _Atomic uint32_t is_leaving; /* it was promised to others */
    _Atomic int32_t backend;     /* 0: not known */
    uint64_t since_ns;           /* when it got its owner */
};

/* What a worker says of a pool. */
struct budget_cell {
    _Atomic uint32_t is_member;
    uint32_t wanted;    /* 0: it is in no need */
    uint64_t since_ns;  /* it is in need */
    uint64_t seen_ns;   /* it said so last */
    uint64_t called_ns; /* it had others woken last */
};

/* What a worker looks at without the lock. */
enum { ROW_SHORT = 1, ROW_GHOSTS = 2 };

struct budget_row {
    _Atomic uint32_t is_used;
    _Atomic uint32_t flags;
    _Atomic uint32_t changes;
    uint32_t max;
    uint32_t configured; /* max at the last join */
    uint32_t high;       /* permits from here on were never taken */
    uint64_t full_ns;    /* of the bucket of connects */
    uint64_t asked_ns;   /* for the ghosts */
    char name[BUDGET_NAME_MAX];
    struct budget_cell cells[BUDGET_SLOTS];
    struct budget_permit permits[POOL_MAX_CONNECTIONS + 1];
};

struct budget {
    uint32_t magic;
    uint32_t version;
    uint64_t size;
    pthread_mutex_t mutex;
    _Atomic int32_t pids[BUDGET_SLOTS];
    struct budget_row rows[BUDGET_ROWS];
};

/* The permits of a row, counted. */
struct budget_tally {
    uint32_t used; /* by whomever */
    uint32_t ghosts;
    uint32_t leaving;
    uint32_t members;
    uint32_t fair;                /* share of max, at least 1 */
    uint32_t taken[BUDGET_SLOTS]; /* without those that leave */
};

struct budget_wakes {
    uint64_t bits[BUDGET_SLOTS / 64];
};

static inline void budget_wake(struct budget_wakes *wakes, unsigned slot)
{
    wakes->bits[slot / 64] |= (uint64_t)1 << (slot % 64);
}

static inline struct budget_row *budget_row_of(const struct budget_share *share)
{
    return &share->budget->rows[share->row];
}

/* ---- budget.c */

void budget_lock(struct budget *budget);
void budget_unlock(struct budget *budget);
/* After budget_unlock(). */
void budget_ring(const struct budget *budget, const struct budget_bell *bell,
                 const struct budget_wakes *wakes, unsigned but);
/* Lets go of ghosts of which nobody can be asked, and counts. */
void budget_tally(struct budget_row *row, uint64_t now_ns,
                  struct budget_tally *out);
/* After anything that may change them; now_ns 0: as of the last look. */
void budget_flag(struct budget_row *row, const struct budget_tally *tally,
                 uint64_t now_ns);

/* After permits came free. */
void budget_tell_free(const struct budget_share *share, uint64_t now_ns,
                      struct budget_wakes *wakes);

/* ---- budget_fair.c */

/* It has said so lately. */
bool budget_is_needy(const struct budget_cell *cell, uint64_t now_ns);
/* Of what slot wants, what lifts it to its fair share. */
uint32_t budget_due(const struct budget_row *row,
                    const struct budget_tally *tally, unsigned slot,
                    uint64_t now_ns);
/* How many of those free others come for before slot does. */
uint32_t budget_ahead(const struct budget_row *row,
                      const struct budget_tally *tally, unsigned slot,
                      uint64_t now_ns);
/* Marks those who are next for what is free. */
void budget_wake_next(const struct budget_row *row,
                      const struct budget_tally *tally, uint64_t now_ns,
                      struct budget_wakes *wakes);

#endif
