/* statement.c - see statement.h. */
#include "script/statement.h"
#include "base/number.h"
#include "pg/param.h"
#include "pg/request.h"
#include "pg/rows.h"
#include "pg/types.h"
#include "pg/value.h"
#include "script/bind_rows.h"
#include "script/err.h"
#include "script/failure.h"
#include "script/json.h"
#include "script/param_value.h"
#include "script/park.h"
#include "script/row_form.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- arguments */

/* text is an offset into scratch until fix_up(). */
static void put_param(struct task *task, struct pg_param *param,
                      const char *text, size_t len)
{
    param->text = (const char *)(uintptr_t)task->scratch.len;
    param->len = len;
    buf_put(&task->scratch, text, len);
}

static void put_json(lua_State *L, struct task *task, int index, int number,
                     struct pg_param *param)
{
    size_t start = task->scratch.len;
    const char *failure = json_put_value(L, index, &task->scratch);

    if (failure != NULL)
        raise_at_script(L, "parameter %d: %s", number, failure);
    param->kind = PG_PARAM_JSON;
    param->text = (const char *)(uintptr_t)start;
    param->len = task->scratch.len - start;
}

/* JSON, unless the table says what it is. */
static void fill_table(lua_State *L, struct task *task, int index, int number,
                       struct pg_param *param)
{
    enum pg_param_kind kind = PG_PARAM_JSON;
    const char *bytes;
    size_t len;

    if (!param_value_open(L, index, &kind)) {
        put_json(L, task, index, number, param);
        return;
    }
    if (kind == PG_PARAM_BYTES) {
        bytes = lua_tolstring(L, -1, &len);
        put_param(task, param, bytes, len);
    } else {
        put_json(L, task, lua_gettop(L), number, param);
    }
    param->kind = kind;
    lua_pop(L, 1);
}

static void fill_param(lua_State *L, struct task *task, int index, int number,
                       struct pg_param *param)
{
    char digits[NUMBER_TEXT_MAX];
    const char *text;
    size_t len;

    param->kind = PG_PARAM_TEXT;
    switch (lua_type(L, index)) {
    case LUA_TLIGHTUSERDATA: /* tide.null */
    case LUA_TNIL: param->kind = PG_PARAM_NULL; return;
    case LUA_TBOOLEAN:
        text = lua_toboolean(L, index) ? "true" : "false";
        put_param(task, param, text, strlen(text));
        return;
    case LUA_TNUMBER:
        len = number_text(digits, lua_tonumber(L, index));
        put_param(task, param, digits, len);
        return;
    case LUA_TSTRING:
        text = lua_tolstring(L, index, &len);
        if (memchr(text, '\0', len) != NULL)
            raise_at_script(
                L,
                "parameter %d holds a zero byte, which Postgres' text "
                "cannot; tide.bytes(...) is for bytea",
                number);
        put_param(task, param, text, len);
        return;
    case LUA_TTABLE: fill_table(L, task, index, number, param); return;
    default:
        raise_at_script(L, "parameter %d: a %s cannot be sent to Postgres",
                        number, luaL_typename(L, index));
    }
}

/* Makes room; false when there is no memory. */
static bool has_params(struct task *task, unsigned count)
{
    struct pg_param *params;

    if (count <= task->params_cap)
        return true;
    params = realloc(task->params, count * sizeof(*params));
    if (params == NULL)
        return false;
    task->params = params;
    task->params_cap = count;
    return true;
}

/* The value on top. */
static bool check_share(lua_State *L)
{
    if (lua_type(L, -1) != LUA_TBOOLEAN)
        raise_at_script(L, "share: true or false expected, got %s",
                        luaL_typename(L, -1));
    return lua_toboolean(L, -1);
}

static enum pg_int8 check_int8(lua_State *L)
{
    const char *text =
        lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";

    if (strcmp(text, "number") == 0)
        return PG_INT8_NUMBER;
    if (strcmp(text, "string") == 0)
        return PG_INT8_STRING;
    raise_at_script(L, "int8: \"number\" or \"string\" expected, got %s",
                    text[0] ? text : luaL_typename(L, -1));
}

static bool check_null(lua_State *L)
{
    if (lua_type(L, -1) != LUA_TLIGHTUSERDATA || lua_touserdata(L, -1) != NULL)
        raise_at_script(L, "null: tide.null expected, got %s",
                        luaL_typename(L, -1));
    return true;
}

/* { sql, timeout_ms = n, share = false, int8 =, null = }: leaves the SQL at
 * index. */
