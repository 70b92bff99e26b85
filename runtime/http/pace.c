/* pace.c - see pace.h. */
#include "http/pace.h"

#include <assert.h>
#include <math.h>

void pace_init(struct pace *pace, uint64_t start_ns, double rate,
               uint64_t duration_ns, uint64_t max_requests)
{
    assert(rate > 0);
    pace->start_ns = start_ns;
    pace->interval_ns = 1e9 / rate;
    /* The one that would be due at the very end is not sent any more. */
    pace->total = (uint64_t)ceil((double)duration_ns * rate / 1e9);
    if (max_requests > 0 && pace->total > max_requests)
        pace->total = max_requests;
}

uint64_t pace_due_ns(const struct pace *pace, uint64_t i)
{
    return pace->start_ns + (uint64_t)((double)i * pace->interval_ns);
}

uint64_t pace_count(const struct pace *pace, uint64_t now_ns)
{
    uint64_t count;

    if (now_ns < pace->start_ns)
        return 0;
    count = (uint64_t)((double)(now_ns - pace->start_ns) / pace->interval_ns);
    /* Division and multiplication may round to either side. */
    while (count > 0 && pace_due_ns(pace, count - 1) > now_ns)
        count--;
    while (pace_due_ns(pace, count) <= now_ns)
        count++;
    return count < pace->total ? count : pace->total;
}
