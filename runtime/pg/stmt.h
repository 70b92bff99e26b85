/*
 * stmt.h - the statements prepared on one connection: found by their text, the
 * least recently used ones given up first.  Private to pg/.
 */
#ifndef TIDEPOOL_PG_STMT_H
#define TIDEPOOL_PG_STMT_H

#include "base/list.h"
#include "base/map.h"

#include <libpq-fe.h>
#include <stdbool.h>

enum { STMT_NAME_MAX = 32 };

/* Owned by whoever made it, from stmts_add() on by the cache. */
struct stmt {
    struct map_node node; /* the key is the text */
    struct list_node order;
    char name[STMT_NAME_MAX]; /* at the server */
    unsigned traits;          /* of the text: SESSION_* */
    unsigned n_params;
    Oid *types; /* of the parameters; NULL when there are none */
    char sql[]; /* with a zero at the end */
};

/* Owned by the connection. */
struct stmts {
    struct map map;
    struct list recent; /* the latest use first */
    struct list doomed; /* given up here, not yet closed at the server */
    uint64_t prefix;    /* makes names unique at servers behind a pooler */
    unsigned made;
};

void stmts_init(struct stmts *stmts, uint64_t prefix);
void stmts_deinit(struct stmts *stmts);

/* The statement with this text, now the most recent one; or NULL. */
struct stmt *stmts_find(struct stmts *stmts, const char *sql, size_t len);

/* A statement with a new name, not yet in the cache; NULL: no memory. */
struct stmt *stmt_new(struct stmts *stmts, const char *sql, size_t len);
void stmt_free(struct stmt *stmt); /* accepts NULL; not one in the cache */
/* Takes over what the server said of the parameters. */
enum err stmt_describe(struct stmt *stmt,
                       const PGresult *description) MUST_CHECK;
/* Closes it at the server, as part of a pipeline; libpq sends it when flushed.
 */
bool stmt_send_close(const struct stmt *stmt, PGconn *pq);

/* The cache owns stmt now.  ERR_NOMEM: the caller still does. */
enum err stmts_add(struct stmts *stmts, struct stmt *stmt) MUST_CHECK;
/* Dooms the least recently used ones until at most limit are left. */
void stmts_trim(struct stmts *stmts, size_t limit);
/* Takes stmt out of the cache; doomed when the server still has it. */
void stmts_drop(struct stmts *stmts, struct stmt *stmt, bool is_at_server);
/* Takes stmt out of the cache, if it is there; it is the caller's then. */
bool stmts_take(struct stmts *stmts, struct stmt *stmt);
/* The same with one that is not in the cache. */
void stmts_give_up(struct stmts *stmts, struct stmt *stmt, bool is_at_server);
/* Dooms stmt, which is not in the cache. */
void stmts_doom(struct stmts *stmts, struct stmt *stmt);
/* The server has forgotten all of them. */
void stmts_clear(struct stmts *stmts);

#endif
