/* test_pg_json.c - rows as JSON. */
#include "pg_made.h"
#include "unit.h"

#include "pg/json.h"
#include "pg/rows.h"
#include "pg/type.h"
#include "pg/value.h"

/* The JSON of a row with one value of this type. */
static void put_value(struct buf *out, uint32_t type, const char *text)
{
    struct pg_value value;
    struct pg_rows *rows = made_value(type, text, &value);

    pg_rows_row_json(rows, 0, PG_INT8_EXACT, NULL, out);
    pg_rows_free(rows);
}

#define assert_json(type, text, expected)             \
    do {                                              \
        struct buf out = { 0 };                       \
                                                      \
        put_value(&out, type, text);                  \
        assert_buf(&out, "{\"value\":" expected "}"); \
        buf_free(&out);                               \
    } while (0)

static void test_scalars_are_json_scalars(void **state)
{
    (void)state;
    assert_json(TYPE_INT4, NULL, "null");
    assert_json(TYPE_BOOL, "t", "true");
    assert_json(TYPE_BOOL, "f", "false");
    assert_json(TYPE_INT4, "-7", "-7");
    assert_json(TYPE_FLOAT8, "2.5e-07", "2.5e-07");
    assert_json(25, "abc", "\"abc\"");
    assert_json(1700, "1.10", "\"1.10\"");
}

static void test_integers_beyond_two_to_53_are_strings(void **state)
{
    (void)state;
    assert_json(TYPE_INT8, "9007199254740992", "9007199254740992");
    assert_json(TYPE_INT8, "9007199254740993", "\"9007199254740993\"");
    assert_json(TYPE_INT8, "-9007199254740992", "-9007199254740992");
    assert_json(TYPE_INT8, "-9007199254740993", "\"-9007199254740993\"");
}

static void test_floats_that_json_has_not_are_strings(void **state)
{
    (void)state;
    assert_json(TYPE_FLOAT8, "NaN", "\"NaN\"");
    assert_json(TYPE_FLOAT4, "-Infinity", "\"-Infinity\"");
}

/* What was in the memory of an element before is no part of it. */
static void test_half_a_character_ends_with_its_element(void **state)
{
    (void)state;
    assert_json(1009, "{\"\\\\aa\xbf\",\"\\\\a\xc3\"}",
                "[\"\\\\aa\xef\xbf\xbd\",\"\\\\a\xef\xbf\xbd\"]");
}

static void test_strings_are_escaped(void **state)
{
    (void)state;
    assert_json(25, "", "\"\"");
    assert_json(25, "a\"b\\c", "\"a\\\"b\\\\c\"");
    assert_json(25, "\n\r\t\x01\x1f", "\"\\n\\r\\t\\u0001\\u001f\"");
    assert_json(25, "\xc3\xa9", "\"\xc3\xa9\"");
}

static void test_json_stands_as_it_is(void **state)
{
    (void)state;
    assert_json(TYPE_JSONB, "{\"a\": [1]}", "{\"a\": [1]}");
}

static void test_arrays_are_arrays(void **state)
{
    (void)state;
    assert_json(1007, "{}", "[]");
    assert_json(1007, "{1,NULL,3}", "[1,null,3]");
    assert_json(1007, "{{1,2},{3,4}}", "[[1,2],[3,4]]");
    assert_json(1009, "{\"a \\\"b\\\"\",c}", "[\"a \\\"b\\\"\",\"c\"]");
    assert_json(1000, "{t,f}", "[true,false]");
    assert_json(3807, "{\"{\\\"a\\\": 1}\"}", "[{\"a\": 1}]");
}

static void test_what_is_no_array_after_all_is_a_string(void **state)
{
    (void)state;
    assert_json(1007, "{1,2", "\"{1,2\"");
}

static void test_row_has_all_columns_and_rows_all_rows(void **state)
{
    const struct made columns[] = { { "id", TYPE_INT4, "1" },
                                    { "a \"b\"", 25, "x" },
                                    { "none", 25, NULL } };
    struct pg_rows *rows = made_rows(columns, 3, 2);
    struct buf out = { 0 };

    (void)state;
    pg_rows_json(rows, PG_INT8_EXACT, NULL, &out);
    assert_buf(&out, "[{\"id\":1,\"a \\\"b\\\"\":\"x\",\"none\":null},"
                     "{\"id\":1,\"a \\\"b\\\"\":\"x\",\"none\":null}]");
    pg_rows_free(rows);
    buf_free(&out);
}

static void test_no_rows_are_an_empty_array(void **state)
{
    const struct made column = { "id", TYPE_INT4, "1" };
    struct pg_rows *rows = made_rows(&column, 1, 0);
    struct buf out = { 0 };

    (void)state;
    pg_rows_json(rows, PG_INT8_EXACT, NULL, &out);
    assert_buf(&out, "[]");
    pg_rows_free(rows);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scalars_are_json_scalars),
        cmocka_unit_test(test_integers_beyond_two_to_53_are_strings),
        cmocka_unit_test(test_floats_that_json_has_not_are_strings),
        cmocka_unit_test(test_half_a_character_ends_with_its_element),
        cmocka_unit_test(test_strings_are_escaped),
        cmocka_unit_test(test_json_stands_as_it_is),
        cmocka_unit_test(test_arrays_are_arrays),
        cmocka_unit_test(test_what_is_no_array_after_all_is_a_string),
        cmocka_unit_test(test_row_has_all_columns_and_rows_all_rows),
        cmocka_unit_test(test_no_rows_are_an_empty_array),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
