/* oom.h - makes the n-th allocation of a test fail. */
#ifndef TIDEPOOL_UNIT_OOM_H
#define TIDEPOOL_UNIT_OOM_H

#include <stdbool.h>

/*
 * Works on malloc, calloc, realloc, strdup and strndup as called by our own
 * code, on the calling thread: the linker wraps them (see the Makefile).
 * Libraries that are linked dynamically are not affected.  One test for each
 * constructor:
 *
 *     for (unsigned n = 1;; n++) {
 *         oom_fail_at(n);
 *         err = thing_new(&thing);
 *         oom_off();
 *         if (!oom_happened())
 *             break;
 *         assert_err(err, ERR_NOMEM);
 *     }
 *     assert_ok(err);
 *     thing_free(thing);
 */

/* The n-th allocation from now, counted from 1, returns NULL; only that one. */
void oom_fail_at(unsigned n);
void oom_off(void);
/* Whether an allocation has failed since oom_fail_at(). */
bool oom_happened(void);

#endif
