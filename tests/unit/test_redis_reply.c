/* test_redis_reply.c - requests become bytes, bytes become their replies. */
#include "unit.h"

#include <hiredis/hiredis.h>

#include "oom.h"
#include "redis/reply.h"
#include "redis/request.h"
#include "redis/request_inside.h"

enum { WORDS_MAX = 16 };

/* Adds a command whose words are split at spaces. */
static void add(struct redis_request *request, const char *line)
{
    const char *args[WORDS_MAX];
    size_t lens[WORDS_MAX];
    struct err_text why = { 0 };
    unsigned count = 0;

    while (*line != '\0') {
        args[count] = line;
        lens[count] = strcspn(line, " ");
        line += lens[count++];
        line += *line == ' ';
    }
    if (redis_request_add(request, count, args, lens, &why) != ERR_OK)
        fail_msg("%s", why.text);
}

/* Gives the replies in text to request; the first error ends it. */
static enum err feed(struct redis_request *request, const char *text)
{
    redisReader *reader = redisReaderCreate();
    enum err err = ERR_OK;
    void *reply = NULL;

    redisReaderFeed(reader, text, strlen(text));
    while (err == ERR_OK) {
        assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
        if (reply == NULL)
            break;
        err = redis_request_take(request, reply);
    }
    redisReaderFree(reader);
    return err;
}

static void assert_text(const struct redis_reply *reply, enum redis_kind kind,
                        const char *expected)
{
    size_t len;
    const char *text = redis_reply_text(reply, &len);

    assert_int_equal(redis_reply_kind(reply), kind);
    assert_int_equal(len, strlen(expected));
    assert_memory_equal(text, expected, len);
}

/* A request of count commands; in MULTI when is_multi. */
static void init(struct redis_request *request, unsigned count, bool is_multi)
{
    redis_request_init(request);
    if (is_multi)
        redis_request_set_multi(request);
    while (count-- > 0)
        add(request, "GET k");
    assert_ok(redis_request_seal(request));
}

static void test_every_kind_of_reply_is_read(void **state)
{
    struct redis_request request;
    size_t len;

    (void)state;
    init(&request, 6, false);
    assert_ok(feed(&request, "+OK\r\n-ERR no\r\n:-7\r\n$3\r\na\nb\r\n$-1\r\n"
                             "*0\r\n"));

    assert_int_equal(request.n_replies, 6);
    assert_text(redis_request_reply(&request, 0), REDIS_STATUS, "OK");
    assert_text(redis_request_reply(&request, 1), REDIS_ERROR, "ERR no");
    assert_int_equal(redis_reply_kind(redis_request_reply(&request, 2)),
                     REDIS_INT);
    assert_int_equal(redis_reply_integer(redis_request_reply(&request, 2)), -7);
    assert_text(redis_request_reply(&request, 3), REDIS_TEXT, "a\nb");
    assert_int_equal(redis_reply_kind(redis_request_reply(&request, 4)),
                     REDIS_NIL);
    assert_null(redis_reply_text(redis_request_reply(&request, 4), &len));
    assert_int_equal(len, 0);
    assert_int_equal(redis_reply_kind(redis_request_reply(&request, 5)),
                     REDIS_ARRAY);
    assert_int_equal(redis_reply_size(redis_request_reply(&request, 5)), 0);
    redis_request_deinit(&request);
}

static void test_arrays_hold_arrays(void **state)
{
    struct redis_request request;
    const struct redis_reply *inner, *outer;

    (void)state;
    init(&request, 1, false);
    assert_ok(feed(&request, "*2\r\n$1\r\na\r\n*2\r\n:1\r\n$0\r\n\r\n"));

    outer = redis_request_reply(&request, 0);
    assert_int_equal(redis_reply_size(outer), 2);
    assert_text(redis_reply_at(outer, 0), REDIS_TEXT, "a");
    inner = redis_reply_at(outer, 1);
    assert_int_equal(redis_reply_size(inner), 2);
    assert_int_equal(redis_reply_integer(redis_reply_at(inner, 0)), 1);
    assert_text(redis_reply_at(inner, 1), REDIS_TEXT, "");
    redis_request_deinit(&request);
}

static void test_commands_are_written_one_after_another(void **state)
{
    struct redis_request request;
    const char *const args[] = { "SET", "k\0y", "" };
    const size_t lens[] = { 3, 3, 0 };
    struct err_text why;

    (void)state;
    redis_request_init(&request);
    add(&request, "GET a");
    assert_ok(redis_request_add(&request, 3, args, lens, &why));
    assert_ok(redis_request_seal(&request));

    assert_int_equal(redis_request_due(&request), 2);
    assert_buf(&request.bytes, "*2\r\n$3\r\nGET\r\n$1\r\na\r\n"
                               "*3\r\n$3\r\nSET\r\n$3\r\nk\0y\r\n$0\r\n\r\n");
    redis_request_deinit(&request);
}

