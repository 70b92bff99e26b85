/* test_format.c - payloads as JSON and as MessagePack. */
#include "embed.h"

static const char SCRIPT[] =
    "local tide = require 'tidepool'\n"
    "tide.handler('echo', function(call) return call.payload end)\n"
    "tide.handler('kind', function(call)\n"
    "  local payload = call.payload\n"
    "  return payload == tide.null and 'null' or type(payload) end)\n"
    "tide.handler('total', function(call)\n"
    "  return call.payload.price * call.payload.count end)\n"
    "tide.handler('nothing', function() end)\n"
    "tide.handler('table', function() return { 1 } end)\n"
    "tide.handler('fn', function() return print end)\n"
    "tide.handler('refuse', function() return nil, 'not today' end)\n";

struct bytes {
    const void *data;
    size_t len;
};

/* Of a text in quotes, which may hold zeros. */
#define BYTES(text)               \
    {                             \
        (text), sizeof(text) - 1U \
    }
#define AS_BYTES(text) ((struct bytes)BYTES(text))

/* What came of a call, of any bytes. */
struct outcome {
    int count;
    int code;
    int format;
    char error[256];
    char payload[256];
    size_t len;
};

static void on_outcome(void *ud, const tide_reply *reply)
{
    struct outcome *outcome = ud;

    outcome->count++;
    outcome->code = reply->code;
    outcome->format = reply->format;
    outcome->len = reply->len;
    assert_true(reply->len <= sizeof(outcome->payload));
    if (reply->len > 0)
        memcpy(outcome->payload, reply->payload, reply->len);
    snprintf(outcome->error, sizeof(outcome->error), "%s", reply->error);
}

static tide_request request_in(const char *name, int format,
                               struct bytes payload)
{
    tide_request request;

    tide_request_init(&request);
    request.name = name;
    request.format = format;
    request.payload = payload.data;
    request.len = payload.len;
    return request;
}

static struct outcome ask_in(tide_runtime *runtime, const char *name,
                             int format, struct bytes payload)
{
    struct outcome outcome = { 0 };
    tide_request request = request_in(name, format, payload);

    request.ud = &outcome;
    assert_done(tide_call(runtime, &request, on_outcome, NULL));
    step_until(runtime, outcome.count > 0);
    return outcome;
}

static void assert_reply(const struct outcome *outcome, int format,
                         struct bytes payload)
{
    assert_string_equal(outcome->error, "");
    assert_code(outcome->code, TIDE_OK);
    assert_int_equal(outcome->format, format);
    assert_int_equal(outcome->len, payload.len);
    assert_memory_equal(outcome->payload, payload.data, payload.len);
}

static void test_a_payload_is_a_value_and_so_is_the_reply(void **state)
{
    static const struct {
        const char *name;
        int format;
        struct bytes payload, reply;
    } calls[] = {
        { "total", TIDE_FORMAT_JSON, BYTES("{\"price\":2.5,\"count\":3}"),
          BYTES("7.5") },
        { "echo", TIDE_FORMAT_JSON, BYTES("[1,null,\"a\"]"),
          BYTES("[1,null,\"a\"]") },
        { "kind", TIDE_FORMAT_JSON, BYTES("null"), BYTES("\"null\"") },
        { "kind", TIDE_FORMAT_JSON, BYTES(""), BYTES("\"nil\"") },
        { "nothing", TIDE_FORMAT_JSON, BYTES("1"), BYTES("null") },
        { "total", TIDE_FORMAT_MSGPACK,
          BYTES("\x82\xa5price\x0a\xa5"
                "count\x05"),
          BYTES("\x32") },
        { "echo", TIDE_FORMAT_MSGPACK, BYTES("\x93\x01\xc0\xc4\x02\0\xff"),
          BYTES("\x93\x01\xc0\xc4\x02\0\xff") },
        { "kind", TIDE_FORMAT_MSGPACK,
          BYTES("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), BYTES("\xa6string") },
        { "kind", TIDE_FORMAT_MSGPACK, BYTES("\xc0"), BYTES("\xa4null") },
        { "kind", TIDE_FORMAT_MSGPACK, BYTES(""), BYTES("\xa3nil") },
        { "nothing", TIDE_FORMAT_MSGPACK, BYTES("\x01"), BYTES("\xc0") },
    };
    tide_runtime *runtime = open_script(SCRIPT);

    (void)state;
    for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
        struct outcome outcome =
            ask_in(runtime, calls[i].name, calls[i].format, calls[i].payload);

        assert_reply(&outcome, calls[i].format, calls[i].reply);
    }
    assert_done(tide_close(runtime));
}

static void test_a_raw_reply_says_what_it_is(void **state)
{
    tide_runtime *runtime = open_script(SCRIPT);
    struct outcome outcome;

    (void)state;
    outcome = ask_in(runtime, "echo", TIDE_FORMAT_RAW, AS_BYTES("{\0\xff"));
    assert_reply(&outcome, TIDE_FORMAT_RAW, AS_BYTES("{\0\xff"));
    outcome = ask_in(runtime, "nothing", TIDE_FORMAT_RAW, AS_BYTES(""));
    assert_reply(&outcome, TIDE_FORMAT_RAW, AS_BYTES(""));
    outcome = ask_in(runtime, "table", TIDE_FORMAT_RAW, AS_BYTES(""));
    assert_reply(&outcome, TIDE_FORMAT_JSON, AS_BYTES("[1]"));
    assert_done(tide_close(runtime));
}

static void test_a_wrong_payload_is_refused_by_its_byte(void **state)
{
    tide_runtime *runtime = open_script(SCRIPT);
    struct outcome outcome;

    (void)state;
    outcome = ask_in(runtime, "echo", TIDE_FORMAT_JSON, AS_BYTES("{\"a\":x}"));
    assert_code(outcome.code, TIDE_BADARG);
    assert_non_null(strstr(outcome.error, "bad JSON: "));
    assert_non_null(strstr(outcome.error, "at character 6"));
    outcome = ask_in(runtime, "echo", TIDE_FORMAT_JSON, AS_BYTES("1 2"));
    assert_code(outcome.code, TIDE_BADARG);
    outcome = ask_in(runtime, "echo", TIDE_FORMAT_MSGPACK,
                     AS_BYTES("\x92\x01\xa3"
                              "ab"));
    assert_code(outcome.code, TIDE_BADARG);
    assert_string_equal(outcome.error, "bad MessagePack: the bytes end within "
                                       "what begins here at byte 3 of 5");
    assert_int_equal(outcome.format, TIDE_FORMAT_RAW);
    assert_int_equal(outcome.len, 0);
    assert_done(tide_close(runtime));
}

static void test_a_reply_that_cannot_be_written_is_a_failure(void **state)
{
    static const int formats[] = { TIDE_FORMAT_RAW, TIDE_FORMAT_JSON,
                                   TIDE_FORMAT_MSGPACK };
    tide_runtime *runtime = open_script(SCRIPT);

    (void)state;
    for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
        struct outcome outcome =
            ask_in(runtime, "fn", formats[i], AS_BYTES(""));

        assert_code(outcome.code, TIDE_SCRIPT);
        assert_non_null(strstr(outcome.error, "a function cannot be written"));
        outcome = ask_in(runtime, "refuse", formats[i], AS_BYTES(""));
        assert_code(outcome.code, TIDE_SCRIPT);
        assert_string_equal(outcome.error, "not today");
    }
    assert_done(tide_close(runtime));
}

