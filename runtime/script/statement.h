/* statement.h - from a script's SQL and parameters to a request and back. */
#ifndef TIDEPOOL_SCRIPT_STATEMENT_H
#define TIDEPOOL_SCRIPT_STATEMENT_H

#include "script/bind_pool.h"

/* What the caller wants of the result. */
enum statement_shape { SHAPE_ROWS, SHAPE_ONE, SHAPE_EXEC, SHAPES };

/*
 * Fills task->pg, for the pool of box or a lease of it, from the arguments: at
 * index the SQL or { sql, timeout_ms = }, then the parameters.  Everything is
 * copied to task->scratch.  Raises at the script's line for what cannot be
 * sent.
 */
void statement_fill(lua_State *L, struct task *task,
                    const struct script_pool *box, int index,
                    enum statement_shape shape);

/* Pushes the err of an error of the server's, with its fields; frees rows. */
void push_server_err(lua_State *L, struct pg_rows *rows,
                     const struct err_text *text);

/* The tail of a call whose request was sent (ERR_OK) or refused. */
int statement_park(lua_State *L, struct task *task, struct script_pool *box,
                   enum err err);

#endif
