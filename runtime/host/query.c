/* query.c - see tidepool.h: statements from C, their parameters and rows. */
#include "host/operation.h"

#include "base/buf.h"
#include "base/number.h"
#include "pg/array.h"
#include "pg/param.h"
#include "pg/pg.h"
#include "pg/request.h"
#include "pg/rows.h"
#include "pg/value.h"

#include <stdlib.h>
#include <string.h>

_Static_assert((int)TIDE_TEXT == (int)PG_VALUE_TEXT &&
                   (int)TIDE_ARRAY == (int)PG_VALUE_ARRAY,
               "tidepool.h has the kinds of pg/param.h");

/* A statement's texts, behind its operation, which goes with them. */
struct statement {
    struct buf texts;
    struct pg_param *params;
};

static struct statement *statement_of(struct operation *operation)
{
    return (struct statement *)(void *)(operation + 1);
}

static void statement_free(struct operation *operation)
{
    struct statement *statement = statement_of(operation);

    buf_free(&statement->texts);
    free(statement->params);
    statement->params = NULL;
}

/* ---- parameters */

/* text is an offset into texts until fix_up(). */
static void put(struct statement *statement, struct pg_param *param,
                const char *text, size_t len)
{
    param->text = (const char *)(uintptr_t)statement->texts.len;
    param->len = len;
    buf_put(&statement->texts, text, len);
}

static void put_integer(struct statement *statement, struct pg_param *param,
                        int64_t integer)
{
    size_t start = statement->texts.len;

    buf_printf(&statement->texts, "%lld", (long long)integer);
    param->text = (const char *)(uintptr_t)start;
    param->len = statement->texts.len - start;
}

static enum err put_text(struct statement *statement, struct pg_param *param,
                         const tide_value *value, size_t number,
                         struct err_text *why)
{
    if (value->text == NULL && value->len > 0) {
        err_text_set(why, "parameter %zu has a length and no text", number);
        return ERR_BADARG;
    }
    if (param->kind != PG_PARAM_BYTES && value->len > 0 &&
        memchr(value->text, '\0', value->len) != NULL) {
        err_text_set(why,
                     "parameter %zu holds a zero byte, which Postgres' text "
                     "cannot; TIDE_BYTES is for bytea",
                     number);
        return ERR_BADARG;
    }
    put(statement, param, value->len > 0 ? value->text : "", value->len);
    return ERR_OK;
}

static enum err put_param(struct statement *statement, struct pg_param *param,
                          const tide_value *value, size_t number,
                          struct err_text *why)
{
    char digits[NUMBER_TEXT_MAX];
    const char *text;

    param->kind = PG_PARAM_TEXT;
    switch (value->type) {
    case TIDE_NULL: param->kind = PG_PARAM_NULL; return ERR_OK;
    case TIDE_BOOL:
        text = value->truth ? "true" : "false";
        put(statement, param, text, strlen(text));
        return ERR_OK;
    case TIDE_INT: put_integer(statement, param, value->integer); return ERR_OK;
    case TIDE_FLOAT:
        put(statement, param, digits, number_text(digits, value->number));
        return ERR_OK;
    case TIDE_TEXT: break;
    case TIDE_JSON: param->kind = PG_PARAM_JSON; break;
    case TIDE_BYTES: param->kind = PG_PARAM_BYTES; break;
    case TIDE_ARRAY: param->kind = PG_PARAM_ARRAY; break;
    default:
        err_text_set(why, "parameter %zu: no tide_type is %d", number,
                     (int)value->type);
        return ERR_BADARG;
    }
    return put_text(statement, param, value, number, why);
}

static enum err fill(struct operation *operation, const char *sql,
                     const tide_value *params, size_t n, struct err_text *why)
{
    struct statement *statement = statement_of(operation);
    struct pg_request *request = &operation->pg;
    enum err err = ERR_OK;

    buf_put(&statement->texts, sql, strlen(sql) + 1);
    statement->params = calloc(n > 0 ? n : 1, sizeof(*statement->params));
    if (statement->params == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < n && err == ERR_OK; i++)
        err =
            put_param(statement, &statement->params[i], &params[i], i + 1, why);
    if (err == ERR_OK && buf_failed(&statement->texts))
        err = ERR_NOMEM;
    for (size_t i = 0; i < n && err == ERR_OK; i++)
        if (statement->params[i].kind != PG_PARAM_NULL)
            statement->params[i].text =
                statement->texts.data + (uintptr_t)statement->params[i].text;
    request->sql = statement->texts.data;
    request->sql_len = strlen(sql);
    request->params = statement->params;
    request->n_params = (unsigned)n;
    return err;
}

/* ---- a statement */

static void on_done(struct pg_request *request, enum err err,
                    struct pg_rows *rows, const struct err_text *text)
{
    struct operation *operation = container_of(request, struct operation, pg);

    operation->rows = rows;
    host_operation_end_request(operation, err, request->was_sent,
                               &request->waiter, text);
}

static enum err send(struct operation *operation, const tide_how *how)
{
    struct pg_request *request = &operation->pg;

    request->on_done = on_done;
    request->site = operation->site;
    request->may_share = !how->is_alone;
    request->timeout_ns = host_how_timeout_ns(how);
    if (operation->lease == NULL)
        return pg_pool_send(operation->from->pg, request);
    return pg_link_send(pg_link_of(operation->lease->conn), request);
}

static const struct err_text is_busy = {
    .text = "another statement runs on this lease"
};