static void test_a_result_of_a_post_has_its_format(void **state)
{
    tide_runtime *runtime = open_script(SCRIPT);
    tide_request request =
        request_in("echo", TIDE_FORMAT_MSGPACK, AS_BYTES("\x91\x05"));
    tide_result result;
    size_t count = 0;

    (void)state;
    assert_done(tide_post(runtime, 1, &request));
    while (count == 0) {
        wait_for_work(runtime);
        assert_done(tide_step(runtime, 1000000000, NULL));
        assert_done(tide_collect(runtime, &result, 1, &count));
    }

    assert_code(result.code, TIDE_OK);
    assert_int_equal(result.format, TIDE_FORMAT_MSGPACK);
    assert_int_equal(result.len, 2);
    assert_memory_equal(result.payload, "\x91\x05", 2);
    assert_done(tide_close(runtime));
}

static void test_a_format_that_is_none_is_refused(void **state)
{
    tide_runtime *runtime = open_script(SCRIPT);
    static const int formats[] = { -1, TIDE_FORMAT_MSGPACK + 1 };

    (void)state;
    for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
        tide_request request = request_in("echo", formats[i], AS_BYTES(""));

        assert_code(tide_call(runtime, &request, on_outcome, NULL),
                    TIDE_BADARG);
        assert_code(tide_post(runtime, 1, &request), TIDE_BADARG);
    }
    assert_done(tide_close(runtime));
}

static void test_a_request_of_an_older_header_is_raw(void **state)
{
    tide_runtime *runtime = open_script(SCRIPT);
    tide_request request =
        request_in("echo", TIDE_FORMAT_MSGPACK, AS_BYTES("x"));
    struct outcome outcome = { 0 };

    (void)state;
    request.size = offsetof(tide_request, format);
    request.ud = &outcome;
    assert_done(tide_call(runtime, &request, on_outcome, NULL));
    step_until(runtime, outcome.count > 0);

    assert_reply(&outcome, TIDE_FORMAT_RAW, AS_BYTES("x"));
    assert_done(tide_close(runtime));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_payload_is_a_value_and_so_is_the_reply),
        cmocka_unit_test(test_a_raw_reply_says_what_it_is),
        cmocka_unit_test(test_a_wrong_payload_is_refused_by_its_byte),
        cmocka_unit_test(test_a_reply_that_cannot_be_written_is_a_failure),
        cmocka_unit_test(test_a_result_of_a_post_has_its_format),
        cmocka_unit_test(test_a_format_that_is_none_is_refused),
        cmocka_unit_test(test_a_request_of_an_older_header_is_raw),
    };

    return cmocka_run_group_tests_name("format", tests, NULL, NULL);
}
