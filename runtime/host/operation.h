/* operation.h - pools from C, from the inside, and what is asked of them. */
#ifndef TIDEPOOL_HOST_OPERATION_H
#define TIDEPOOL_HOST_OPERATION_H

#include "host/inside.h"
#include "pg/request.h"
#include "redis/request.h"
#include "script/bind_pool.h"

/* One of the host's own, on runtime->pools until its last connection is gone;
 * or the handle of one of the script's, on runtime->named to the end. */
struct tide_pool {
    tide_runtime *runtime;
    struct list_node node;
    enum pool_kind kind;
    char name[64];
    struct pool *pool; /* NULL: it is closing */
    unsigned pending;  /* operations */
    bool is_gone;      /* its last connection is: it is freed after them */
    struct pg_pool *pg;
    struct redis_pool *redis;
    struct script_pool *box; /* whose it is, kept by Lua; NULL: the host's */
};

/* The pool at the moment; NULL when it is closed. */
struct pool *host_pool_live(const tide_pool *pool);
void host_pool_left(tide_pool *pool); /* by an operation */

enum { SITE_MAX = 64 };

struct tide_lease {
    tide_runtime *runtime;
    struct list_node node; /* on runtime->leases */
    tide_pool *from;       /* not to be used once conn is NULL */
    struct pool *pool;     /* the same */
    struct conn *conn;     /* NULL: the pool took it */
    bool is_reclaimed;     /* because it was held too long */
    char site[SITE_MAX];
};

enum operation_kind { OPERATION_ACQUIRE, OPERATION_QUERY, OPERATION_REDIS };

/*
 * What was begun and is not answered, on runtime->operations.  PENDING while it
 * is in the pool, whose driver will end it; then a job tells its answer, since
 * drivers may end one inside of a call that is about another.
 */
struct operation {
    struct list_node node;
    tide_runtime *runtime;
    tide_pool *from;   /* while it is PENDING */
    tide_lease *lease; /* that it runs on, or that it has got; or NULL */
    enum operation_kind kind;
    uint64_t id;
    tide_answer_fn fn;
    void *ud;
    void (*free_ud)(void *ud);
    bool is_pending;
    struct loop_job job;
    enum err err; /* from here on: how it ended */
    bool is_unknown;
    struct err_text text;
    struct pg_rows *rows;
    char site[SITE_MAX];
    union {
        struct pool_waiter waiter;
        struct pg_request pg;
        struct redis_request redis;
    };
};

/* An answer, while it is told. */
struct told {
    tide_answer answer;
    struct operation *operation;
};

/*
 * Checks what the three calls have in common and makes an operation with extra
 * bytes behind it, all zero but for what it says above; own gets how, or its
 * defaults.  A code, with a sentence, when it cannot be.
 */
int host_operation_new(struct operation **out, size_t extra, tide_pool *pool,
                       const tide_how *how, tide_how *own, tide_answer_fn fn);
/* Frees one that did not begin; gives the code, with why or with what the pool
 * has to say as the sentence. */
int host_operation_refuse(struct operation *operation, enum err err,
                          const struct err_text *why);
/* It is PENDING. */
void host_operation_begun(struct operation *operation, uint64_t *id);

/* It is PENDING no more: err, and text, which may be NULL, will be told. */
void host_operation_end(struct operation *operation, enum err err,
                        const struct err_text *text);
/* With what the pool has to say; waiter may be NULL. */
void host_operation_end_refused(struct operation *operation, enum err err,
                                const struct pool_waiter *waiter);
/* Of a statement or commands: one of these two, by whether they were sent. */
void host_operation_end_request(struct operation *operation, enum err err,
                                bool was_sent, const struct pool_waiter *waiter,
                                const struct err_text *text);
uint64_t host_how_timeout_ns(const tide_how *how); /* 0: the pool's */

/* Takes it, which is PENDING, out of its pool; TIDE_CANCELLED will be told. */
void host_operation_cancel(struct operation *operation);
/* The same by id, for tide_cancel(); false when there is none. */
bool host_operations_cancel(tide_runtime *runtime, uint64_t id);

/* Of its kind: leaves the pool, adds to what is told, lets go of what it has.
 */
void host_acquire_leave(struct operation *operation);
/* It has a connection and nobody was told yet: nobody will. */
void host_acquire_undo(struct operation *operation);
void host_acquire_tell(struct operation *operation, tide_answer *answer);
void host_query_leave(struct operation *operation);
void host_query_tell(struct operation *operation, tide_answer *answer);
void host_redis_leave(struct operation *operation);
void host_redis_tell(struct operation *operation, tide_answer *answer);

#endif
