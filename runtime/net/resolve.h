/* resolve.h - names to addresses, on the thread pool. */
#ifndef TIDEPOOL_NET_RESOLVE_H
#define TIDEPOOL_NET_RESOLVE_H

#include "net/loop.h"

#include <netdb.h>

struct resolve;

/* addresses is NULL when err is not ERR_OK, and gone after the call. */
typedef void (*resolve_fn)(struct resolve *resolve, enum err err,
                           const struct addrinfo *addresses,
                           const struct err_text *why, void *ud);

/* fn is called once, never from inside. */
enum err resolve_start(struct resolve **out, struct loop *loop,
                       const char *host, const char *port, resolve_fn fn,
                       void *ud) MUST_CHECK;
/* Accepts NULL: fn will not be called. */
void resolve_cancel(struct resolve *resolve);

#endif
