/* param.c - see param_inside.h. */
#include "pg/param_inside.h"

#include "pg/param.h"
#include "pg/type.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    DIMENSIONS_MAX = 6,      /* Postgres' own limit */
    PARAMS_MAX = 65535,      /* the protocol's */
    BYTES_KEPT = 1024 * 1024 /* for the next statement */
};

static const size_t NO_OFFSET = (size_t)-1;

/* ---- JSON arrays to array literals */

/* at <= end; what was read is in front of at. */
struct reader {
    const char *at;
    const char *end;
    struct buf *out;
    bool is_json; /* elements are JSON themselves */
    struct err_text *why;
};

static enum err malformed(struct reader *reader, const char *what)
{
    err_text_set(reader->why, "is no JSON array: %s", what);
    return ERR_BADARG;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static char peek(struct reader *reader)
{
    while (reader->at < reader->end && is_space(*reader->at))
        reader->at++;
    return reader->at < reader->end ? *reader->at : '\0';
}

static bool take(struct reader *reader, char c)
{
    if (peek(reader) != c)
        return false;
    reader->at++;
    return true;
}

static void put_quoted_char(struct buf *out, char c)
{
    if (c == '"' || c == '\\')
        buf_put_char(out, '\\');
    buf_put_char(out, c);
}

static void put_quoted(struct buf *out, const char *text, size_t len)
{
    buf_put_char(out, '"');
    for (size_t i = 0; i < len; i++)
        put_quoted_char(out, text[i]);
    buf_put_char(out, '"');
}

/* Behind the string whose opening quote is at at; NULL: it has no end. */
static const char *string_end(const char *at, const char *end)
{
    for (at++; at < end; at++) {
        if (*at == '"')
            return at + 1;
        if (*at == '\\')
            at++;
    }
    return NULL;
}

/* Behind the object or array at at, whatever is in it; NULL: no end. */
static const char *nested_end(const char *at, const char *end)
{
    size_t depth = 0;

    while (at != NULL && at < end) {
        char c = *at;

        if (c == '"') {
            at = string_end(at, end);
            continue;
        }
        at++;
        if (c == '{' || c == '[')
            depth++;
        if ((c == '}' || c == ']') && --depth == 0)
            return at;
    }
    return NULL;
}

static const char *scalar_end(const char *at, const char *end)
{
    while (at < end && *at != ',' && *at != ']' && *at != '}' && !is_space(*at))
        at++;
    return at;
}

static const char *value_end(const char *at, const char *end)
{
    switch (*at) {
    case '"': return string_end(at, end);
    case '{':
    case '[': return nested_end(at, end);
    default: return scalar_end(at, end);
    }
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four digits of \uXXXX; -1 for none. */
static long hex4(const char *at, const char *end)
{
    long code = 0;

    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(at[i]);

        if (digit < 0)
            return -1;
        code = code * 16 + digit;
    }
    return code;
}

static void put_utf8(struct buf *out, long code)
{
    if (code < 0x80) {
        put_quoted_char(out, (char)code);
        return;
    }
    if (code < 0x800) {
        buf_put_char(out, (char)(0xC0 | code >> 6));
    } else {
        if (code < 0x10000) {
            buf_put_char(out, (char)(0xE0 | code >> 12));
        } else {
            buf_put_char(out, (char)(0xF0 | code >> 18));
            buf_put_char(out, (char)(0x80 | (code >> 12 & 0x3F)));
        }
        buf_put_char(out, (char)(0x80 | (code >> 6 & 0x3F)));
    }
    buf_put_char(out, (char)(0x80 | (code & 0x3F)));
}

/* at is behind \u; the place behind the digits, or NULL. */
static const char *put_unicode(struct buf *out, const char *at, const char *end)
{
    long code = hex4(at, end);

    at += 4;
    if (code <= 0 || (code >= 0xDC00 && code <= 0xDFFF))
        return NULL;
    if (code >= 0xD800 && code <= 0xDBFF) {
        long low = end - at >= 6 && at[0] == '\\' && at[1] == 'u'
                       ? hex4(at + 2, end)
                       : -1;

        if (low < 0xDC00 || low > 0xDFFF)
            return NULL;
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        at += 6;
    }
    put_utf8(out, code);
    return at;
}

/* A JSON string, quotes included, as a quoted element. */
static enum err put_string(struct reader *reader, const char *at,
                           const char *end)
{
    static const char escapes[] = "bfnrt\"\\/";
    static const char meant[] = "\b\f\n\r\t\"\\/";
    struct buf *out = reader->out;

    buf_put_char(out, '"');
    for (at++; at < end - 1;) {
        const char *escape;

        if (*at != '\\') {
            put_quoted_char(out, *at++);
            continue;
        }
        if (at[1] == 'u') {
            at = put_unicode(out, at + 2, end - 1);
            if (at == NULL)
                return malformed(reader, "a character that cannot be");
            continue;
        }
        escape = strchr(escapes, at[1]);
        if (escape == NULL || *escape == '\0')
            return malformed(reader, "an unknown escape in a string");
        put_quoted_char(out, meant[escape - escapes]);
        at += 2;
    }
    buf_put_char(out, '"');
    return ERR_OK;
}

static bool token_is(const char *at, const char *end, const char *text)
{
    return strlen(text) == (size_t)(end - at) &&
           memcmp(at, text, (size_t)(end - at)) == 0;
}

/* Near enough: nothing in it means anything in an array literal. */
static bool is_number(const char *at, const char *end)
{
    while (at < end && ((*at >= '0' && *at <= '9') || *at == '-' ||
                        *at == '+' || *at == '.' || (*at | 0x20) == 'e'))
        at++;
    return at == end;
}

static enum err put_scalar(struct reader *reader, const char *at,
                           const char *end)
{
    if (at == end)
        return malformed(reader, "a value is missing");
    if (token_is(at, end, "null"))
        buf_put_str(reader->out, "NULL");
    else if (token_is(at, end, "true") || token_is(at, end, "false") ||
             is_number(at, end))
        buf_put(reader->out, at, (size_t)(end - at));
    else
        return malformed(reader, "an unknown word");
    return ERR_OK;
}

static enum err put_elements(struct reader *reader, int depth);

static enum err put_element(struct reader *reader, int depth)
{
    char first = peek(reader);
    const char *at = reader->at;
    const char *end;