static void take_options(lua_State *L, int index, struct task *task)
{
    struct pg_request *request = &task->pg;

    lua_pushnil(L);
    while (lua_next(L, index) != 0) {
        const char *key =
            lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        if (strcmp(key, "timeout_ms") == 0)
            request->timeout_ns = check_timeout_ms(L, lua_gettop(L));
        else if (strcmp(key, "share") == 0)
            request->may_share = check_share(L);
        else if (strcmp(key, "int8") == 0)
            task->form.int8 = check_int8(L);
        else if (strcmp(key, "null") == 0)
            task->form.has_nulls = check_null(L);
        else if (lua_type(L, -2) != LUA_TNUMBER || lua_tonumber(L, -2) != 1)
            raise_at_script(L, "unknown statement option: %s",
                            key[0] ? key : luaL_typename(L, -2));
        lua_pop(L, 1);
    }
    lua_rawgeti(L, index, 1);
    lua_replace(L, index);
}

static void fix_up(struct task *task)
{
    struct pg_request *request = &task->pg;

    request->sql = task->scratch.data;
    request->params = task->params;
    for (unsigned i = 0; i < request->n_params; i++)
        if (task->params[i].kind != PG_PARAM_NULL)
            task->params[i].text =
                task->scratch.data + (uintptr_t)task->params[i].text;
}

static void on_statement(struct pg_request *request, enum err err,
                         struct pg_rows *rows, const struct err_text *text);

/*
 * The text with a comment that says for whom it runs, where that is wanted and
 * the request is sampled.  Such a text comes once only: it is not prepared to
 * be used again, nor does it share a connection with statements that are.  One
 * that has a comment of its own stays as it is, as sqlcommenter wants it, and
 * lest ours stands inside of that.
 */
static void put_sql(struct task *task, const struct script_pool *box,
                    const char *sql, size_t len)
{
    struct buf *out = &task->scratch;
    struct origin *origin = NULL;

    buf_put(out, sql, len);
    if (box->trace == TRACE_COMMENT)
        origin = task_origin(task);
    if (origin != NULL && origin_is_sampled(&task->vm->origins, origin) &&
        memmem(sql, len, "--", 2) == NULL &&
        memmem(sql, len, "/*", 2) == NULL) {
        origin_put_comment(&task->vm->origins, origin, out);
        task->pg.is_once = true;
        task->pg.may_share = false;
    }
    task->pg.sql_len = out->len;
    buf_put_char(out, '\0');
}

void statement_fill(lua_State *L, struct task *task,
                    const struct script_pool *box, int index,
                    enum statement_shape shape)
{
    int top = lua_gettop(L);
    unsigned count = (unsigned)(top > index ? top - index : 0);
    struct pg_request *request = &task->pg;
    const char *sql;
    size_t len;

    memset(request, 0, sizeof(*request));
    request->item.class = task->class;
    request->may_share = true;
    task->form = (struct row_form){ .int8 = PG_INT8_EXACT };
    task->link = NULL;
    buf_clear(&task->scratch);
    if (lua_istable(L, index))
        take_options(L, index, task);
    if (lua_type(L, index) != LUA_TSTRING)
        raise_at_script(L, "SQL text expected, got %s",
                        luaL_typename(L, index));
    sql = lua_tolstring(L, index, &len);
    put_sql(task, box, sql, len);
    if (!has_params(task, count))
        luaL_error(L, "out of memory: %d parameters", (int)count);
    for (unsigned i = 0; i < count; i++)
        fill_param(L, task, index + 1 + (int)i, (int)i + 1, &task->params[i]);
    if (buf_failed(&task->scratch))
        luaL_error(L, "out of memory: the statement is too large");
    request->on_done = on_statement;
    request->n_params = count;
    task->shape = (int)shape;
    fix_up(task);
    request->site = request->sql;
}

/* ---- results */

static void push_outcome(lua_State *L, struct task *task, struct pg_rows *rows)
{
    if (task->shape == SHAPE_ROWS) {
        rows_push(L, task->vm, rows, task->form);
        return;
    }
    if (task->shape == SHAPE_EXEC)
        lua_pushnumber(L, (lua_Number)pg_rows_affected(rows));
    else if (pg_rows_count(rows) == 0)
        lua_pushnil(L);
    else
        row_push(L, rows, 0, task->form);
    pg_rows_drop(rows, task->vm->loop);
    pg_types_unref(task->form.types);
    task->form.types = NULL;
}

/* ---- rows with types that users made: the server is asked for them once */

static void drop_waiting_rows(struct task *task)
{
    pg_rows_free(task->rows);
    task->rows = NULL;
    pg_types_unref(task->form.types);
    task->form.types = NULL;
}

static void cancel_types(struct task *task)
{
    failure_count(task->operand, ERR_CANCELLED);
    pg_request_cancel(&task->pg);
    drop_waiting_rows(task);
}

