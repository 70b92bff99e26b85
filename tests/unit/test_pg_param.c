/* test_pg_param.c - parameters as libpq is given them. */
#include "oom.h"
#include "unit.h"

#include "pg/param.h"
#include "pg/param_inside.h"
#include "pg/type.h"

enum { TEXT = 25, INT4_ARRAY = 1007, TEXT_ARRAY = 1009, JSONB_ARRAY = 3807 };

static struct pg_param param(enum pg_param_kind kind, const char *text)
{
    return (struct pg_param){ kind, text, strlen(text) };
}

/* Fills list with one parameter of this type. */
static enum err fill(struct param_list *list, enum pg_param_kind kind,
                     const char *text, uint32_t type, struct err_text *why)
{
    const struct pg_param one = param(kind, text);

    return param_list_fill(list, &one, 1, &type, why);
}

static void assert_array(const char *json, uint32_t type, const char *expected)
{
    struct param_list list = { 0 };
    struct err_text why = { 0 };

    assert_ok(fill(&list, PG_PARAM_JSON, json, type, &why));
    assert_string_equal(list.values[0], expected);
    param_list_free(&list);
}

static void assert_refused(const char *json, uint32_t type,
                           const char *expected)
{
    struct param_list list = { 0 };
    struct err_text why = { 0 };

    assert_err(fill(&list, PG_PARAM_JSON, json, type, &why), ERR_BADARG);
    assert_string_equal(why.text, expected);
    param_list_free(&list);
}

static void test_texts_end_with_a_zero_and_null_is_null(void **state)
{
    const struct pg_param params[] = {
        { PG_PARAM_TEXT, "abcdef", 3 },
        { PG_PARAM_NULL, NULL, 0 },
        { PG_PARAM_TEXT, "", 0 },
    };
    const uint32_t types[] = { TEXT, TEXT, TEXT };
    struct param_list list = { 0 };
    struct err_text why;

    (void)state;
    assert_ok(param_list_fill(&list, params, 3, types, &why));
    assert_string_equal(list.values[0], "abc");
    assert_null(list.values[1]);
    assert_string_equal(list.values[2], "");
    param_list_free(&list);
}