    if (first == '[' && !reader->is_json)
        return put_elements(reader, depth + 1);
    end = at < reader->end ? value_end(at, reader->end) : NULL;
    if (end == NULL)
        return malformed(reader, "it ends too early");
    reader->at = end;
    if (first == '"' && !reader->is_json)
        return put_string(reader, at, end);
    if (first == '"' || first == '{' || first == '[') {
        put_quoted(reader->out, at, (size_t)(end - at));
        return ERR_OK;
    }
    return put_scalar(reader, at, end);
}

static enum err put_elements(struct reader *reader, int depth)
{
    enum err err = ERR_OK;

    if (depth > DIMENSIONS_MAX)
        return malformed(reader, "it nests too deep");
    if (!take(reader, '['))
        return malformed(reader, "it is something else");
    buf_put_char(reader->out, '{');
    if (!take(reader, ']')) {
        for (;;) {
            err = put_element(reader, depth);
            if (err != ERR_OK)
                return err;
            if (take(reader, ']'))
                break;
            if (!take(reader, ','))
                return malformed(reader, "a comma is missing");
            buf_put_char(reader->out, ',');
        }
    }
    buf_put_char(reader->out, '}');
    return ERR_OK;
}

/* What Lua's encoder makes of an empty table. */
static bool take_empty_object(struct reader *reader)
{
    const char *at = reader->at;

    if (take(reader, '{') && take(reader, '}'))
        return true;
    reader->at = at;
    return false;
}

enum err param_put_array(struct buf *out, const char *text, size_t len,
                         uint32_t element, struct err_text *why)
{
    struct reader reader = {
        .at = text,
        .end = text + len,
        .out = out,
        .is_json = element == TYPE_JSON || element == TYPE_JSONB,
        .why = why,
    };
    enum err err = ERR_OK;

    if (element == TYPE_BOX) {
        err_text_set(why, "cannot be made an array of boxes: write it as text");
        return ERR_BADARG;
    }
    if (take_empty_object(&reader))
        buf_put_str(out, "{}");
    else
        err = put_elements(&reader, 1);
    if (err == ERR_OK && peek(&reader) != '\0')
        err = malformed(&reader, "something follows it");
    if (err == ERR_OK && buf_failed(out))
        err = ERR_NOMEM;
    return err;
}

/* ---- the list */

static enum err make_room(struct param_list *list, unsigned count)
{
    const char **values;
    size_t *offsets;

