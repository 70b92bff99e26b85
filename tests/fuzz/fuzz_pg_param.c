/*
 * fuzz_pg_param.c - parameters as libpq wants them; JSON as array literals,
 * which are read back.
 *
 * Input: a line each: the kind of the parameter (its first byte), that of its
 * type; then what it is.
 */
#include "fuzz.h"

#include "json_check.h"
#include "pg/array.h"
#include "pg/param.h"
#include "pg/param_inside.h"
#include "pg/type.h"
#include "pg/value.h"
#include "pg/value_inside.h"

#include <string.h>

static const uint32_t types[] = {
    0,    25,   TYPE_JSON,        TYPE_JSONB,           1007 /* int4[] */,
    1009, 1000, 199 /* json[] */, 3807 /* jsonb[] */,   1020 /* box[] */,
    1001, 1022, TYPE_INT8,        1231 /* numeric[] */,
};

static void nothing(void *ud)
{
    (void)ud;
}

static void count(void *ud, const struct pg_value *value)
{
    (void)value;
    ++*(size_t *)ud;
}

/* An array literal has as many elements as the JSON has values. */
static void read_back(const char *json, size_t len, const char *literal,
                      uint32_t element)
{
    struct pg_value value = { .text = literal,
                              .len = strlen(literal),
                              .type = element };
    size_t elements = 0, leaves = 0;
    const struct pg_array_visitor visitor = { nothing, count, nothing,
                                              &elements };

    if (!json_check(json, len, &leaves))
        return; /* taken from a host in C as it is */
    FUZZ_CHECK(pg_array_walk(&value, &visitor) == ERR_OK);
    if (element == TYPE_JSON || element == TYPE_JSONB)
        return; /* there an array in an array is an element */
    FUZZ_CHECK(elements == leaves || strcmp(literal, "{}") == 0);
}

static void check(const struct pg_param *param, uint32_t type, const char *text)
{
    uint32_t element = type_element(type);
    struct pg_value value = { .text = text, .type = TYPE_BYTEA };

    if (param->kind == PG_PARAM_NULL) {
        FUZZ_CHECK(text == NULL);
        return;
    }
    FUZZ_CHECK(text != NULL);
    value.len = strlen(text);
    if (param->kind == PG_PARAM_BYTES) {
        char *bytes = malloc(param->len + 1);

        value_read(&value, TYPE_BYTEA);
        FUZZ_CHECK(pg_value_bytes(&value, bytes) == param->len);
        FUZZ_CHECK(memcmp(bytes, param->text, param->len) == 0);
        free(bytes);
    } else if (param->kind == PG_PARAM_ARRAY ||
               (param->kind == PG_PARAM_JSON && element != 0)) {
        read_back(param->text, param->len, text, element);
    } else {
        FUZZ_CHECK(value.len == param->len);
        FUZZ_CHECK(memcmp(text, param->text, value.len) == 0);
    }
}

FUZZ_TARGET(pg_param)
{
    struct fuzz_input input = { bytes, size };
    struct param_list list = { 0 };
    struct pg_param params[2];
    uint32_t oids[2];
    struct err_text why = { 0 };
    char *texts[2];
    enum err err;

    for (size_t i = 0; i < 2; i++) {
        params[i].kind = (enum pg_param_kind)(fuzz_byte(&input) % 5);
        oids[i] = types[fuzz_byte(&input) % (sizeof(types) / sizeof(*types))];
        texts[i] = i == 0 ? fuzz_line(&input, &params[i].len)
                          : fuzz_rest(&input, &params[i].len);
        params[i].text = texts[i];
    }
    err = param_list_fill(&list, params, 2, oids, &why);
    FUZZ_CHECK(err == ERR_OK || err == ERR_BADARG);
    if (err == ERR_OK)
        for (size_t i = 0; i < 2; i++)
            check(&params[i], oids[i], list.values[i]);
    else
        FUZZ_CHECK(strncmp(why.text, "parameter $", 11) == 0);
    param_list_free(&list);
    free(texts[0]);
    free(texts[1]);
    return 0;
}
