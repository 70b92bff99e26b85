/*
 * recorder.h - writes what pools do into a file, compressed by gzip.
 *
 * Lines are collected in memory; once a second, or when there is enough, the
 * thread pool compresses and writes them.  A file that has grown over its limit
 * becomes FILE.1, in the place of the one before, and a new one begins.  When
 * the disk does not keep up, lines are dropped and counted, here and in the
 * file: the pools never wait.
 */
#ifndef TIDEPOOL_TRACE_RECORDER_H
#define TIDEPOOL_TRACE_RECORDER_H

#include "net/loop.h"

struct pool;
struct recorder;

struct recorder_stats {
    uint64_t lines;     /* taken */
    uint64_t lost;      /* of these, dropped */
    uint64_t rotations; /* files that were full */
    int error;          /* errno of the last write that failed; or 0 */
};

/* Opens path, which is emptied.  ERR_BADARG, with why: it cannot be written. */
enum err recorder_new(struct recorder **out, struct loop *loop,
                      const char *path, uint64_t max_bytes,
                      struct err_text *why) MUST_CHECK;
/* Records a pool from now on, until recorder_forget().  ERR_BADARG: there are
 * TRACE_POOLS_MAX. */
enum err recorder_add(struct recorder *recorder, struct pool *pool,
                      const char *name, const char *kind) MUST_CHECK;
/* The pool closes.  Does nothing for one that is not recorded. */
void recorder_forget(struct recorder *recorder, const struct pool *pool);
void recorder_stats(const struct recorder *recorder,
                    struct recorder_stats *out);
/* Writes what is left, waiting for it.  Accepts NULL. */
void recorder_free(struct recorder *recorder);

#endif