    if (count <= list->room)
        return ERR_OK;
    values = realloc(list->values, count * sizeof(*values));
    if (values == NULL)
        return ERR_NOMEM;
    list->values = values;
    offsets = realloc(list->offsets, count * sizeof(*offsets));
    if (offsets == NULL)
        return ERR_NOMEM;
    list->offsets = offsets;
    list->room = count;
    return ERR_OK;
}

/* why has what is wrong with it; puts its number in front. */
static enum err refuse(unsigned index, const struct err_text *what,
                       struct err_text *why)
{
    err_text_set(why, "parameter $%u %.400s", index + 1, what->text);
    return ERR_BADARG;
}

static void put_hex(struct buf *out, const char *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";

    buf_put_str(out, "\\x");
    for (size_t i = 0; i < len; i++) {
        buf_put_char(out, digits[(unsigned char)bytes[i] >> 4]);
        buf_put_char(out, digits[(unsigned char)bytes[i] & 0xF]);
    }
}

static enum err add(struct param_list *list, const struct pg_param *param,
                    unsigned index, uint32_t type, struct err_text *why)
{
    bool is_array = param->kind == PG_PARAM_ARRAY;
    uint32_t element =
        is_array || param->kind == PG_PARAM_JSON ? type_element(type) : 0;
    struct err_text what = { 0 };
    enum err err = ERR_OK;

    if (param->kind == PG_PARAM_NULL) {
        list->offsets[index] = NO_OFFSET;
        return ERR_OK;
    }
    if (param->kind != PG_PARAM_BYTES &&
        memchr(param->text, '\0', param->len) != NULL) {
        err_text_set(&what, "holds a zero byte, which Postgres' text cannot");
        return refuse(index, &what, why);
    }
    list->offsets[index] = list->bytes.len;
    if (param->kind == PG_PARAM_BYTES)
        put_hex(&list->bytes, param->text, param->len);
    else if (element != 0 || is_array)
        err = param_put_array(&list->bytes, param->text, param->len, element,
                              &what);
    else
        buf_put(&list->bytes, param->text, param->len);
    if (err == ERR_BADARG)
        return refuse(index, &what, why);
    buf_put_char(&list->bytes, '\0');
    return buf_failed(&list->bytes) ? ERR_NOMEM : err;
}

enum err param_list_fill(struct param_list *list, const struct pg_param *params,
                         unsigned count, const uint32_t *types,
                         struct err_text *why)
{
    enum err err;

    if (count > PARAMS_MAX) {
        err_text_set(why, "%u parameters are more than the protocol's %d",
                     count, PARAMS_MAX);
        return ERR_BADARG;
    }
    if (list->bytes.cap > BYTES_KEPT)
        buf_free(&list->bytes);
    buf_clear(&list->bytes);
    err = make_room(list, count);
    for (unsigned i = 0; i < count && err == ERR_OK; i++)
        err = add(list, &params[i], i, types != NULL ? types[i] : 0, why);
    if (err != ERR_OK)
        return err;
    for (unsigned i = 0; i < count; i++)
        list->values[i] = list->offsets[i] == NO_OFFSET
                              ? NULL
                              : list->bytes.data + list->offsets[i];
    return ERR_OK;
}

void param_list_free(struct param_list *list)
{
    buf_free(&list->bytes);
    free(list->values);
    free(list->offsets);
    *list = (struct param_list){ 0 };
}
