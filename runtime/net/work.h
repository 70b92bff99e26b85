/* work.h - runs a blocking call on the thread pool. */
#ifndef TIDEPOOL_NET_WORK_H
#define TIDEPOOL_NET_WORK_H

#include "net/loop.h"

/* run: on another thread, touches only ud.  done: on the loop, once. */
enum err work_start(struct loop *loop, void (*run)(void *ud),
                    void (*done)(void *ud), void *ud) MUST_CHECK;

/* Starts the threads: else the first who needs them waits until all run. */
void work_prepare(struct loop *loop);

#endif
