/*
 * link.h - one connection: what the files of pg/ share of it.  Private to pg/.
 *
 * Owned by pg/, run by the pool.  A call into the pool, or on_done of a
 * request, may close and free the link: whoever makes one touches the link no
 * more.  The comments below say "the link may be gone".
 */
#ifndef TIDEPOOL_PG_LINK_H
#define TIDEPOOL_PG_LINK_H

#include "net/deadline.h"
#include "pg/chore.h"
#include "pg/copy.h"
#include "pg/owner.h"
#include "pg/phase.h"
#include "pg/stmt.h"
#include "pool/conn.h"
#include "pool/conn_state.h"
#include "pool/driver.h"
#include "pool/lane.h"

struct connecting;
struct step;

struct pg_link {
    struct conn conn; /* what the pool sees */
    struct pg_pool *pg;
    PGconn *pq; /* NULL until there are addresses */
    struct watch *watch;
    enum link_phase phase;
    struct connecting *connecting; /* while CONNECTING */
    struct loop_job job;           /* an answer that may not come from inside */
    struct err_text text;          /* why it was lost, or the request failed */
    struct err_text last_words;    /* before the end: the server's, or ours */
    bool is_undrained;             /* the TLS library may hold bytes */
    bool is_garbled;               /* libpq does not understand the server */
    struct link_cancel *cancel;    /* waiting or on its way */

    struct stmts stmts;
    struct stmt *preparing; /* not yet in stmts */
    bool is_parsed;         /* the server has it */
    unsigned closes;        /* of doomed statements, in the same group */
    unsigned answers;       /* to the group, so far */
    bool is_touched;        /* the session is not as a new one */
    bool is_read_only;      /* the session, for a read lane */
    bool is_named;          /* the session, after a trace */

    struct pg_copy *copy; /* whose COPY runs, or NULL: its holder has left */
    enum pg_copy_state copying;   /* while COPY */
    struct pg_listener *listener; /* hears NOTIFY on this lease, or NULL */

    struct pg_request *request; /* NULL: what is due is nobody's any more */
    struct deadline deadline;   /* the request's, or the look-up's */
    struct stmt *stmt;          /* that runs; NULL when it is not in stmts */
    unsigned traits;            /* of its text: SESSION_* */
    uint64_t ran_ns;            /* when it was sent */
    PGresult *result;           /* what it gave; an error stays */
    enum err err;               /* how it ends whatever the result says */
    int last_fd; /* its socket's copy, when libpq has let go of it */
    bool is_retried;
    bool is_unnamed; /* and so it does without the cache */
    bool is_copying; /* out: its data is read and dropped */

    bool is_chore_done; /* without an error */
    enum link_chore chore;
    int32_t *ghosts; /* asked for by the test, or NULL */
    size_t n_ghosts;

    size_t n_discarded; /* of what came on last_fd */

    struct lane lane;
    struct step *steps; /* a ring of the answers due; see lane_step() */
    size_t steps_mask;
    uint64_t steps_head;
    uint64_t steps_tail;
    uint64_t group_at;   /* the first step of the group that runs */
    unsigned n_dead;     /* steps due that nobody wants */
    bool awaits_names;   /* which it asked for, and which are being read */
    bool is_set_up;      /* but for these */
    uint64_t stop_by_ns; /* while the lane is held */
    struct list again;   /* requests to be sent once more */
    struct list absent;  /* statements that the server does not have */
};

static inline struct pg_link *link_of(const struct conn *conn)
{
    return container_of(conn, struct pg_link, conn);
}

static inline uint64_t link_now(const struct pg_link *link)
{
    return loop_now_ns(link->pg->loop);
}

/* Calls fn with link->job, not from inside of this call. */
void link_later(struct pg_link *link, void (*fn)(struct loop_job *job));
/* It has connected: from here on it is QUIET and read.  ERR_NOMEM. */
enum err link_begin(struct pg_link *link) MUST_CHECK;
/* Everything due has come: QUIET, or BROKEN when it is dead. */
void link_rest(struct pg_link *link);
/* Sends what libpq has not sent yet; false when the connection is dead. */
bool link_flush(struct pg_link *link);
/* Ends the request, or tells the pool, as soon as nothing is due and no cancel
 * is on its way.  The link may be gone. */
void link_settle(struct pg_link *link);
/* Gives the connection up: BROKEN, link->text says why. */
void link_break(struct pg_link *link);
/* Does that and tells those who have it.  The link may be gone. */
void link_lost(struct pg_link *link);

/* conn_ops; the others are in chore.h */
void link_stop(struct conn *conn);
void link_abandon(struct conn *conn);
void link_close(struct conn *conn, enum close_reason reason);

#endif
