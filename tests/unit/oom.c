/* oom.c - see oom.h. */
#include "oom.h"

#include "oom_wrap.h"

/* Per thread, so that a library's worker threads do not move the count. */
static _Thread_local unsigned left; /* 0: off */
static _Thread_local bool happened;

bool oom_is_due(void)
{
    if (left == 0 || --left > 0)
        return false;
    happened = true;
    return true;
}

void oom_fail_at(unsigned n)
{
    left = n;
    happened = false;
}

void oom_off(void)
{
    left = 0;
}

bool oom_happened(void)
{
    return happened;
}
