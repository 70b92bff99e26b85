/* test_redis_reader.c - replies of bytes, and what a server may announce. */
#include "redis/reader.h"

#include "unit.h"

#include <hiredis/hiredis.h>
#include <string.h>

static struct redis_reader *reader;
static struct err_text text;

static int set_up(void **state)
{
    (void)state;
    reader = redis_reader_new(100);
    return reader == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    redis_reader_free(reader);
    return 0;
}

static void feed(const char *bytes)
{
    assert_err(redis_reader_feed(reader, bytes, strlen(bytes), &text), ERR_OK);
}

/* Elements of the next reply. */
static size_t next_elements(void)
{
    struct redisReply *reply;
    size_t elements;

    assert_err(redis_reader_next(reader, &reply, &text), ERR_OK);
    assert_non_null(reply);
    elements = reply->elements;
    freeReplyObject(reply);
    return elements;
}

static void expect_more_is_needed(void)
{
    struct redisReply *reply;

    assert_err(redis_reader_next(reader, &reply, &text), ERR_OK);
    assert_null(reply);
}

static void expect_refusal(const char *why)
{
    struct redisReply *reply;

    assert_err(redis_reader_next(reader, &reply, &text), ERR_PROTOCOL);
    assert_string_equal(text.text, why);
}

static void test_reply_that_comes_in_pieces(void **state)
{
    (void)state;
    assert_true(redis_reader_is_empty(reader));
    feed("*2\r\n+a\r\n$3\r\n");
    expect_more_is_needed();
    feed("bcd\r\n*0\r\n");
    assert_int_equal(next_elements(), 2);
    assert_false(redis_reader_is_empty(reader));
    assert_int_equal(next_elements(), 0);
    assert_true(redis_reader_is_empty(reader));
}

static void test_more_elements_than_may_be_are_refused(void **state)
{
    (void)state;
    feed("*101\r\n");
    expect_refusal("the peer announced a reply of 101 elements or more; "
                   "expected at most 100");
}

static void test_elements_of_elements_count(void **state)
{
    (void)state;
    feed("*2\r\n*1\r\n*98\r\n");
    expect_refusal("the peer announced a reply of 101 elements or more; "
                   "expected at most 100");
}

static void test_each_reply_counts_alone(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        feed("*3\r\n:1\r\n*1\r\n:1\r\n");
        expect_more_is_needed();
        feed(":1\r\n");
        assert_int_equal(next_elements(), 3);
    }
}

static void test_bytes_that_are_no_reply(void **state)
{
    (void)state;
    feed("HTTP/1.1 400 Bad Request\r\n");
    expect_refusal("the peer broke the protocol: Protocol error, got \"H\" as "
                   "reply type byte");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_reply_that_comes_in_pieces),
        TEST(test_more_elements_than_may_be_are_refused),
        TEST(test_elements_of_elements_count),
        TEST(test_each_reply_counts_alone),
        TEST(test_bytes_that_are_no_reply),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
