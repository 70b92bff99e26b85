/* wake.h - wakes a loop from any thread. */
#ifndef TIDEPOOL_NET_WAKE_H
#define TIDEPOOL_NET_WAKE_H

#include "net/loop.h"

struct wake;

/* fn(ud) is called on the loop's thread, once for one or more wake_send(). */
enum err wake_open(struct wake **out, struct loop *loop, void (*fn)(void *ud),
                   void *ud) MUST_CHECK;
/* From any thread, until wake_close(). */
void wake_send(struct wake *wake);
/* Accepts NULL. */
void wake_close(struct wake *wake);

#endif
