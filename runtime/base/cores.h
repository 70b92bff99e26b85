/* cores.h - how many cores this process may use. */
#ifndef TIDEPOOL_BASE_CORES_H
#define TIDEPOOL_BASE_CORES_H

/* At least 1: those that it may run on (sched_setaffinity(2)), and no more than
 * the quota of its control group makes of them, as containers have one. */
unsigned cores_usable(void);

/* Of the text of a file cpu.max ("150000 100000", microseconds in a period; or
 * "max 100000"): the cores, rounded up; 0: no limit, or not understood. */
unsigned cores_of_quota(const char *text);

#endif
