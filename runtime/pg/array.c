/* array.c - see array.h. */
#include "pg/array.h"

#include "pg/type.h"
#include "pg/value.h"
#include "pg/value_inside.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    DIMENSIONS_MAX = 6,  /* Postgres' own limit */
    UNESCAPED_MAX = 1024 /* longer elements with escapes take memory */
};

struct walk {
    const char *at;
    const char *end;
    char delimiter;
    uint32_t type; /* of the elements */
    const struct pg_array_visitor *visitor;
};

static char peek(const struct walk *walk)
{
    return walk->at < walk->end ? *walk->at : '\0';
}

static bool take(struct walk *walk, char c)
{
    if (walk->at == walk->end || *walk->at != c)
        return false;
    walk->at++;
    return true;
}

/* Skips "[0:1][-1:2]=", which stands before arrays that do not start at 1. */
static bool skip_bounds(struct walk *walk)
{
    const char *equals;

    if (peek(walk) != '[')
        return true;
    equals = memchr(walk->at, '=', (size_t)(walk->end - walk->at));
    if (equals == NULL)
        return false;
    walk->at = equals + 1;
    return true;
}

static void tell(const struct walk *walk, const char *text, size_t len)
{
    struct pg_value value = { .text = text, .len = len };

    value_read(&value, walk->type);
    walk->visitor->element(walk->visitor->ud, &value);
}

static void tell_null(const struct walk *walk)
{
    const struct pg_value value = { .type = walk->type };

    walk->visitor->element(walk->visitor->ud, &value);
}

/* With a zero at the end, for which each escape makes room. */
static size_t unescape(char *out, const char *text, size_t len)
{
    size_t out_len = 0;

    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\\')
            i++;
        out[out_len++] = text[i];
    }
    out[out_len] = '\0';
    return out_len;
}

static enum err tell_escaped(const struct walk *walk, const char *text,
                             size_t len)
{
    char on_stack[UNESCAPED_MAX];
    char *copy = len <= sizeof(on_stack) ? on_stack : malloc(len);

    if (copy == NULL)
        return ERR_NOMEM;
    tell(walk, copy, unescape(copy, text, len));
    if (copy != on_stack)
        free(copy);
    return ERR_OK;
}

/* at is behind the opening quote. */
static enum err walk_quoted(struct walk *walk)
{
    const char *start = walk->at;
    bool has_escapes = false;
    size_t len;

    while (walk->at < walk->end && *walk->at != '"') {
        if (*walk->at == '\\') {
            has_escapes = true;
            walk->at++;
        }
        walk->at++;
    }
    if (walk->at >= walk->end)
        return ERR_PROTOCOL;
    len = (size_t)(walk->at++ - start);
    if (has_escapes)
        return tell_escaped(walk, start, len);
    tell(walk, start, len);
    return ERR_OK;
}

static enum err walk_bare(struct walk *walk)
{
    const char *start = walk->at;
    size_t len;

    while (walk->at < walk->end && *walk->at != walk->delimiter &&
           strchr("{}\"\\", *walk->at) == NULL)
        walk->at++;
    len = (size_t)(walk->at - start);
    if (len == 0)
        return ERR_PROTOCOL;
    if (len == 4 && strncasecmp(start, "NULL", 4) == 0)
        tell_null(walk);
    else
        tell(walk, start, len);
    return ERR_OK;
}

/* One '{' or one element; what may stand there goes by what came before. */
static enum err walk_item(struct walk *walk, int *depth)
{
    if (take(walk, '{')) {
        if (++*depth > DIMENSIONS_MAX)
            return ERR_PROTOCOL;
        walk->visitor->begin(walk->visitor->ud);
        return ERR_OK;
    }
    if (*depth == 0)
        return ERR_PROTOCOL;
    return take(walk, '"') ? walk_quoted(walk) : walk_bare(walk);
}

/* The '}'s behind an item, then the delimiter if there is more. */
static enum err walk_ends(struct walk *walk, int *depth)
{
    while (*depth > 0 && take(walk, '}')) {
        (*depth)--;
        walk->visitor->end(walk->visitor->ud);
    }
    if (*depth == 0)
        return walk->at == walk->end ? ERR_OK : ERR_PROTOCOL;
    return take(walk, walk->delimiter) ? ERR_OK : ERR_PROTOCOL;
}

enum err pg_array_walk(const struct pg_value *array,
                       const struct pg_array_visitor *visitor)
{
    struct walk walk = {
        .at = array->text,
        .end = array->text + array->len,
        .delimiter = array->delimiter != '\0'  ? array->delimiter
                     : array->type == TYPE_BOX ? ';'
                                               : ',',
        .type = array->type,
        .visitor = visitor,
    };
    int depth = 0;
    enum err err = skip_bounds(&walk) ? ERR_OK : ERR_PROTOCOL;

    do {
        bool is_open = peek(&walk) == '{';

        if (err == ERR_OK)
            err = walk_item(&walk, &depth);
        if (err == ERR_OK && !(is_open && peek(&walk) != '}'))
            err = walk_ends(&walk, &depth);
    } while (err == ERR_OK && depth > 0);
    return err;
}
