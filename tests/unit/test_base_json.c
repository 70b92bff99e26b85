/* test_base_json.c - JSON strings and UTF-8. */
#include "unit.h"

#include "base/json.h"

static void check(const char *text, size_t len, const char *expected)
{
    struct buf out = { 0 };

    json_put_string(&out, text, len);
    buf_put_char(&out, '\0');
    assert_string_equal(out.data, expected);
    buf_free(&out);
}

static void test_plain_text_is_only_quoted(void **state)
{
    (void)state;
    check("", 0, "\"\"");
    check("moon", 4, "\"moon\"");
    check("\xc3\xa9\xf0\x9f\x8c\x99", 6, "\"\xc3\xa9\xf0\x9f\x8c\x99\"");
}

static void test_what_json_reserves_is_escaped(void **state)
{
    (void)state;
    check("a\"b\\c", 5, "\"a\\\"b\\\\c\"");
    check("\n\r\t\x01\x7f", 5, "\"\\n\\r\\t\\u0001\\u007f\"");
    check("a\0b", 3, "\"a\\u0000b\"");
}

static void test_bytes_that_are_no_utf8_are_replaced_each(void **state)
{
    (void)state;
    check("a\xff"
          "b",
          3,
          "\"a\xef\xbf\xbd"
          "b\"");
    check("\xc3", 1, "\"\xef\xbf\xbd\"");                 /* cut short */
    check("\xc0\xaf", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\""); /* too long a form */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_text_is_only_quoted),
        cmocka_unit_test(test_what_json_reserves_is_escaped),
        cmocka_unit_test(test_bytes_that_are_no_utf8_are_replaced_each),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
