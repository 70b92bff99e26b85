/* heed.c - see heed.h. */
#include "pg/heed.h"

#include "pg/link.h"
#include "pool/driver.h"

#include <string.h>

static bool is_on(const struct pg_link *link, const char *parameter)
{
    const char *value = PQparameterStatus(link->pq, parameter);

    return value != NULL && strcmp(value, "on") == 0;
}

/*
 * 25006, a write where none may be: of the server, or of a transaction that
 * was begun so, or of a session that was set so?  Servers tell what they are
 * from Postgres 14 on; of older ones only what failed outside of a transaction
 * is believed.
 */
static bool is_server_read_only(const struct pg_link *link)
{
    if (is_on(link, "in_hot_standby"))
        return true;
    if (link->is_read_only || link->is_touched)
        return false;
    if (PQparameterStatus(link->pq, "default_transaction_read_only") != NULL)
        return is_on(link, "default_transaction_read_only");
    return PQtransactionStatus(link->pq) != PQTRANS_INERROR;
}

/* Class 08, and not an error of ours (08P01) or of a foreign server's: then
 * the session goes on. */
static bool is_lost(const char *sqlstate, bool is_fatal)
{
    return is_fatal && strncmp(sqlstate, "08", 2) == 0;
}

void link_heed(struct pg_link *link, const struct err_text *text, bool is_fatal)
{
    static const char *const going[] = { "57P01", "57P02", "57P03" };
    bool is_outdated = is_lost(text->sqlstate, is_fatal);

    for (size_t i = 0; i < sizeof(going) / sizeof(*going); i++)
        if (strcmp(text->sqlstate, going[i]) == 0)
            is_outdated = true;
    if (strcmp(text->sqlstate, "25006") == 0)
        is_outdated = is_server_read_only(link);
    if (is_outdated)
        pool_outdate(&link->conn, text, link_now(link));
}
