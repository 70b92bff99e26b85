/* signals.h - signals as loop events, for the service. */
#ifndef TIDEPOOL_NET_SIGNALS_H
#define TIDEPOOL_NET_SIGNALS_H

#include "net/loop.h"

struct signal_watch;

typedef void (*signal_fn)(int signal, void *ud);

/* Does not keep the loop running. */
enum err signal_watch_open(struct signal_watch **out, struct loop *loop,
                           int signal, signal_fn fn, void *ud) MUST_CHECK;
void signal_watch_close(struct signal_watch *watch); /* accepts NULL */

#endif
