/* test_pg_array.c - array literals walked element by element. */
#include "unit.h"

#include "base/buf.h"
#include "pg/array.h"
#include "pg/type.h"
#include "pg/value.h"

#include <stdlib.h>

static void on_begin(void *ud)
{
    buf_put_char(ud, '(');
}

static void on_element(void *ud, const struct pg_value *value)
{
    if (value->kind == PG_VALUE_NULL)
        buf_put_char(ud, '-');
    else
        buf_put(ud, value->text, value->len);
    buf_put_char(ud, '|');
}

static void on_end(void *ud)
{
    buf_put_char(ud, ')');
}

static enum err walk(const char *text, uint32_t element, struct buf *seen)
{
    /* exactly as large as the text: reading on would be seen */
    size_t len = strlen(text);
    char *copy = malloc(len + 1);
    const struct pg_value array = {
        .kind = PG_VALUE_ARRAY, .text = copy, .len = len, .type = element
    };
    const struct pg_array_visitor visitor = { on_begin, on_element, on_end,
                                              seen };
    enum err err;

    assert_non_null(copy);
    memcpy(copy, text, len + 1);
    err = pg_array_walk(&array, &visitor);
    free(copy);
    return err;
}

#define assert_walk(text, element, expected)     \
    do {                                         \
        struct buf walked = { 0 };               \
                                                 \
        assert_ok(walk(text, element, &walked)); \
        assert_buf(&walked, expected);           \
        buf_free(&walked);                       \
    } while (0)

static void test_elements_come_in_order(void **state)
{
    (void)state;
    assert_walk("{}", TYPE_INT4, "()");
    assert_walk("{1}", TYPE_INT4, "(1|)");
    assert_walk("{1,-2,3}", TYPE_INT4, "(1|-2|3|)");
}

static void test_null_is_told_from_the_word(void **state)
{
    (void)state;
    assert_walk("{NULL,null,\"NULL\",NULLS}", 25, "(-|-|NULL|NULLS|)");
}

static void test_quoted_elements_lose_their_escapes(void **state)
{
    (void)state;
    assert_walk("{\"a b\",\"\",\"{,}\"}", 25, "(a b||{,}|)");
    assert_walk("{\"say \\\"hi\\\"\",\"\\\\\"}", 25, "(say \"hi\"|\\|)");
}

static void test_long_elements_are_unescaped_whole(void **state)
{
    struct buf text = { 0 }, seen = { 0 };

    (void)state;
    buf_put_str(&text, "{\"");
    for (int i = 0; i < 3000; i++)
        buf_put_str(&text, "\\\"x");
    buf_put(&text, "\"}", 3);

    assert_ok(walk(text.data, 25, &seen));
    assert_int_equal(seen.len, 3 + 2 * 3000);
    assert_memory_equal(seen.data, "(\"x\"x", 5);
    buf_free(&text);
    buf_free(&seen);
}

static void test_arrays_nest_up_to_six_deep(void **state)
{
    struct buf seen = { 0 };

    (void)state;
    assert_walk("{{1,2},{3,4}}", TYPE_INT4, "((1|2|)(3|4|))");
    assert_walk("{{{{{{1}}}}}}", TYPE_INT4, "((((((1|))))))");
    assert_err(walk("{{{{{{{1}}}}}}}", TYPE_INT4, &seen), ERR_PROTOCOL);
    buf_free(&seen);
}

static void test_bounds_in_front_are_skipped(void **state)
{
    (void)state;
    assert_walk("[0:1]={1,2}", TYPE_INT4, "(1|2|)");
    assert_walk("[-1:0][2:2]={{1},{2}}", TYPE_INT4, "((1|)(2|))");
}

static void test_boxes_are_delimited_by_semicolons(void **state)
{
    (void)state;
    assert_walk("{(1,1),(0,0);(2,2),(1,1)}", TYPE_BOX,
                "((1,1),(0,0)|(2,2),(1,1)|)");
}

static void on_typed(void *ud, const struct pg_value *value)
{
    *(struct pg_value *)ud = *value;
}

static void on_nothing(void *ud)
{
    (void)ud;
}

static void test_elements_have_the_kind_of_their_type(void **state)
{
    const struct pg_value array = {
        .kind = PG_VALUE_ARRAY, .text = "{t}", .len = 3, .type = TYPE_BOOL
    };
    struct pg_value seen = { 0 };
    const struct pg_array_visitor visitor = { on_nothing, on_typed, on_nothing,
                                              &seen };

    (void)state;
    assert_ok(pg_array_walk(&array, &visitor));
    assert_int_equal(seen.kind, PG_VALUE_BOOL);
    assert_true(seen.truth);
}

static void test_what_is_no_array_is_refused(void **state)
{
    static const char *const texts[] = {
        "",       "1",        "{",      "{1",       "{1,",
        "{1,}",   "{,1}",     "{}}",    "{1}x",     "{\"a",
        "{\"a\\", "{\"a\"b}", "{{1}",   "[0:1]{1}", "{1}{2}",
        "{1 ,\"", "{a\"b\"}", "[0:1]=", "{1},2",
    };
    struct buf seen = { 0 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_err(walk(texts[i], 25, &seen), ERR_PROTOCOL);
    buf_free(&seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elements_come_in_order),
        cmocka_unit_test(test_null_is_told_from_the_word),
        cmocka_unit_test(test_quoted_elements_lose_their_escapes),
        cmocka_unit_test(test_long_elements_are_unescaped_whole),
        cmocka_unit_test(test_arrays_nest_up_to_six_deep),
        cmocka_unit_test(test_bounds_in_front_are_skipped),
        cmocka_unit_test(test_boxes_are_delimited_by_semicolons),
        cmocka_unit_test(test_elements_have_the_kind_of_their_type),
        cmocka_unit_test(test_what_is_no_array_is_refused),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
