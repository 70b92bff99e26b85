/* test_redis_command.c - which commands are shared, which block, which are
 * refused. */
#include "unit.h"

#include "redis/command.h"

enum { WORDS_MAX = 16 };

/* Splits line at its spaces; words lie one after another in it, so that only
 * their lengths end them. */
static enum err check(const char *line, struct redis_command_use *use,
                      struct err_text *why)
{
    const char *args[WORDS_MAX];
    size_t lens[WORDS_MAX];
    unsigned count = 0;

    while (*line != '\0') {
        assert_in_range(count, 0, WORDS_MAX - 1);
        args[count] = line;
        lens[count] = strcspn(line, " ");
        line += lens[count++];
        line += *line == ' ';
    }
    return redis_command_check(count, args, lens, use, why);
}

static struct redis_command_use used(const char *line)
{
    struct redis_command_use use = { 0 };
    struct err_text why = { 0 };

    if (check(line, &use, &why) != ERR_OK)
        fail_msg("%s: %s", line, why.text);
    return use;
}

static void test_reads_may_be_sent_twice_in_any_case(void **state)
{
    static const char *const reads[] = {
        "GET k",         "get k",    "MGeT a b", "HGETALL h", "BITCOUNT k",
        "ZUNION 1 z",    "XRANGE s", "TTL k",    "SCAN 0",    "PING",
        "ZRANGEBYSCORE", "EVAL_RO",  "TIME",     "LRANGE",    "script LOAD x",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(reads); i++) {
        assert_true(used(reads[i]).is_read_only);
        assert_false(used(reads[i]).is_blocking);
    }
}

static void test_all_else_counts_as_a_write(void **state)
{
    static const char *const writes[] = {
        "SET k v",
        "INCR k",
        "GETDEL k",
        "GETEX k",
        "EVAL x 0",
        "FT.SEARCH i q",
        "PUBLISH c m",
        "GETSET k v",
        "SORT k",
        "CLIENT LIST",
        "CLIENT",
        "SCRIPT FLUSH",
        "GETT k",
        "A",
        "ZZZ",
        "SHUTDOWN NOSAVE",
        "CONFIG GET x",
        "CLIENT A-WORD-LONGER-THAN-ANY-NAME",
        "A-COMMAND-LONGER-THAN-ANY-NAME",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(writes); i++) {
        assert_false(used(writes[i]).is_read_only);
        assert_false(used(writes[i]).is_blocking);
    }
}

/* line, and a part of the advice */
static const char *const refused[][2] = {
    { "MULTI", "MULTI on a shared connection: use cache:multi(fn)" },
    { "exec", "EXEC on a shared connection: use cache:multi(fn)" },
    { "Discard", "cache:multi(fn)" },
    { "WATCH k", "cache:with(fn)" },
    { "UNWATCH", "cache:with(fn)" },
    { "SUBSCRIBE c", "cache:subscribe(channel, fn)" },
    { "PSUBSCRIBE c", "cache:subscribe(channel, fn)" },
    { "SSUBSCRIBE c", "cache:subscribe(channel, fn)" },
    { "UNSUBSCRIBE", "cache:subscribe(channel, fn)" },
    { "PUNSUBSCRIBE", "cache:subscribe(channel, fn)" },
    { "SUNSUBSCRIBE", "cache:subscribe(channel, fn)" },
    { "SELECT 1", "redis://host/2" },
    { "AUTH x", "url" },
    { "HELLO 3", "url" },
    { "MONITOR", "redis-cli" },
    { "SYNC", "redis-cli" },
    { "PSYNC", "redis-cli" },
    { "REPLCONF", "redis-cli" },
    { "SCRIPT debug YES", "SCRIPT DEBUG on a shared connection" },
    { "QUIT", "the pool opens and closes" },
    { "RESET", "the pool opens and closes" },
    { "READONLY", "cache:with(fn)" },
    { "READWRITE", "cache:with(fn)" },
    { "ASKING", "cache:with(fn)" },
    { "CLIENT REPLY OFF", "CLIENT REPLY on a shared connection" },
    { "client setname x", "CLIENT SETNAME on a shared connection" },
    { "CLIENT TRACKING ON", "invalidations" },
    { "CLIENT CACHING YES", "invalidations" },
    { "CLIENT NO-EVICT ON", "cache:with(fn)" },
    { "CLIENT NO-TOUCH ON", "cache:with(fn)" },
    { "CLIENT SETINFO LIB-NAME x", "cache:with(fn)" },
    { "", "begins with its name" },
    { " x", "begins with its name" },
};

static void test_what_would_disturb_others_is_refused_with_advice(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct redis_command_use use = { 0 };
        struct err_text why = { 0 };

        assert_err(check(refused[i][0], &use, &why), ERR_BADARG);
        if (strstr(why.text, refused[i][1]) == NULL)
            fail_msg("%s: %s", refused[i][0], why.text);
    }
}