int tide_query(tide_pool *pool, const tide_how *how, const char *sql,
               const tide_value *params, size_t n, tide_answer_fn fn,
               uint64_t *id)
{
    struct err_text why = { .text = "" };
    struct operation *operation;
    tide_how own;
    enum err err = ERR_BADARG;
    int code = host_operation_new(&operation, sizeof(struct statement), pool,
                                  how, &own, fn);

    if (code != TIDE_OK)
        return code;
    operation->kind = OPERATION_QUERY;
    if (pool->kind != POOL_POSTGRES)
        err_text_set(&why, "pool \"%s\" is of Redis", pool->name);
    else if (sql == NULL || (params == NULL && n > 0) || n > UINT16_MAX)
        err_text_set(&why, "SQL, and at most 65535 parameters expected");
    else
        err = fill(operation, sql, params, n, &why);
    if (err == ERR_OK)
        err = send(operation, &own);
    if (err == ERR_BUSY && operation->lease != NULL)
        why = is_busy;
    if (err != ERR_OK) {
        statement_free(operation);
        return host_operation_refuse(operation, err, &why);
    }
    host_operation_begun(operation, id);
    return TIDE_OK;
}

void host_query_leave(struct operation *operation)
{
    pg_request_cancel(&operation->pg);
}

void host_query_tell(struct operation *operation, tide_answer *answer)
{
    struct pg_error_fields fields;

    if (operation->err == ERR_SERVER) {
        pg_rows_error(operation->rows, &fields);
        answer->detail = fields.detail;
        answer->hint = fields.hint;
        answer->table = fields.table;
        answer->column = fields.column;
        answer->constraint = fields.constraint;
    } else {
        answer->rows = (tide_rows *)(void *)operation->rows;
    }
    operation->fn(operation->ud, answer);
    pg_rows_drop(operation->rows, operation->runtime->vm->loop);
    statement_free(operation);
}

/* ---- rows */

tide_rows *tide_take_rows(const tide_answer *answer)
{
    struct operation *operation =
        container_of(answer, struct told, answer)->operation;
    tide_rows *rows = answer->rows;

    if (operation->rows == NULL)
        return NULL;
    if (rows != NULL)
        operation->rows = NULL;
    return rows;
}

static struct pg_rows *own(tide_rows *rows)
{
    return (struct pg_rows *)(void *)rows;
}

static const struct pg_rows *seen(const tide_rows *rows)
{
    return (const struct pg_rows *)(const void *)rows;
}

void tide_rows_free(tide_rows *rows)
{
    pg_rows_free(own(rows));
}

size_t tide_rows_count(const tide_rows *rows)
{
    return pg_rows_count(seen(rows));
}

size_t tide_rows_columns(const tide_rows *rows)
{
    return pg_rows_columns(seen(rows));
}

uint64_t tide_rows_affected(const tide_rows *rows)
{
    return pg_rows_affected(seen(rows));
}

const char *tide_rows_name(const tide_rows *rows, size_t column)
{
    if (column >= pg_rows_columns(seen(rows)))
        return NULL;
    return pg_rows_column(seen(rows), (unsigned)column);
}

int tide_rows_column(const tide_rows *rows, const char *name)
{
    for (unsigned i = 0; i < pg_rows_columns(seen(rows)); i++)
        if (strcmp(pg_rows_column(seen(rows), i), name) == 0)
            return (int)i;
    return -1;
}

/* ---- values */

static tide_value value_of(const struct pg_value *value)
{
    return (tide_value){ .type = (enum tide_type)value->kind,
                         .truth = value->truth,
                         .integer = value->integer,
                         .number = value->kind == PG_VALUE_INT
                                       ? (double)value->integer
                                       : value->number,
                         .text = value->text != NULL ? value->text : "",
                         .len = value->len,
                         .oid = value->type };
}

int tide_rows_value(const tide_rows *rows, size_t row, size_t column,
                    tide_value *out)
{
    struct pg_value value;

    *out = tide_null();
    if (row >= pg_rows_count(seen(rows)) ||
        column >= pg_rows_columns(seen(rows)))
        return TIDE_BADARG;
    pg_rows_value(seen(rows), (unsigned)row, (unsigned)column, NULL, &value);
    *out = value_of(&value);
    return TIDE_OK;
}

/* Of a row, to be read again. */
static struct pg_value text_of(const tide_value *value)
{
    return (struct pg_value){ .kind = (enum pg_value_kind)value->type,
                              .text = value->text,
                              .len = value->len,
                              .type = value->oid };
}

size_t tide_value_bytes(const tide_value *value, void *out)
{
    struct pg_value bytes = text_of(value);

    return value->type == TIDE_BYTES ? pg_value_bytes(&bytes, out) : 0;
}

struct walk {
    unsigned depth;
    void (*fn)(void *ud, unsigned depth, const tide_value *element);
    void *ud;
};

static void on_begin(void *ud)
{
    ((struct walk *)ud)->depth++;
}

static void on_element(void *ud, const struct pg_value *value)
{
    struct walk *walk = ud;
    tide_value element = value_of(value);

    walk->fn(walk->ud, walk->depth, &element);
}

static void on_array_end(void *ud)
{
    ((struct walk *)ud)->depth--;
}

int tide_array_each(const tide_value *array,
                    void (*fn)(void *ud, unsigned depth,
                               const tide_value *element),
                    void *ud)
{
    struct walk walk = { .fn = fn, .ud = ud };
    struct pg_array_visitor visitor = { .begin = on_begin,
                                        .element = on_element,
                                        .end = on_array_end,
                                        .ud = &walk };
    struct pg_value text = text_of(array);

    if (array->type != TIDE_ARRAY || pg_array_walk(&text, &visitor) != ERR_OK)
        return TIDE_BADARG;
    return TIDE_OK;
}