static void test_multi_is_written_whole(void **state)
{
    struct redis_request request;

    (void)state;
    init(&request, 1, true);
    assert_ok(redis_request_seal(&request)); /* again: EXEC is there once */

    assert_int_equal(redis_request_due(&request), 3);
    assert_buf(&request.bytes, "*1\r\n$5\r\nMULTI\r\n"
                               "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"
                               "*1\r\n$4\r\nEXEC\r\n");
    redis_request_deinit(&request);
}

static void test_empty_request_is_refused(void **state)
{
    struct redis_request request;

    (void)state;
    redis_request_init(&request);
    assert_err(redis_request_seal(&request), ERR_BADARG);
    redis_request_set_multi(&request);
    assert_err(redis_request_seal(&request), ERR_BADARG);
    redis_request_deinit(&request);
}

static void test_one_write_makes_the_request_a_write(void **state)
{
    struct redis_request request;

    (void)state;
    redis_request_init(&request);
    add(&request, "GET a");
    assert_true(request.is_read_only);
    add(&request, "INCR a");
    assert_false(request.is_read_only);
    add(&request, "GET a");
    assert_false(request.is_read_only);
    redis_request_deinit(&request);
}

static void test_blocking_times_add_up_but_not_in_multi(void **state)
{
    struct redis_request request;

    (void)state;
    redis_request_init(&request);
    add(&request, "BLPOP a 1");
    add(&request, "BLPOP a 2");
    assert_true(request.is_blocking);
    assert_int_equal(request.block_ns, 3000000000);
    add(&request, "BLPOP a 0");
    add(&request, "BLPOP a 1");
    assert_int_equal(request.block_ns, UINT64_MAX);
    redis_request_deinit(&request);

    redis_request_init(&request);
    redis_request_set_multi(&request);
    add(&request, "BLPOP a 1");
    assert_false(request.is_blocking);
    redis_request_deinit(&request);
}

static void test_exec_answers_the_commands_of_multi(void **state)
{
    struct redis_request request;

    (void)state;
    init(&request, 2, true);
    assert_ok(feed(&request, "+OK\r\n+QUEUED\r\n+QUEUED\r\n"));
    assert_int_equal(request.n_replies, 0);
    assert_ok(feed(&request, "*2\r\n$1\r\na\r\n-ERR type\r\n"));

    assert_int_equal(request.n_replies, 2);
    assert_text(redis_request_reply(&request, 0), REDIS_TEXT, "a");
    assert_text(redis_request_reply(&request, 1), REDIS_ERROR, "ERR type");
    redis_request_deinit(&request);
}

static void test_aborted_exec_answers_all_with_errors(void **state)
{
    struct redis_request request;

    (void)state;
    init(&request, 3, true);
    assert_ok(feed(&request, "+OK\r\n+QUEUED\r\n-ERR arity\r\n+QUEUED\r\n"
                             "-EXECABORT gone\r\n"));

    assert_int_equal(request.n_replies, 3);
    assert_text(redis_request_reply(&request, 0), REDIS_ERROR,
                "EXECABORT gone");
    assert_text(redis_request_reply(&request, 1), REDIS_ERROR, "ERR arity");
    assert_text(redis_request_reply(&request, 2), REDIS_ERROR,
                "EXECABORT gone");
    redis_request_deinit(&request);
}

