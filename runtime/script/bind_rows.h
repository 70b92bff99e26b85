/* bind_rows.h - results of statements as Lua values. */
#ifndef TIDEPOOL_SCRIPT_BIND_ROWS_H
#define TIDEPOOL_SCRIPT_BIND_ROWS_H

#include "script/row_form.h"
#include "script/task.h"

/* Pushes a rows userdata that owns result, and form's reference to types:
 * #rows, rows[i], rows:columns(). */
void rows_push(lua_State *L, struct vm *vm, struct pg_rows *result,
               struct row_form form);

/* Pushes the table of one row. */
void row_push(lua_State *L, const struct pg_rows *result, unsigned row,
              struct row_form form);

bool is_rows(lua_State *L, int index);
/* No row of it was made into a Lua value yet: rows_put_json() cannot fail. */
bool rows_are_untouched(lua_State *L, int index);
/* Appends rows as JSON.  Returns NULL, or what a script put into a row that
 * cannot be written. */
const char *rows_put_json(lua_State *L, int index, struct buf *out);

#endif
