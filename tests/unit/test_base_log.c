/* test_base_log.c - levels, sinks and the two line formats. */
#include "unit.h"

#include "base/log.h"

/* 2024-02-29 12:34:56.789 UTC and a bit. */
static const uint64_t NOW_NS = 1709210096789999999ULL;

/* clang-format off */
#define PREFIX "ts=2024-02-29T12:34:56.789Z level=info msg="
#define JSON_PREFIX \
    "{\"ts\":\"2024-02-29T12:34:56.789Z\",\"level\":\"info\",\"msg\":"
#define FIELDS(...) \
    (const struct log_field[]) { __VA_ARGS__, { NULL, LOG_END_TYPE, NULL, 0 } }
/* clang-format on */

struct sink_calls {
    int count;
    enum log_level level;
    const char *event;
    char first_key[16];
};

static void record(void *ud, enum log_level level, const char *event,
                   const struct log_field *fields)
{
    struct sink_calls *calls = ud;

    calls->count++;
    calls->level = level;
    calls->event = event;
    strcpy(calls->first_key, fields[0].key);
}

static void format_logfmt(struct buf *out, uint64_t unix_ns,
                          enum log_level level, const char *event,
                          const struct log_field *fields)
{
    log_format_logfmt(out, &(struct log_line){ .unix_ns = unix_ns,
                                               .level = level,
                                               .event = event,
                                               .fields = fields });
}

static void format_json(struct buf *out, uint64_t unix_ns, enum log_level level,
                        const char *event, const struct log_field *fields)
{
    log_format_json(out, &(struct log_line){ .unix_ns = unix_ns,
                                             .level = level,
                                             .event = event,
                                             .fields = fields });
}

/* Checks what logfmt makes of one text, as the event. */
static void check_logfmt(const char *text, const char *expected)
{
    struct buf line = { 0 };

    format_logfmt(&line, NOW_NS, LOG_INFO, text,
                  &(struct log_field){ .type = LOG_END_TYPE });
    buf_put_char(&line, '\0');
    assert_memory_equal(line.data, PREFIX, strlen(PREFIX));
    assert_string_equal(line.data + strlen(PREFIX), expected);
    buf_free(&line);
}

static void check_json(const char *text, const char *expected)
{
    struct buf line = { 0 };

    format_json(&line, NOW_NS, LOG_INFO, text,
                &(struct log_field){ .type = LOG_END_TYPE });
    assert_int_equal(line.data[line.len - 1], '}');
    line.data[line.len - 1] = '\0';
    assert_memory_equal(line.data, JSON_PREFIX, strlen(JSON_PREFIX));
    assert_string_equal(line.data + strlen(JSON_PREFIX), expected);
    buf_free(&line);
}

static void test_event_reaches_the_sink_from_its_level_up(void **state)
{
    struct sink_calls calls = { 0 };
    struct log log = { .sink = record, .ud = &calls, .level = LOG_WARN };
    (void)state;

    log_event(&log, LOG_INFO, "quiet", LOG_INT("n", 1));
    assert_int_equal(calls.count, 0);
    log_event(&log, LOG_WARN, "loud", LOG_INT("n", 1));
    assert_int_equal(calls.count, 1);
    log_event(&log, LOG_ERROR, "louder", LOG_STR("why", "x"));

    assert_int_equal(calls.count, 2);
    assert_int_equal(calls.level, LOG_ERROR);
    assert_string_equal(calls.event, "louder");
    assert_string_equal(calls.first_key, "why");
}

static void test_no_log_and_no_sink_are_silent(void **state)
{
    struct log log = { 0 };
    (void)state;

    log_event(NULL, LOG_ERROR, "nobody listens", LOG_INT("n", 1));
    log_event(&log, LOG_ERROR, "nobody listens", LOG_INT("n", 1));
}

static void test_logfmt_writes_every_kind_of_field(void **state)
{
    struct buf line = { 0 };
    (void)state;

    format_logfmt(&line, NOW_NS, LOG_INFO, "slow acquire",
                  FIELDS(LOG_STR("pool", "main"), LOG_INT("open", -3),
                         LOG_MS("waited_ms", 2012345678),
                         LOG_STR("none", NULL)));

    assert_buf(&line, PREFIX "\"slow acquire\" pool=main open=-3 "
                             "waited_ms=2012.345");
    buf_free(&line);
}

static void test_json_writes_every_kind_of_field(void **state)
{
    struct buf line = { 0 };
    (void)state;

    format_json(&line, NOW_NS, LOG_INFO, "slow acquire",
                FIELDS(LOG_STR("pool", "main"), LOG_INT("open", -3),
                       LOG_MS("waited_ms", 2012345678), LOG_STR("none", NULL)));

    assert_buf(&line, JSON_PREFIX "\"slow acquire\",\"pool\":\"main\","
                                  "\"open\":-3,\"waited_ms\":2012.345}");
    buf_free(&line);
}

static void test_logfmt_quotes_what_needs_it(void **state)
{
    (void)state;

    check_logfmt("plain", "plain");
    check_logfmt("/a\\b:c,d", "/a\\b:c,d");
    check_logfmt("caf\xc3\xa9", "caf\xc3\xa9");
    check_logfmt("", "\"\"");
    check_logfmt("a b", "\"a b\"");
    check_logfmt("a=b", "\"a=b\"");
    check_logfmt("say \"hi\"", "\"say \\\"hi\\\"\"");
    check_logfmt("a b\\c", "\"a b\\\\c\"");
    check_logfmt("a\n\r\tb", "\"a\\n\\r\\tb\"");
    check_logfmt("\x01\x7f", "\"\\u0001\\u007f\"");
    check_logfmt("\xff", "\"\xef\xbf\xbd\"");
}

