/* connect.h - what an attempt to connect knows, while it lasts.  Private to
 * pg/. */
#ifndef TIDEPOOL_PG_CONNECT_H
#define TIDEPOOL_PG_CONNECT_H

#include "net/resolve.h"
#include "pg/handshake.h"
#include "pg/link.h"
#include "pool/backoff.h"
#include "pool/conn_state.h"

struct connecting {
    bool is_wanted[POOL_ADDRESSES_MAX]; /* is dialled this time */
    struct resolve *lookups[POOL_ADDRESSES_MAX];
    struct address_ips ips[POOL_ADDRESSES_MAX];
    unsigned pending; /* look-ups */
    bool is_dialled;
    struct dial_list dial;
    unsigned at; /* in dial: where libpq was after its last step */
    struct handshake *handshake; /* libpq's step that runs, or NULL */
    struct err_text why;         /* of a look-up that failed */
};

/* ---- lookup.c */

/* Chooses hosts and looks their names up; then connect_dial(). */
void lookup_begin(struct pg_link *link);

/* ---- connect.c */

struct conn *connect_open(void *driver);
/* Connects to the hosts that are wanted and known.  The link may be gone. */
void connect_dial(struct pg_link *link);
/* One host is to be left out for a while. */
void connect_host_failed(struct pg_link *link, unsigned index);
/* The attempt is over, before it succeeded: learns what there is to learn. */
void connect_abort(struct pg_link *link, enum close_reason reason);

#endif
