/* oom_wrap.h - allocations that fail when somebody says so. */
#ifndef TIDEPOOL_UNIT_OOM_WRAP_H
#define TIDEPOOL_UNIT_OOM_WRAP_H

#include <stdbool.h>

/* Asked at each allocation of our own code: whether this one fails.  Whoever is
 * linked with oom_wrap.c defines it. */
bool oom_is_due(void);

#endif
