/*
 * pg_peer.h - a small Postgres on a unix socket, a pool that dials it, and
 * statements that remember how they ended.
 *
 * The peer knows statements by their text: $1 to $9 are integers; "begin",
 * "rollback" and their like change the transaction; "hold" is not answered
 * before pg_peer_go() or a cancel, the end of preparing "hold parse" not before
 * pg_peer_go(); "copy in" and "copy out" begin a COPY; "bad" cannot be parsed;
 * all others give one row with their own text.
 */
#ifndef TIDEPOOL_UNIT_PG_PEER_H
#define TIDEPOOL_UNIT_PG_PEER_H

#include "base/log.h"
#include "net/stream.h"
#include "pg/param.h"
#include "pg/request.h"
#include "pool/conn_state.h"

enum { PEER_CONNS_MAX = 16, PEER_HEARD_MAX = 4096 };

struct peer_stmt {
    char name[64];
    char sql[128];
};

struct peer_conn {
    struct peer *peer;
    struct stream *stream; /* NULL: closed */
    bool is_started;
    bool is_cancel;
    bool is_holding; /* at an Execute; what follows waits */
    bool is_copying; /* in: a Sync means nothing */
    bool is_failed;  /* skips to the Sync */
    bool is_ending;  /* when all is sent */
    char tx;         /* 'I', 'T' or 'E' */
    char sql[128];   /* of the portal */
    struct peer_stmt stmts[32];
    unsigned reads;             /* that brought something */
    char heard[PEER_HEARD_MAX]; /* "P:select 1 D S B E S " */
};

struct peer {
    struct loop *loop;
    struct listener *listener;
    char dir[64];
    char url[128];
    const char *refuse;        /* SQLSTATE for whoever connects, or NULL */
    const char *fail_bind;     /* SQLSTATE for the next Bind, or NULL */
    const char *fail_describe; /* the same, for that of a statement */
    const char *fail_where;
    bool is_old; /* has an old plan for every name, as a pooler may */
    const char *fail_parse; /* for the next Parse */
    const char *hold;       /* how others begin that are held, or NULL */
    const char *garbles;    /* whose next answer has a type of no message */
    bool is_silent;         /* greets nobody */
    bool is_pooler;         /* its pid is not the server's */
    bool is_deaf;           /* does not act on cancels */
    bool is_slow; /* keeps cancels open until pg_peer_answer_cancels() */
    unsigned n_cancels;
    unsigned n_conns;
    struct peer_conn conns[PEER_CONNS_MAX]; /* cancels included */
};

void pg_peer_open(struct peer *peer, struct loop *loop);
void pg_peer_close(struct peer *peer);
/* Answers what is held and goes on. */
void pg_peer_go(struct peer_conn *conn);
/* Closes when all is sent, a FATAL too. */
void pg_peer_cut(struct peer_conn *conn);
void pg_peer_kill(struct peer_conn *conn, const char *sqlstate);
void pg_peer_notify(struct peer_conn *conn);
void pg_peer_answer_cancels(struct peer *peer);
void pg_peer_forget(struct peer_conn *conn); /* what it heard */

/* A loop with a peer and a pool on it. */
struct world {
    struct loop *loop;
    struct peer peer;
    struct pool_settings settings;
    struct log log;
    char logged[1024]; /* events of LOG_WARN and above */
    struct pg_pool *pg;
    unsigned closes; /* on_closed calls */
};

/* Settings may be changed between the two. */
void pg_world_init(struct world *world);
void pg_world_open(struct world *world);
/* Closes the pool, if that was not done, and checks that nothing is left. */
void pg_world_free(struct world *world);
void pg_world_close_pool(struct world *world, uint64_t within_ms);
uint32_t pg_world_count(const struct world *world, enum conn_state state);

/* A connection lent to the test. */
struct pg_link *pg_world_lease(struct world *world);
void pg_world_release(struct world *world, struct pg_link *link);

/* One statement and how it ended. */
struct call {
    struct pg_request request;
    struct pg_param params[4];
    unsigned calls;
    enum err err;
    struct err_text text;
    char value[128]; /* of the first column of the first row */
    void (*then)(struct call *call);
    void *ud;
};

/* Parameters are texts, up to NULL. */
void pg_call_init(struct call *call, const char *sql, ...);
/* Sends it and waits for its end, which must come once. */
void pg_call_pool(struct world *world, struct call *call);
void pg_call_link(struct world *world, struct pg_link *link, struct call *call);
void pg_call_wait(struct world *world, struct call *call);
/* Both, for a statement without parameters that must succeed. */
void pg_run_pool(struct world *world, const char *sql);
void pg_run_link(struct world *world, struct pg_link *link, const char *sql);

#endif