static void test_list_is_reused(void **state)
{
    struct param_list list = { 0 };
    struct err_text why;
    char large[5000];

    (void)state;
    memset(large, 'x', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';
    assert_ok(fill(&list, PG_PARAM_TEXT, large, TEXT, &why));
    assert_string_equal(list.values[0], large);

    assert_ok(fill(&list, PG_PARAM_TEXT, "small", TEXT, &why));
    assert_string_equal(list.values[0], "small");
    assert_ok(param_list_fill(&list, NULL, 0, NULL, &why));
    param_list_free(&list);
}

static void test_json_goes_as_it_is_but_to_arrays(void **state)
{
    (void)state;
    assert_array("[1,2]", TYPE_JSONB, "[1,2]");
    assert_array("{\"a\":1}", TYPE_JSON, "{\"a\":1}");
    assert_array("[1,2]", TEXT, "[1,2]");
    assert_array("[1,2]", 0, "[1,2]");
    assert_array("[1,2]", INT4_ARRAY, "{1,2}");
}

static void test_types_may_be_unknown(void **state)
{
    const struct pg_param one = param(PG_PARAM_JSON, "[1,2]");
    struct param_list list = { 0 };
    struct err_text why;

    (void)state;
    assert_ok(param_list_fill(&list, &one, 1, NULL, &why));
    assert_string_equal(list.values[0], "[1,2]");
    param_list_free(&list);
}

static void test_empty_table_is_an_empty_array(void **state)
{
    (void)state;
    assert_array("[]", INT4_ARRAY, "{}");
    assert_array("{}", INT4_ARRAY, "{}");
    assert_array(" { } ", JSONB_ARRAY, "{}");
}

static void test_scalars_and_nulls_go_bare(void **state)
{
    (void)state;
    assert_array(" [ 1 , -2.5e3 , null,true,false ] ", INT4_ARRAY,
                 "{1,-2.5e3,NULL,true,false}");
}

static void test_strings_are_quoted_for_the_array(void **state)
{
    (void)state;
    assert_array("[\"a\",\"\",\"NULL\",\"{x,y}\"]", TEXT_ARRAY,
                 "{\"a\",\"\",\"NULL\",\"{x,y}\"}");
    assert_array("[\"say \\\"hi\\\"\",\"back\\\\slash\"]", TEXT_ARRAY,
                 "{\"say \\\"hi\\\"\",\"back\\\\slash\"}");
}

static void test_escapes_of_json_are_read(void **state)
{
    (void)state;
    assert_array("[\"\\b\\f\\n\\r\\t\\/\"]", TEXT_ARRAY, "{\"\b\f\n\r\t/\"}");
    assert_array("[\"\\u0041\\u00e9\\u20AC\\ud83d\\ude00\"]", TEXT_ARRAY,
                 "{\"A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"}");
    assert_array("[\"\\u0022\\u005c\"]", TEXT_ARRAY, "{\"\\\"\\\\\"}");
}

static void test_arrays_nest(void **state)
{
    (void)state;
    assert_array("[[1,2],[3,null]]", INT4_ARRAY, "{{1,2},{3,NULL}}");
    assert_array("[[[[[[1]]]]]]", INT4_ARRAY, "{{{{{{1}}}}}}");
}

static void test_objects_in_arrays_are_their_json(void **state)
{
    (void)state;
    assert_array("[{\"a\":\"}\\\"]\"},{}]", TEXT_ARRAY,
                 "{\"{\\\"a\\\":\\\"}\\\\\\\"]\\\"}\",\"{}\"}");
}

static void test_elements_of_json_arrays_are_json(void **state)
{
    (void)state;
    assert_array("[1,[2,3],{\"a\":\"b\"},\"s\",null,true]", JSONB_ARRAY,
                 "{1,\"[2,3]\",\"{\\\"a\\\":\\\"b\\\"}\",\"\\\"s\\\"\",NULL,"
                 "true}");
}

static void test_what_is_no_array_is_refused_by_number(void **state)
{
    (void)state;
    assert_refused("{\"a\":1}", INT4_ARRAY,
                   "parameter $1 is no JSON array: it is something else");
    assert_refused("[1", INT4_ARRAY,
                   "parameter $1 is no JSON array: a comma is missing");
    assert_refused("[1,]", INT4_ARRAY,
                   "parameter $1 is no JSON array: a value is missing");
    assert_refused("[1]2", INT4_ARRAY,
                   "parameter $1 is no JSON array: something follows it");
    assert_refused("[1\\\"}]", INT4_ARRAY,
                   "parameter $1 is no JSON array: an unknown word");
    assert_refused("[nil]", INT4_ARRAY,
                   "parameter $1 is no JSON array: an unknown word");
    assert_refused("[[[[[[[1]]]]]]]", INT4_ARRAY,
                   "parameter $1 is no JSON array: it nests too deep");
}

static void test_broken_strings_are_refused(void **state)
{
    static const char *const texts[] = {
        "[\"a",
        "[\"a\\\"]",
        "[\"\\x\"]",
        "[\"\\u12\"]",
        "[\"\\u0000\"]",
        "[\"\\ud800\"]",
        "[\"\\udc00\"]",
        "[\"\\ud800\\n\"]",
        "[{\"a\"]",
        "[",
        "",
        "[\"\\u12",
        "[\"\\",
        "[[1]",
        "[{",
    };
    struct param_list list = { 0 };
    struct err_text why;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_err(fill(&list, PG_PARAM_JSON, texts[i], TEXT_ARRAY, &why),
                   ERR_BADARG);
    param_list_free(&list);
}

static void test_zero_byte_is_refused(void **state)
{
    const struct pg_param params[] = { { PG_PARAM_TEXT, "ok", 2 },
                                       { PG_PARAM_TEXT, "a\0b", 3 } };
    struct param_list list = { 0 };
    struct err_text why = { 0 };

    (void)state;
    assert_err(param_list_fill(&list, params, 2, NULL, &why), ERR_BADARG);
    assert_string_equal(
        why.text,
        "parameter $2 holds a zero byte, which Postgres' text cannot");
    param_list_free(&list);
}

static void test_more_than_the_protocol_has_is_refused(void **state)
{
    struct param_list list = { 0 };
    struct err_text why;

    (void)state;
    assert_err(param_list_fill(&list, NULL, 65536, NULL, &why), ERR_BADARG);
    param_list_free(&list);
}

static void test_fill_survives_any_failing_allocation(void **state)
{
    const uint32_t type = INT4_ARRAY;
    const struct pg_param one = param(PG_PARAM_JSON, "[1]");
    struct err_text why;

    (void)state;
    for (unsigned n = 1;; n++) {
        struct param_list list = { 0 };
        enum err err;

        oom_fail_at(n);
        err = param_list_fill(&list, &one, 1, &type, &why);
        oom_off();
        param_list_free(&list);
        if (!oom_happened())
            break;
        assert_err(err, ERR_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts_end_with_a_zero_and_null_is_null),
        cmocka_unit_test(test_list_is_reused),
        cmocka_unit_test(test_json_goes_as_it_is_but_to_arrays),
        cmocka_unit_test(test_types_may_be_unknown),
        cmocka_unit_test(test_empty_table_is_an_empty_array),
        cmocka_unit_test(test_scalars_and_nulls_go_bare),
        cmocka_unit_test(test_strings_are_quoted_for_the_array),
        cmocka_unit_test(test_escapes_of_json_are_read),
        cmocka_unit_test(test_arrays_nest),
        cmocka_unit_test(test_objects_in_arrays_are_their_json),
        cmocka_unit_test(test_elements_of_json_arrays_are_json),
        cmocka_unit_test(test_what_is_no_array_is_refused_by_number),
        cmocka_unit_test(test_broken_strings_are_refused),
        cmocka_unit_test(test_zero_byte_is_refused),
        cmocka_unit_test(test_more_than_the_protocol_has_is_refused),
        cmocka_unit_test(test_fill_survives_any_failing_allocation),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
