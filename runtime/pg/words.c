/* words.c - see words.h. */
#include "pg/words.h"

#include "pg/link.h"
#include "pg/query.h"

#include <string.h>

static const char *field(const PGresult *error, int code)
{
    const char *text = error != NULL ? PQresultErrorField(error, code) : NULL;

    return text != NULL ? text : "";
}

void link_error_text(const struct pg_link *link, const PGresult *error,
                     struct err_text *text)
{
    const char *message = field(error, PG_DIAG_MESSAGE_PRIMARY);
    const char *sqlstate = field(error, PG_DIAG_SQLSTATE);

    if (message[0] == '\0' && error != NULL)
        message = PQresultErrorMessage(error);
    if (message[0] == '\0') /* more lines guess at reasons */
        message = PQerrorMessage(link->pq);
    if (message[0] == '\0')
        message = err_sentence(ERR_LOST);
    err_text_set(text, "%.*s", (int)strcspn(message, "\n"), message);
    memset(text->sqlstate, 0, sizeof(text->sqlstate));
    if (strlen(sqlstate) == SQLSTATE_LEN)
        memcpy(text->sqlstate, sqlstate, SQLSTATE_LEN);
}

bool link_is_fatal(const PGresult *error)
{
    const char *severity = field(error, PG_DIAG_SEVERITY_NONLOCALIZED);

    return strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0;
}

bool link_has_sqlstate(const PGresult *error, const char *sqlstate)
{
    return strcmp(field(error, PG_DIAG_SQLSTATE), sqlstate) == 0;
}

bool link_is_raised_by(const PGresult *error, const char *function)
{
    return strcmp(field(error, PG_DIAG_SOURCE_FUNCTION), function) == 0;
}

bool link_is_plan_old(const PGresult *error)
{
    return link_has_sqlstate(error, "0A000") &&
           link_is_raised_by(error, "RevalidateCachedQuery");
}

bool link_is_garbled(const PGresult *answer)
{
    return answer != NULL && query_is_error(answer) &&
           PQresultErrorField(answer, PG_DIAG_SQLSTATE) == NULL;
}
