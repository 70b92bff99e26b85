/* hist.c - see hist.h. */
#include "base/hist.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * A bucket holds the values from just over one bound up to and including the
 * next, so that "at or under a power of two" never cuts a bucket.  That is
 * why the index is taken from ns - 1.
 */

enum { SUB_BITS = 4, LAST = HIST_BUCKETS - 1 };

_Static_assert(1 << SUB_BITS == HIST_SUB, "SUB_BITS is the log of HIST_SUB");

static unsigned bucket_of(uint64_t ns)
{
    uint64_t value = ns > 0 ? ns - 1 : 0;
    unsigned shift;

    if (value < HIST_SUB)
        return (unsigned)value;
    shift = 63 - (unsigned)__builtin_clzll(value) - SUB_BITS;
    if (shift >= HIST_OCTAVES - 1)
        return LAST;
    /* The leading bit is in value >> shift too: it counts as one octave. */
    return shift * HIST_SUB + (unsigned)(value >> shift);
}

/* The largest value that bucket holds. */
static uint64_t upper_bound(const struct hist *hist, unsigned bucket)
{
    unsigned next = bucket + 1;

    if (bucket == LAST)
        return hist->max_ns;
    if (next < HIST_SUB)
        return next;
    return (uint64_t)(HIST_SUB + next % HIST_SUB) << (next / HIST_SUB - 1);
}

/* The place, from 1, of the record that a share of q is at or under. */
static uint64_t rank_of(uint64_t count, double q)
{
    double exact = q * (double)count;
    uint64_t rank;

    if (!(exact > 1))
        return 1;
    if (q >= 1)
        return count;
    rank = (uint64_t)exact;
    if ((double)rank < exact)
        rank++;
    return rank < count ? rank : count;
}

void hist_record(struct hist *hist, uint64_t ns)
{
    hist->count++;
    hist->sum_ns += ns;
    if (ns > hist->max_ns)
        hist->max_ns = ns;
    hist->buckets[bucket_of(ns)]++;
}

void hist_add_since(struct hist *hist, const struct hist *from,
                    const struct hist *before)
{
    unsigned last = 0;
    bool is_new = false;

    for (unsigned i = 0; i < HIST_BUCKETS; i++) {
        uint64_t count =
            from->buckets[i] - (before != NULL ? before->buckets[i] : 0);

        hist->buckets[i] += count;
        hist->count += count;
        if (count > 0) {
            last = i;
            is_new = true;
        }
    }
    hist->sum_ns += from->sum_ns - (before != NULL ? before->sum_ns : 0);
    if (is_new) {
        uint64_t bound = upper_bound(from, last);

        if (bound > from->max_ns)
            bound = from->max_ns;
        if (bound > hist->max_ns)
            hist->max_ns = bound;
    }
}

uint64_t hist_quantile(const struct hist *hist, double q)
{
    uint64_t rank;
    uint64_t seen = 0;

    if (hist->count == 0)
        return 0;
    rank = rank_of(hist->count, q);
    for (unsigned i = 0; i < HIST_BUCKETS; i++) {
        uint64_t bound;

        seen += hist->buckets[i];
        if (seen < rank)
            continue;
        bound = upper_bound(hist, i);
        return bound < hist->max_ns ? bound : hist->max_ns;
    }
    return hist->max_ns;
}

uint64_t hist_count_to(const struct hist *hist, uint64_t ns)
{
    unsigned end = bucket_of(ns);
    uint64_t count = 0;

    if (ns >= hist->max_ns)
        return hist->count;
    /* The last bucket has no bound but max_ns, which is over ns here. */
    for (unsigned i = 0; i <= end && i < LAST; i++)
        count += hist->buckets[i];
    return count;
}
