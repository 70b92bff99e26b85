/* bind_events.h - what pools do, kept until scripts hear of it. */
#ifndef TIDEPOOL_SCRIPT_BIND_EVENTS_H
#define TIDEPOOL_SCRIPT_BIND_EVENTS_H

#include "pool/event.h"

/* A pool_observe_fn; ud is the struct script_pool.  Keeps a copy when somebody
 * has asked for it. */
void events_note(void *ud, const struct pool_event *event);

#endif