static void test_nil_exec_answers_all_with_nil(void **state)
{
    struct redis_request request;

    (void)state;
    init(&request, 2, true);
    assert_ok(feed(&request, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*-1\r\n"));

    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(redis_reply_kind(redis_request_reply(&request, i)),
                         REDIS_NIL);
    redis_request_deinit(&request);
}

static void test_exec_of_another_shape_breaks_the_protocol(void **state)
{
    static const char *const wrong[] = {
        "*1\r\n:1\r\n",
        "*3\r\n:1\r\n:2\r\n:3\r\n",
        ":1\r\n",
        "+OK\r\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct redis_request request;

        init(&request, 2, true);
        assert_ok(feed(&request, "+OK\r\n+QUEUED\r\n+QUEUED\r\n"));
        assert_err(feed(&request, wrong[i]), ERR_PROTOCOL);
        redis_request_deinit(&request);
    }
}

static void test_rewound_request_takes_its_replies_anew(void **state)
{
    struct redis_request request;

    (void)state;
    init(&request, 2, false);
    assert_ok(feed(&request, "+half\r\n"));
    redis_request_rewind(&request);
    assert_int_equal(request.n_replies, 0);
    assert_ok(feed(&request, "+one\r\n+two\r\n"));

    assert_text(redis_request_reply(&request, 0), REDIS_STATUS, "one");
    assert_text(redis_request_reply(&request, 1), REDIS_STATUS, "two");
    redis_request_deinit(&request);
}

static void test_add_says_nomem(void **state)
{
    const char *const args[] = { "GET", "k" };
    struct redis_request request;
    struct err_text why;
    enum err err = ERR_OK;

    (void)state;
    for (unsigned n = 1;; n++) {
        redis_request_init(&request);
        oom_fail_at(n);
        for (unsigned i = 0; i < 5 && err == ERR_OK; i++)
            err = redis_request_add(&request, 2, args, NULL, &why);
        oom_off();
        redis_request_deinit(&request);
        if (!oom_happened())
            break;
        assert_err(err, ERR_NOMEM);
        err = ERR_OK;
    }
    assert_ok(err);
}

/* ---- commands */

static void test_command_is_an_array_of_bulk_strings(void **state)
{
    const char long_value[] =
        "0123456789ab\0with a zero and more than 10 bytes";
    const char *const args[] = { "SET", "", long_value };
    const size_t lens[] = { 3, 0, sizeof(long_value) - 1 };
    const char expected[] = "*3\r\n$3\r\nSET\r\n$0\r\n\r\n$47\r\n"
                            "0123456789ab\0with a zero and more than 10 bytes"
                            "\r\n";
    struct redis_request request;
    struct err_text why;

    (void)state;
    redis_request_init(&request);
    assert_ok(redis_request_add(&request, 3, args, lens, &why));
    assert_int_equal(request.bytes.len, sizeof(expected) - 1);
    assert_memory_equal(request.bytes.data, expected, sizeof(expected) - 1);
    redis_request_deinit(&request);
}

#ifdef REDIS_REPLY_MAP
static void test_replies_of_resp3_are_read(void **state)
{
    struct redis_request request;
    const struct redis_reply *map, *set;

    (void)state;
    init(&request, 7, false);
    assert_ok(feed(&request, "%1\r\n$1\r\nk\r\n:1\r\n"
                             "~2\r\n+a\r\n+b\r\n"
                             ",1.5\r\n#t\r\n_\r\n"
                             "(12345678901234567890\r\n=7\r\ntxt:abc\r\n"));
    map = redis_request_reply(&request, 0);
    assert_int_equal(redis_reply_kind(map), REDIS_MAP);
    assert_int_equal(redis_reply_size(map), 2);
    assert_text(redis_reply_at(map, 0), REDIS_TEXT, "k");
    set = redis_request_reply(&request, 1);
    assert_int_equal(redis_reply_kind(set), REDIS_ARRAY);
    assert_text(redis_reply_at(set, 1), REDIS_STATUS, "b");
    assert_int_equal(redis_reply_kind(redis_request_reply(&request, 2)),
                     REDIS_DOUBLE);
    assert_true(redis_reply_double(redis_request_reply(&request, 2)) == 1.5);
    assert_int_equal(redis_reply_kind(redis_request_reply(&request, 3)),
                     REDIS_BOOL);
    assert_int_equal(redis_reply_integer(redis_request_reply(&request, 3)), 1);
    assert_int_equal(redis_reply_kind(redis_request_reply(&request, 4)),
                     REDIS_NIL);
    assert_text(redis_request_reply(&request, 5), REDIS_TEXT,
                "12345678901234567890");
    assert_text(redis_request_reply(&request, 6), REDIS_TEXT, "abc");
    request.state = REDIS_REQUEST_DONE;
    redis_request_deinit(&request);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifdef REDIS_REPLY_MAP
        cmocka_unit_test(test_replies_of_resp3_are_read),
#endif
        cmocka_unit_test(test_command_is_an_array_of_bulk_strings),
        cmocka_unit_test(test_every_kind_of_reply_is_read),
        cmocka_unit_test(test_arrays_hold_arrays),
        cmocka_unit_test(test_commands_are_written_one_after_another),
        cmocka_unit_test(test_multi_is_written_whole),
        cmocka_unit_test(test_empty_request_is_refused),
        cmocka_unit_test(test_one_write_makes_the_request_a_write),
        cmocka_unit_test(test_blocking_times_add_up_but_not_in_multi),
        cmocka_unit_test(test_exec_answers_the_commands_of_multi),
        cmocka_unit_test(test_aborted_exec_answers_all_with_errors),
        cmocka_unit_test(test_nil_exec_answers_all_with_nil),
        cmocka_unit_test(test_exec_of_another_shape_breaks_the_protocol),
        cmocka_unit_test(test_rewound_request_takes_its_replies_anew),
        cmocka_unit_test(test_add_says_nomem),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
