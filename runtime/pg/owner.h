/* owner.h - the pool that owns the links: its insides, private to pg/. */
#ifndef TIDEPOOL_PG_OWNER_H
#define TIDEPOOL_PG_OWNER_H

#include "base/login.h"
#include "base/rand.h"
#include "net/lane_pump.h"
#include "net/pool_clock.h"
#include "pg/address.h"
#include "pg/known.h"
#include "pg/param_inside.h"
#include "pg/types.h"
#include "pool/lanes.h"

/* Lives until it is closed and its last cancel has come back. */
struct pg_pool {
    struct loop *loop;
    const struct log *log;
    char *name;
    char *application_name; /* or NULL */
    struct login login;     /* instead of the url's; see pg_pool_login() */
    struct address_book book;
    struct pool_clock clock;
    struct rand rand;         /* of the statements' names */
    struct param_list params; /* of the statement being sent */
    struct list cancels;      /* waiting for their turn */
    unsigned cancels_running;
    struct knowns knowns;
    struct pg_types *types; /* or NULL: none were asked for */
    struct lanes lanes;
    struct lane_pump pump;
    struct list ending; /* requests of a lost lane, while they are told */
    struct err_text lost_text; /* of the last lane lost */
    struct loop_job end_job;   /* tells those that there was no time for */
    bool is_pooled; /* a pooler is between: there are no read lanes */
    bool is_closed;
    void (*on_closed)(void *ud);
    void *ud;
};

/* Frees it when nothing holds it any more. */
void pg_pool_settle(struct pg_pool *pg);

#endif
