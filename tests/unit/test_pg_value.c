/* test_pg_value.c - the server's text forms as values. */
#include "pg_made.h"
#include "turns.h"
#include "unit.h"

#include "pg/rows.h"
#include "pg/type.h"
#include "pg/value.h"

#include <locale.h>
#include <math.h>

static void assert_integer(uint32_t type, const char *text, int64_t expected)
{
    struct pg_value value;
    struct pg_rows *rows = made_value(type, text, &value);

    assert_int_equal(value.kind, PG_VALUE_INT);
    assert_true(value.integer == expected);
    assert_string_equal(value.text, text);
    pg_rows_free(rows);
}

static double float_of(const char *text)
{
    struct pg_value value;
    struct pg_rows *rows = made_value(TYPE_FLOAT8, text, &value);
    double number = value.number;

    assert_int_equal(value.kind, PG_VALUE_FLOAT);
    pg_rows_free(rows);
    return number;
}

static enum pg_value_kind kind_of(uint32_t type, const char *text)
{
    struct pg_value value;
    struct pg_rows *rows = made_value(type, text, &value);

    pg_rows_free(rows);
    return value.kind;
}

static void test_null_has_no_text(void **state)
{
    struct pg_value value;
    struct pg_rows *rows = made_value(TYPE_INT4, NULL, &value);

    (void)state;
    assert_int_equal(value.kind, PG_VALUE_NULL);
    assert_null(value.text);
    assert_int_equal(value.len, 0);
    pg_rows_free(rows);
}

static void test_booleans_are_t_and_f(void **state)
{
    struct pg_value value;

    (void)state;
    pg_rows_free(made_value(TYPE_BOOL, "t", &value));
    assert_int_equal(value.kind, PG_VALUE_BOOL);
    assert_true(value.truth);

    pg_rows_free(made_value(TYPE_BOOL, "f", &value));
    assert_false(value.truth);
}

static void test_integers_are_exact_over_their_whole_range(void **state)
{
    (void)state;
    assert_integer(TYPE_INT2, "-32768", -32768);
    assert_integer(TYPE_INT4, "0", 0);
    assert_integer(TYPE_OID, "4294967295", 4294967295);
    assert_integer(TYPE_INT8, "9223372036854775807", INT64_MAX);
    assert_integer(TYPE_INT8, "-9223372036854775808", INT64_MIN);
    assert_integer(TYPE_INT8, "9007199254740993", 9007199254740993);
}

static void test_what_is_no_integer_stays_text(void **state)
{
    static const char *const texts[] = {
        "",
        "-",
        "1x",
        "9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999999",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_int_equal(kind_of(TYPE_INT8, texts[i]), PG_VALUE_TEXT);
}

static void test_floats_are_read_with_their_special_values(void **state)
{
    (void)state;
    assert_true(float_of("2.5") == 2.5);
    assert_true(float_of("-1e-300") == -1e-300);
    assert_true(float_of("1.7976931348623157e+308") == 1.7976931348623157e308);
    assert_true(isnan(float_of("NaN")));
    assert_true(float_of("Infinity") == INFINITY);
    assert_true(float_of("-Infinity") == -INFINITY);
    assert_int_equal(kind_of(TYPE_FLOAT4, "2.5.1"), PG_VALUE_TEXT);
    assert_int_equal(kind_of(TYPE_FLOAT4, ""), PG_VALUE_TEXT);
}

/* The locale is there where the system has it; else there is nothing to see. */
static void test_floats_do_not_depend_on_the_locale(void **state)
{
    (void)state;
    if (setlocale(LC_NUMERIC, "de_DE.UTF-8") == NULL)
        return;

    assert_true(float_of("2.5") == 2.5);
    setlocale(LC_NUMERIC, "C");
}

static void test_numeric_and_the_like_stay_text(void **state)
{
    static const uint32_t types[] = {
        1700 /* numeric */, 25 /* text */,          18 /* "char" */,
        2950 /* uuid */,    1184 /* timestamptz */, 1186 /* interval */,
        17 /* bytea */,     999999 /* unknown */,
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        assert_int_equal(kind_of(types[i], "1.10"), PG_VALUE_TEXT);
}

static void test_json_is_told_from_text(void **state)
{
    (void)state;
    assert_int_equal(kind_of(TYPE_JSON, "{}"), PG_VALUE_JSON);
    assert_int_equal(kind_of(TYPE_JSONB, "[1]"), PG_VALUE_JSON);
}

static void test_array_has_the_type_of_its_elements(void **state)
{
    struct pg_value value;

    (void)state;
    pg_rows_free(made_value(1007, "{1,2}", &value));
    assert_int_equal(value.kind, PG_VALUE_ARRAY);
    assert_int_equal(value.type, TYPE_INT4);

    pg_rows_free(made_value(3807, "{}", &value));
    assert_int_equal(value.type, TYPE_JSONB);
}

static void test_rows_tell_their_size_and_names(void **state)
{
    const struct made columns[] = { { "id", TYPE_INT4, "1" },
                                    { "name", 25, "a" } };
    struct pg_rows *rows = made_rows(columns, 2, 2);

    (void)state;
    assert_int_equal(pg_rows_count(rows), 2);
    assert_int_equal(pg_rows_columns(rows), 2);
    assert_string_equal(pg_rows_column(rows, 1), "name");
    assert_true(pg_rows_bytes(rows) > 0);
    pg_rows_free(rows);
    pg_rows_free(NULL);
}

static void test_error_fields_are_empty_when_absent(void **state)
{
    const struct made column = { "a", 25, "b" };
    struct pg_rows *rows = made_rows(&column, 1, 1);
    struct pg_error_fields fields;

    (void)state;
    pg_rows_error(rows, &fields);
    assert_string_equal(fields.sqlstate, "");
    assert_string_equal(fields.message, "");
    assert_string_equal(fields.constraint, "");
    pg_rows_free(rows);
}

/* 512 KiB, and a few bytes. */
static void test_large_rows_are_freed_on_a_thread(void **state)
{
    static char text[512 * 1024];
    struct loop *loop = make_loop();
    struct pg_value value;

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    pg_rows_drop(made_value(TYPE_JSON, "x", &value), loop);
    assert_int_equal(loop_open_handles(loop), 0);
    pg_rows_drop(made_value(TYPE_JSON, text, &value), loop);
    assert_int_equal(loop_open_handles(loop), 1);
    pg_rows_drop(made_value(TYPE_JSON, text, &value), NULL);
    pg_rows_drop(NULL, loop);
    drop_loop(loop); /* when that is over */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_null_has_no_text),
        cmocka_unit_test(test_booleans_are_t_and_f),
        cmocka_unit_test(test_integers_are_exact_over_their_whole_range),
        cmocka_unit_test(test_what_is_no_integer_stays_text),
        cmocka_unit_test(test_floats_are_read_with_their_special_values),
        cmocka_unit_test(test_floats_do_not_depend_on_the_locale),
        cmocka_unit_test(test_numeric_and_the_like_stay_text),
        cmocka_unit_test(test_json_is_told_from_text),
        cmocka_unit_test(test_array_has_the_type_of_its_elements),
        cmocka_unit_test(test_rows_tell_their_size_and_names),
        cmocka_unit_test(test_error_fields_are_empty_when_absent),
        cmocka_unit_test(test_large_rows_are_freed_on_a_thread),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