/* Without an answer they are text, as what is no array is. */
static void on_types(struct pg_request *request, enum err err,
                     struct pg_rows *answer, const struct err_text *text)
{
    struct task *task = container_of(request, struct task, pg);
    const struct script_pool *box = task->operand;
    struct pg_rows *rows = task->rows;
    bool is_known =
        err == ERR_OK && pg_types_learn(task->form.types, rows, answer);

    if (!is_known)
        log_event(&task->vm->log, LOG_WARN,
                  "types of columns are not known: arrays of them are text",
                  LOG_STR("pool", box->name),
                  LOG_STR("error", text != NULL ? text->text : err_code(err)));
    pg_rows_free(answer);
    task->rows = NULL;
    push_outcome(task_results(task), task, rows);
    task_wake(task);
}

/* Asks, where rows came from, for types that are not known; false when there
 * are none, or nobody can be asked. */
static bool ask_for_types(struct task *task, struct pg_rows *rows)
{
    struct script_pool *box = task->operand;
    struct pg_request *request = &task->pg;
    enum err err;

    if (box->pool == NULL || !has_params(task, 1))
        return false;
    task->form.types = pg_pool_types(box->pg);
    buf_clear(&task->scratch);
    if (task->form.types == NULL ||
        pg_types_know(task->form.types, rows, &task->scratch) ||
        buf_failed(&task->scratch))
        return false;
    task->params[0] = (struct pg_param){ .kind = PG_PARAM_TEXT,
                                         .text = task->scratch.data,
                                         .len = task->scratch.len };
    memset(request, 0, sizeof(*request));
    request->item.class = task->class;
    request->on_done = on_types;
    request->sql = PG_TYPES_SQL;
    request->sql_len = strlen(PG_TYPES_SQL);
    request->site = request->sql;
    request->params = task->params;
    request->n_params = 1;
    err = task->link != NULL ? pg_link_send(task->link, request)
                             : pg_pool_send(box->pg, request);
    if (err != ERR_OK)
        return false;
    task->rows = rows;
    task->cancel = cancel_types;
    return true;
}

static void set_field(lua_State *L, const char *key, const char *text)
{
    if (text[0] == '\0')
        return;
    lua_pushstring(L, text);
    lua_setfield(L, -2, key);
}

void push_server_err(lua_State *L, struct pg_rows *rows,
                     const struct err_text *text)
{
    struct pg_error_fields fields;

    push_err(L, ERR_SERVER, text);
    pg_rows_error(rows, &fields);
    set_field(L, "detail", fields.detail);
    set_field(L, "hint", fields.hint);
    set_field(L, "position", fields.position);
    set_field(L, "schema", fields.schema);
    set_field(L, "table", fields.table);
    set_field(L, "column", fields.column);
    set_field(L, "constraint", fields.constraint);
    set_field(L, "context", fields.context);
    pg_rows_free(rows);
}

/* Of a request that has no answer of the server's. */
static void push_unanswered(lua_State *L, struct task *task, enum err err,
                            const struct err_text *text)
{
    struct script_pool *box = task->operand;

    if (!task->pg.was_sent && box->pool != NULL && task->pg.pg != NULL &&
        (err == ERR_TIMEOUT || err == ERR_REFUSED || err == ERR_BUSY)) {
        push_refusal(L, box, &task->pg.waiter, err);
        return;
    }
    push_failure(L, box, err, text);
    if (task->pg.was_sent)
        set_field(L, "outcome", "unknown");
}

static void on_statement(struct pg_request *request, enum err err,
                         struct pg_rows *rows, const struct err_text *text)
{
    struct task *task = container_of(request, struct task, pg);
    lua_State *L;

    if (err == ERR_OK && task->shape != SHAPE_EXEC &&
        pg_rows_need_types(rows) && ask_for_types(task, rows))
        return;
    L = task_results(task);
    if (err == ERR_OK) {
        push_outcome(L, task, rows);
    } else if (err == ERR_BADARG) {
        lua_pushstring(L, text->text);
        task_wake_raise(task);
        return;
    } else {
        lua_pushnil(L);
        if (err == ERR_SERVER) {
            failure_count(task->operand, err);
            push_server_err(L, rows, text);
        } else {
            push_unanswered(L, task, err, text);
        }
    }
    task_wake(task);
}

static void cancel_statement(struct task *task)
{
    failure_count(task->operand, ERR_CANCELLED);
    pg_request_cancel(&task->pg);
}

int statement_park(lua_State *L, struct task *task, struct script_pool *box,
                   enum err err)
{
    task->operand = box;
    if (err != ERR_OK)
        return return_refusal(L, box, NULL, err);
    return task_park(L, task, cancel_statement);
}
