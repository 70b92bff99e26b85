/* stmt.c - see stmt.h. */
#include "pg/stmt.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct stmt *stmt_of(struct list_node *node)
{
    return container_of(node, struct stmt, order);
}

void stmts_init(struct stmts *stmts, uint64_t prefix)
{
    *stmts = (struct stmts){ .prefix = prefix };
    list_init(&stmts->recent);
    list_init(&stmts->doomed);
}

void stmts_deinit(struct stmts *stmts)
{
    stmts_clear(stmts);
    map_free(&stmts->map);
}

struct stmt *stmts_find(struct stmts *stmts, const char *sql, size_t len)
{
    struct map_node *node = map_get(&stmts->map, sql, len);
    struct stmt *stmt;

    if (node == NULL)
        return NULL;
    stmt = container_of(node, struct stmt, node);
    if (list_first(&stmts->recent) != &stmt->order) {
        list_remove(&stmts->recent, &stmt->order);
        list_push_front(&stmts->recent, &stmt->order);
    }
    return stmt;
}

struct stmt *stmt_new(struct stmts *stmts, const char *sql, size_t len)
{
    struct stmt *stmt = calloc(1, sizeof(*stmt) + len + 1);

    if (stmt == NULL)
        return NULL;
    memcpy(stmt->sql, sql, len);
    stmt->node.key = stmt->sql;
    stmt->node.key_len = len;
    snprintf(stmt->name, sizeof(stmt->name), "tp%016" PRIx64 "_%u",
             stmts->prefix, stmts->made++);
    return stmt;
}

void stmt_free(struct stmt *stmt)
{
    if (stmt == NULL)
        return;
    free(stmt->types);
    free(stmt);
}

enum err stmt_describe(struct stmt *stmt, const PGresult *description)
{
    int n_params = PQnparams(description);
    Oid *types = NULL;

    assert(stmt->types == NULL);
    if (n_params > 0) {
        types = malloc((size_t)n_params * sizeof(*types));
        if (types == NULL)
            return ERR_NOMEM;
    }
    for (int i = 0; i < n_params; i++)
        types[i] = PQparamtype(description, i);
    stmt->types = types;
    stmt->n_params = (unsigned)n_params;
    return ERR_OK;
}

bool stmt_send_close(const struct stmt *stmt, PGconn *pq)
{
#ifdef LIBPQ_HAS_CLOSE_PREPARED
    return PQsendClosePrepared(pq, stmt->name) == 1;
#else
    char sql[STMT_NAME_MAX + 16];

    snprintf(sql, sizeof(sql), "DEALLOCATE %s", stmt->name);
    return PQsendQueryParams(pq, sql, 0, NULL, NULL, NULL, NULL, 0) == 1;
#endif
}

enum err stmts_add(struct stmts *stmts, struct stmt *stmt)
{
    enum err err = map_put(&stmts->map, &stmt->node);

    if (err == ERR_OK)
        list_push_front(&stmts->recent, &stmt->order);
    return err;
}

void stmts_trim(struct stmts *stmts, size_t limit)
{
    while (stmts->recent.len > limit)
        stmts_drop(stmts, stmt_of(list_last(&stmts->recent)), true);
}

bool stmts_take(struct stmts *stmts, struct stmt *stmt)
{
    if (map_get(&stmts->map, stmt->sql, stmt->node.key_len) != &stmt->node)
        return false;
    map_remove(&stmts->map, &stmt->node);
    list_remove(&stmts->recent, &stmt->order);
    return true;
}

void stmts_drop(struct stmts *stmts, struct stmt *stmt, bool is_at_server)
{
    if (stmts_take(stmts, stmt))
        stmts_give_up(stmts, stmt, is_at_server);
}

void stmts_give_up(struct stmts *stmts, struct stmt *stmt, bool is_at_server)
{
    if (is_at_server)
        stmts_doom(stmts, stmt);
    else
        stmt_free(stmt);
}

void stmts_doom(struct stmts *stmts, struct stmt *stmt)
{
    list_push_back(&stmts->doomed, &stmt->order);
}

void stmts_clear(struct stmts *stmts)
{
    struct list_node *node;

    stmts_trim(stmts, 0);
    while ((node = list_pop_front(&stmts->doomed)) != NULL)
        stmt_free(stmt_of(node));
}
