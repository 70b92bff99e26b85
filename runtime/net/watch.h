/* watch.h - tells when a descriptor that a library owns is ready. */
#ifndef TIDEPOOL_NET_WATCH_H
#define TIDEPOOL_NET_WATCH_H

#include "net/loop.h"

enum { WATCH_READ = 1, WATCH_WRITE = 2 };

/* Owns its handle, not the descriptor. */
struct watch;

/* events: WATCH_* that are ready; errors show as both. */
typedef void (*watch_fn)(struct watch *watch, int events, void *ud);

/* Begins with no event wanted. */
enum err watch_open(struct watch **out, struct loop *loop, int fd, watch_fn fn,
                    void *ud) MUST_CHECK;
/* Which events are wanted; no system call when nothing changes. */
void watch_want(struct watch *watch, int events);
int watch_fd(const struct watch *watch);
/* Accepts NULL.  fn is not called again, and the descriptor may be closed as
 * soon as this returns; the memory goes by itself. */
void watch_close(struct watch *watch);

#endif
