/* test_base_buf.c - the byte buffer. */
#include "oom.h"
#include "unit.h"

#include "base/buf.h"

static void test_zero_buffer_is_empty_and_can_be_freed(void **state)
{
    struct buf buf = { 0 };
    (void)state;

    assert_ok(buf_reserve(&buf, 0));
    buf_put(&buf, "", 0);
    buf_put_str(&buf, "");
    buf_consume(&buf, 0);
    buf_clear(&buf);

    assert_int_equal(buf.len, 0);
    assert_null(buf.base);
    buf_free(&buf);
    buf_free(&buf);
}

static void test_appends_follow_each_other(void **state)
{
    struct buf buf = { 0 };
    (void)state;

    buf_put(&buf, "a\0b", 3);
    buf_put_str(&buf, "cd");
    buf_put_char(&buf, 'e');
    buf_printf(&buf, "%d%s", 42, "f");

    assert_buf(&buf, "a\0bcde42f");
    assert_false(buf_failed(&buf));
    buf_free(&buf);
    assert_null(buf.data);
    assert_int_equal(buf.cap, 0);
}

static void test_printf_grows_for_long_output(void **state)
{
    struct buf buf = { 0 };
    (void)state;

    for (int width = 1; width < 2000; width += 13) {
        size_t before = buf.len;

        buf_printf(&buf, "%*d", width, 7);
        assert_int_equal(buf.len, before + (size_t)width);
        assert_int_equal(buf.data[buf.len - 1], '7');
    }
    buf_free(&buf);
}

static void test_reserve_makes_room_to_write_into(void **state)
{
    struct buf buf = { 0 };
    (void)state;

    buf_put_str(&buf, "head ");
    assert_ok(buf_reserve(&buf, 100000));
    assert_true(buf.cap - buf.len >= 100000);
    memcpy(buf.data + buf.len, "body", 4);
    buf_added(&buf, 4);

    assert_buf(&buf, "head body");
    buf_free(&buf);
}

static void test_consume_takes_from_the_front(void **state)
{
    struct buf buf = { 0 };
    (void)state;

    buf_put_str(&buf, "abcdef");
    buf_consume(&buf, 2);
    assert_buf(&buf, "cdef");
    buf_put_str(&buf, "gh");
    assert_buf(&buf, "cdefgh");
    buf_consume(&buf, 6);

    assert_int_equal(buf.len, 0);
    assert_ptr_equal(buf.data, buf.base);
    buf_free(&buf);
}

static void test_consumed_bytes_are_used_before_growing(void **state)
{
    struct buf buf = { 0 };
    const char *base;
    size_t size;
    (void)state;

    assert_ok(buf_reserve(&buf, 200));
    base = buf.base;
    size = buf.cap;
    while (buf.len < size)
        buf_put_char(&buf, (char)('a' + buf.len % 26));
    buf_consume(&buf, size / 2 + 1);
    buf_put_str(&buf, "tail");

    assert_ptr_equal(buf.base, base);
    assert_ptr_equal(buf.data, base);
    assert_int_equal(buf.cap, size);
    assert_int_equal(buf.data[0], 'a' + (char)((size / 2 + 1) % 26));
    assert_memory_equal(buf.data + buf.len - 4, "tail", 4);
    buf_free(&buf);
}

static void test_queue_of_steady_length_stops_growing(void **state)
{
    struct buf buf = { 0 };
    (void)state;

    for (int i = 0; i < 1000; i++)
        buf_put_str(&buf, "0123456789");
    for (int i = 0; i < 100000; i++) {
        buf_put_str(&buf, "0123456789");
        assert_memory_equal(buf.data, "0123456789", 10);
        buf_consume(&buf, 10);
    }

    assert_int_equal(buf.len, 10000);
    assert_true(buf.cap <= 65536);
    buf_free(&buf);
}

static void test_clear_keeps_the_allocation(void **state)
{
    struct buf buf = { 0 };
    const char *base;
    size_t size;
    (void)state;

    buf_put_str(&buf, "abc");
    base = buf.base;
    size = buf.cap;
    buf_consume(&buf, 1);
    buf_clear(&buf);

    assert_int_equal(buf.len, 0);
    assert_int_equal(buf.cap, size);
    assert_ptr_equal(buf.data, base);
    buf_free(&buf);
}

static void test_failed_append_stops_later_ones_until_cleared(void **state)
{
    struct buf buf = { 0 };
    (void)state;

    buf_put_str(&buf, "kept");
    oom_fail_at(1);
    buf_printf(&buf, "%5000d", 1);
    oom_off();
    assert_true(oom_happened());
    assert_true(buf_failed(&buf));

    buf_put_str(&buf, "dropped");
    buf_printf(&buf, "dropped");
    assert_err(buf_reserve(&buf, 1), ERR_NOMEM);
    assert_buf(&buf, "kept");
    buf_clear(&buf);
    buf_put_str(&buf, "again");
    assert_buf(&buf, "again");
    assert_false(buf_failed(&buf));
    buf_free(&buf);
}

static void test_first_append_without_memory_leaves_nothing(void **state)
{
    struct buf buf = { 0 };
    (void)state;

    oom_fail_at(1);
    buf_put_str(&buf, "x");
    oom_off();

    assert_true(buf_failed(&buf));
    assert_null(buf.base);
    assert_int_equal(buf.len, 0);
    buf_free(&buf);
    assert_false(buf_failed(&buf));
}

static void test_reserve_refuses_a_size_that_overflows(void **state)
{
    struct buf buf = { 0 };
    (void)state;

    buf_put_str(&buf, "x");

    assert_err(buf_reserve(&buf, SIZE_MAX), ERR_NOMEM);
    assert_true(buf_failed(&buf));
    assert_buf(&buf, "x");
    buf_free(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zero_buffer_is_empty_and_can_be_freed),
        cmocka_unit_test(test_appends_follow_each_other),
        cmocka_unit_test(test_printf_grows_for_long_output),
        cmocka_unit_test(test_reserve_makes_room_to_write_into),
        cmocka_unit_test(test_consume_takes_from_the_front),
        cmocka_unit_test(test_consumed_bytes_are_used_before_growing),
        cmocka_unit_test(test_queue_of_steady_length_stops_growing),
        cmocka_unit_test(test_clear_keeps_the_allocation),
        cmocka_unit_test(test_failed_append_stops_later_ones_until_cleared),
        cmocka_unit_test(test_first_append_without_memory_leaves_nothing),
        cmocka_unit_test(test_reserve_refuses_a_size_that_overflows),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
