/*
 * dump.h - writes a pool's flight recorder as a trace: when it is asked for,
 * and when the process crashes.
 */
#ifndef TIDEPOOL_TRACE_DUMP_H
#define TIDEPOOL_TRACE_DUMP_H

#include "base/buf.h"
#include "pool/flight.h"

/* Appends the trace: who holds its connections, then what the recorder has. */
void dump_text(struct buf *out, const struct pool *pool, const char *name,
               const char *kind, uint64_t now_ns);

/* Writes it to path, which is made anew and is for its owner only; gives 0 or
 * an errno. */
int dump_file(const char *path, const struct pool *pool, const char *name,
              const char *kind, uint64_t now_ns);

/*
 * From now on, when the process ends by SEGV, BUS, FPE, ILL or ABRT, writes
 * the pool's recorder to path, and says so and where it was on stderr.  Until
 * dump_disarm(), before the pool is freed.  False: there are too many, or path
 * is too long.
 */
bool dump_on_crash(const struct pool *pool, const char *path, const char *name,
                   const char *kind);
void dump_disarm(const struct pool *pool);

#endif
