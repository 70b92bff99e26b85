/* value.c - see value.h and value_inside.h. */
#include "pg/value.h"

#include "pg/type.h"
#include "pg/value_inside.h"

#include <assert.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

/* False when text is no whole number of 64 bits. */
static bool read_integer(const char *text, size_t len, int64_t *out)
{
    bool is_negative = len > 0 && text[0] == '-';
    uint64_t magnitude = 0;

    if (len == (size_t)is_negative || len > 20)
        return false;
    for (size_t i = is_negative; i < len; i++) {
        unsigned digit = (unsigned)(text[i] - '0');

        if (digit > 9 || magnitude > (UINT64_MAX - digit) / 10)
            return false;
        magnitude = magnitude * 10 + digit;
    }
    if (magnitude > (uint64_t)INT64_MAX + is_negative)
        return false;
    *out = (int64_t)(is_negative ? 0 - magnitude : magnitude);
    return true;
}

/* strtod() goes by a locale that a host program may have set. */
static bool read_float(const char *text, size_t len, double *out)
{
    char copy[64];
    char *end;

    if (len == 0 || len >= sizeof(copy))
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    *out = strtod(copy, &end);
    if (*end == '.') {
        *end = localeconv()->decimal_point[0];
        *out = strtod(copy, &end);
    }
    return *end == '\0';
}

static unsigned hex_digit(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10) & 0xF;
}

size_t pg_value_bytes(const struct pg_value *value, char *out)
{
    size_t len = 0;

    assert(value->kind == PG_VALUE_BYTES);
    for (size_t i = 2; i + 1 < value->len; i += 2) /* behind "\\x" */
        out[len++] = (char)(hex_digit(value->text[i]) << 4 |
                            hex_digit(value->text[i + 1]));
    return len;
}

void value_read(struct pg_value *value, uint32_t type)
{
    uint32_t element;

    value->type = type;
    value->kind = PG_VALUE_TEXT;
    switch (type) {
    case TYPE_BOOL:
        value->kind = PG_VALUE_BOOL;
        value->truth = value->len > 0 && value->text[0] == 't';
        return;
    case TYPE_BYTEA:
        if (value->len >= 2 && memcmp(value->text, "\\x", 2) == 0)
            value->kind = PG_VALUE_BYTES; /* not bytea_output = escape */
        return;
    case TYPE_INT8: value->is_int8 = true; /* fall through */
    case TYPE_INT2:
    case TYPE_INT4:
    case TYPE_OID:
        if (read_integer(value->text, value->len, &value->integer))
            value->kind = PG_VALUE_INT;
        return;
    case TYPE_FLOAT4:
    case TYPE_FLOAT8:
        if (read_float(value->text, value->len, &value->number))
            value->kind = PG_VALUE_FLOAT;
        return;
    case TYPE_JSON:
    case TYPE_JSONB: value->kind = PG_VALUE_JSON; return;
    default: break;
    }
    element = type_element(type);
    if (element == 0)
        return;
    value->kind = PG_VALUE_ARRAY;
    value->type = element;
}