static void test_json_escapes_what_needs_it(void **state)
{
    (void)state;

    check_json("plain", "\"plain\"");
    check_json("", "\"\"");
    check_json("\"\\/", "\"\\\"\\\\/\"");
    check_json("\n\r\t\b", "\"\\n\\r\\t\\u0008\"");
    check_json("\x1f\x7f", "\"\\u001f\\u007f\"");
}

static void test_valid_utf8_is_kept(void **state)
{
    (void)state;

    check_json("\xc2\x80", "\"\xc2\x80\"");
    check_json("\xe0\xa0\x80", "\"\xe0\xa0\x80\"");
    check_json("\xed\x9f\xbf", "\"\xed\x9f\xbf\"");
    check_json("\xef\xbf\xbf", "\"\xef\xbf\xbf\"");
    check_json("\xf0\x90\x80\x80", "\"\xf0\x90\x80\x80\"");
    check_json("\xf4\x8f\xbf\xbf", "\"\xf4\x8f\xbf\xbf\"");
}

#define BAD "\xef\xbf\xbd"

static void test_invalid_utf8_is_replaced(void **state)
{
    (void)state;

    check_json("a\x80z", "\"a" BAD "z\"");
    check_json("\xc3", "\"" BAD "\"");
    check_json("\xc3(", "\"" BAD "(\"");
    check_json("\xc1\xbf", "\"" BAD BAD "\"");
    check_json("\xe0\x9f\xbf", "\"" BAD BAD BAD "\"");
    check_json("\xed\xa0\x80", "\"" BAD BAD BAD "\"");
    check_json("\xe2\x82", "\"" BAD BAD "\"");
    check_json("\xf0\x8f\xbf\xbf", "\"" BAD BAD BAD BAD "\"");
    check_json("\xf4\x90\x80\x80", "\"" BAD BAD BAD BAD "\"");
    check_json("\xf5", "\"" BAD "\"");
    check_json("\xf0\x9f\x98", "\"" BAD BAD BAD "\"");
}

static void test_origin_stands_before_the_fields(void **state)
{
    const struct log_field origin[] = { LOG_INT("worker", 2),
                                        { .type = LOG_END_TYPE } };
    const struct log_field fields[] = { LOG_INT("n", 1),
                                        { .type = LOG_END_TYPE } };
    struct log_line event = { .unix_ns = NOW_NS,
                              .level = LOG_INFO,
                              .event = "e",
                              .origin = origin,
                              .fields = fields };
    struct buf line = { 0 };

    (void)state;
    log_format_logfmt(&line, &event);
    assert_buf(&line, PREFIX "e worker=2 n=1");
    buf_clear(&line);
    log_format_json(&line, &event);
    assert_buf(&line, JSON_PREFIX "\"e\",\"worker\":2,\"n\":1}");
    buf_free(&line);
}

static void test_key_cannot_break_a_line(void **state)
{
    struct buf line = { 0 };
    (void)state;

    format_logfmt(&line, NOW_NS, LOG_INFO, "e",
                  FIELDS(LOG_INT("a b=\"c\n", 1)));
    assert_buf(&line, PREFIX "e a_b__c_=1");
    buf_clear(&line);
    format_json(&line, NOW_NS, LOG_INFO, "e", FIELDS(LOG_INT("a\"b", 1)));
    assert_buf(&line, JSON_PREFIX "\"e\",\"a\\\"b\":1}");
    buf_free(&line);
}

static void test_numbers_are_exact_at_their_ends(void **state)
{
    struct buf line = { 0 };
    (void)state;

    format_logfmt(&line, NOW_NS, LOG_INFO, "e",
                  FIELDS(LOG_INT("i", INT64_MIN), LOG_INT("j", INT64_MAX),
                         LOG_MS("k", INT64_MIN), LOG_MS("l", -1500000),
                         LOG_MS("m", 999), LOG_MS("n", 1000)));

    assert_buf(&line, PREFIX "e i=-9223372036854775808 j=9223372036854775807 "
                             "k=-9223372036854.775 l=-1.500 m=0.000 n=0.001");
    buf_free(&line);
}

static void test_time_covers_the_range(void **state)
{
    static const char *const names[] = { "debug", "info", "warn", "error" };
    struct buf line = { 0 };
    (void)state;

    for (int level = LOG_DEBUG; level <= LOG_ERROR; level++) {
        buf_printf(&line, "|%s|", names[level]);
        format_logfmt(&line, level == LOG_ERROR ? UINT64_MAX : 0,
                      (enum log_level)level, "e",
                      &(struct log_field){ .type = LOG_END_TYPE });
    }

    assert_buf(&line, "|debug|ts=1970-01-01T00:00:00.000Z level=debug msg=e"
                      "|info|ts=1970-01-01T00:00:00.000Z level=info msg=e"
                      "|warn|ts=1970-01-01T00:00:00.000Z level=warn msg=e"
                      "|error|ts=2554-07-21T23:34:33.709Z level=error msg=e");
    buf_free(&line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_event_reaches_the_sink_from_its_level_up),
        cmocka_unit_test(test_no_log_and_no_sink_are_silent),
        cmocka_unit_test(test_logfmt_writes_every_kind_of_field),
        cmocka_unit_test(test_json_writes_every_kind_of_field),
        cmocka_unit_test(test_logfmt_quotes_what_needs_it),
        cmocka_unit_test(test_json_escapes_what_needs_it),
        cmocka_unit_test(test_valid_utf8_is_kept),
        cmocka_unit_test(test_invalid_utf8_is_replaced),
        cmocka_unit_test(test_origin_stands_before_the_fields),
        cmocka_unit_test(test_key_cannot_break_a_line),
        cmocka_unit_test(test_numbers_are_exact_at_their_ends),
        cmocka_unit_test(test_time_covers_the_range),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