static const struct {
    const char *line;
    uint64_t ms;
} blocking[] = {
    { "BLPOP a b 2", 2000 },
    { "brpop a 0.25", 250 },
    { "BLMOVE a b LEFT RIGHT 3", 3000 },
    { "BRPOPLPUSH a b 1", 1000 },
    { "BZPOPMIN z 1", 1000 },
    { "BZPOPMAX z 1", 1000 },
    { "BLMPOP 4 1 a LEFT", 4000 },
    { "BZMPOP 4 1 z MIN", 4000 },
    { "WAIT 1 500", 500 },
    { "WAITAOF 1 0 700", 700 },
    { "XREAD COUNT 1 BLOCK 90 STREAMS s $", 90 },
    { "XREADGROUP GROUP g c BLOCK 80 STREAMS s >", 80 },
    { "BLPOP a nonsense", 0 },
    { "BLPOP a -1", 0 },
    { "BLPOP", 0 },
    { "BLMPOP", 0 },
};

static void test_blocking_commands_say_for_how_long(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(blocking); i++) {
        struct redis_command_use use = used(blocking[i].line);

        assert_true(use.is_blocking);
        assert_int_equal(use.block_ns, blocking[i].ms * 1000000);
    }
    assert_int_equal(used("BLPOP a 0").block_ns, COMMAND_BLOCKS_FOR_EVER);
    assert_int_equal(used("BLPOP a 1e300").block_ns, COMMAND_BLOCKS_FOR_EVER);
    assert_int_equal(used("XREAD BLOCK 0 STREAMS s $").block_ns,
                     COMMAND_BLOCKS_FOR_EVER);
}

static void test_stream_reads_block_only_with_block(void **state)
{
    struct redis_command_use read = used("XREAD COUNT 2 STREAMS BLOCK 0");
    struct redis_command_use group =
        used("XREADGROUP GROUP BLOCK c STREAMS s >");

    (void)state;
    assert_false(read.is_blocking);
    assert_true(read.is_read_only);
    assert_false(group.is_blocking);
    assert_false(group.is_read_only);
    assert_true(used("XREAD BLOCK 1 STREAMS s $").is_read_only);
}

static void test_words_may_end_with_zeroes_instead(void **state)
{
    const char *const args[] = { "blpop", "k", "5" };
    struct redis_command_use use;
    struct err_text why;

    (void)state;
    assert_ok(redis_command_check(3, args, NULL, &use, &why));
    assert_true(use.is_blocking);
    assert_int_equal(use.block_ns, 5000000000);
}

static void test_lease_takes_what_it_can_be_cleaned_of(void **state)
{
    static const char *const taken[] = { "WATCH", "unwatch", "MULTI",
                                         "EXEC",  "DISCARD", "SELECT" };
    static const char *const still[] = { "SUBSCRIBE", "MONITOR", "AUTH",
                                         "HELLO",     "RESET",   "QUIT" };
    struct redis_command_use use;
    struct err_text why;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(taken); i++) {
        assert_ok(redis_command_check_leased(1, &taken[i], NULL, &use, &why));
        assert_true(use.is_session);
        assert_ok(redis_command_check_leased(1, (const char *[]){ "GET" }, NULL,
                                             &use, &why));
        assert_false(use.is_session);
    }
    for (size_t i = 0; i < ARRAY_LEN(still); i++) {
        assert_err(redis_command_check_leased(1, &still[i], NULL, &use, &why),
                   ERR_BADARG);
        assert_non_null(strstr(why.text, "on a leased connection"));
    }
}

static void test_lease_takes_marks_that_close_it(void **state)
{
    static const char *const marks[] = { "SETNAME", "setinfo", "NO-EVICT",
                                         "NO-TOUCH" };
    struct redis_command_use use;
    struct err_text why;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
        const char *const args[] = { "CLIENT", marks[i], "x" };

        assert_ok(redis_command_check_leased(3, args, NULL, &use, &why));
        assert_true(use.is_mark);
        assert_false(use.is_session);
    }
    assert_ok(redis_command_check_leased(2, (const char *[]){ "CLIENT", "ID" },
                                         NULL, &use, &why));
    assert_false(use.is_mark);
    assert_err(
        redis_command_check_leased(
            3, (const char *[]){ "CLIENT", "REPLY", "OFF" }, NULL, &use, &why),
        ERR_BADARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_may_be_sent_twice_in_any_case),
        cmocka_unit_test(test_all_else_counts_as_a_write),
        cmocka_unit_test(test_what_would_disturb_others_is_refused_with_advice),
        cmocka_unit_test(test_blocking_commands_say_for_how_long),
        cmocka_unit_test(test_stream_reads_block_only_with_block),
        cmocka_unit_test(test_words_may_end_with_zeroes_instead),
        cmocka_unit_test(test_lease_takes_what_it_can_be_cleaned_of),
        cmocka_unit_test(test_lease_takes_marks_that_close_it),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
