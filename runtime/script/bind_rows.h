/* bind_rows.h - results of statements as Lua values. */
#ifndef TIDEPOOL_SCRIPT_BIND_ROWS_H
#define TIDEPOOL_SCRIPT_BIND_ROWS_H

#include "script/vm.h"

struct pg_rows;

/* Pushes a rows userdata that owns result: #rows, rows[i], rows:columns(). */
void rows_push(lua_State *L, struct vm *vm, struct pg_rows *result);

/* Pushes the table of one row; NULL columns are absent. */
void row_push(lua_State *L, const struct pg_rows *result, unsigned row);

/* When the value at index is rows, appends it as JSON and returns true. */
bool rows_put_json(lua_State *L, int index, struct buf *out);

#endif
