/* ghost.c - see ghost.h.  Where a pooler is between, none of the processes is
 * there, which counts as gone. */
#include "pg/ghost.h"

#include "pg/link.h"
#include "pg/words.h"
#include "pool/ghost.h"

#include <stdlib.h>
#include <string.h>

bool ghost_ask(struct pg_link *link)
{
    const int32_t *pids;
    size_t count = pool_ghosts(&link->conn, &pids);
    struct buf sql = { 0 };
    bool is_sent;

    if (count == 0)
        return false;
    link->ghosts = malloc(count * sizeof(*pids));
    if (link->ghosts == NULL)
        return false;
    memcpy(link->ghosts, pids, count * sizeof(*pids));
    link->n_ghosts = count;
    buf_printf(&sql, "SELECT pid FROM pg_catalog.pg_stat_activity "
                     "WHERE pid IN (");
    for (size_t i = 0; i < count; i++)
        buf_printf(&sql, "%s%d", i > 0 ? "," : "", (int)pids[i]);
    buf_printf(&sql, ")");
    buf_put_char(&sql, '\0');
    is_sent = !buf_failed(&sql) && PQsendQuery(link->pq, sql.data) == 1;
    buf_free(&sql);
    if (!is_sent)
        ghost_forget(link);
    return is_sent;
}

void ghost_forget(struct pg_link *link)
{
    free(link->ghosts);
    link->ghosts = NULL;
    link->n_ghosts = 0;
}

static void strike(struct pg_link *link, int pid)
{
    for (size_t i = 0; i < link->n_ghosts; i++)
        if (link->ghosts[i] == pid)
            link->ghosts[i] = link->ghosts[--link->n_ghosts];
}

/* An error that does not end the session is no sign of death: who may not ask
 * has nobody to wait for. */
bool ghost_answer(struct pg_link *link, const PGresult *answer)
{
    if (link->ghosts == NULL || link_is_fatal(answer))
        return false;
    for (int row = 0; row < PQntuples(answer); row++)
        strike(link, atoi(PQgetvalue(answer, row, 0)));
    pool_bury(&link->conn, link->ghosts, link->n_ghosts);
    ghost_forget(link);
    return true;
}
