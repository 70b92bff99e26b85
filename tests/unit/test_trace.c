/* test_trace.c - traces written and read back, recordings that rotate, and what
 * is said of files that are no traces. */
#include "fake_driver.h"
#include "pool/event.h"
#include "pool/flight.h"
#include "trace/dump.h"
#include "trace/recorder.h"
#include "trace/trace.h"
#include "turns.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];

static const char *path_of(const char *name)
{
    static char path[4][128];
    static unsigned next;
    char *out = path[next++ % 4];

    snprintf(out, sizeof(path[0]), "%s/%s", dir, name);
    return out;
}

static void put(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static const char HEAD[] = "# tidepool trace 1 began_us 1000000\n"
                           "# pool 0 main postgres max_connections=4 lanes=2 "
                           "knob_of_tomorrow=1\n"
                           "# pool 1 cache redis max_connections=3\n"
                           "# us pool what outcome wait_us service_us conn "
                           "class\n";

/* ---- lines */

static void test_lines_are_as_the_header_says(void **state)
{
    char line[TRACE_LINE_MAX];
    struct flight_note note = { .at_ns = 5018211999,
                                .wait_us = 120,
                                .service_us = 15300,
                                .conn = 3,
                                .what = DEMAND_SERVED };
    size_t len;

    (void)state;
    len = trace_note(line, 0, &note, 5 * SECOND);
    line[len] = '\0';
    assert_string_equal(line, "18211 0 lease served 120 15300 3 normal\n");
    note.is_shared = true;
    note.what = DEMAND_SHED;
    len = trace_note(line, 7, &note, 6 * SECOND);
    line[len] = '\0';
    assert_string_equal(line, "0 7 statement shed 120 15300 3 normal\n");
    note = (struct flight_note){ .at_ns = SECOND,
                                 .is_event = true,
                                 .wait_us = UINT32_MAX,
                                 .conn = UINT32_MAX,
                                 .what = POOL_EVENT_CLOSED,
                                 .detail = CLOSE_IDLE_TIMEOUT };
    len = trace_note(line, 31, &note, 0);
    line[len] = '\0';
    assert_string_equal(line, "1000000 31 event closed 4294967295 - "
                              "4294967295 idle_timeout\n");
}

/* ---- reading */

static void read_ok(struct trace *trace, const char *name, const char *pool)
{
    struct err_text why = { .text = "" };

    if (trace_read(trace, path_of(name), pool, &why) != ERR_OK)
        fail_msg("%s: %s", name, why.text);
}

static void test_demands_come_back_by_when_they_were_asked_for(void **state)
{
    struct trace trace;
    char text[1024];

    (void)state;
    snprintf(text, sizeof(text), "%s%s", HEAD,
             "2000 0 lease served 500 1000 1 normal\n"
             "2100 1 statement served 0 100 1 normal\n"
             "2500 0 event opened 812 - 2 -\n"
             "3000 0 statement timeout 2900 0 0 critical\n"
             "# lost 12\n"
             "4000 0 statement served 0 50 1 batch\n"
             "4100 0 lease serv"); /* the writer was killed */
    put("two", text);
    read_ok(&trace, "two", "main");
    assert_int_equal(trace.n_pools, 2);
    assert_string_equal(trace.kind, "postgres");
    assert_int_equal(trace.settings.max_connections, 4);
    assert_int_equal(trace.settings.lanes, 2);
    assert_int_equal(trace.lost, 12);
    assert_int_equal(trace.n_demands, 3);
    assert_int_equal(trace.demands[0].end, DEMAND_TIMEOUT);
    assert_int_equal(trace.demands[0].at_ns, 0);
    assert_int_equal(trace.demands[1].at_ns, 400000);
    assert_int_equal(trace.demands[1].wait_ns, 500000);
    assert_int_equal(trace.demands[1].service_ns, 1000000);
    assert_false(trace.demands[1].is_shared);
    assert_int_equal(trace.demands[2].at_ns, 3850000);
    assert_int_equal(trace.demands[2].class, CLASS_BATCH);
    assert_true(trace.demands[2].is_shared);
    assert_int_equal(trace.span_ns, 3900000);
    trace_free(&trace);
    read_ok(&trace, "two", "cache");
    assert_int_equal(trace.n_demands, 1);
    trace_free(&trace);
}

/* A rotated file and the next one, one behind the other. */
static void test_parts_follow_one_another(void **state)
{
    struct trace trace;

    (void)state;
    put("parts", "# tidepool trace 1 began_us 1000000\n"
                 "# pool 0 main postgres\n"
                 "100 0 lease served 0 100 1 normal\n"
                 "# tidepool trace 1 began_us 3000000\n"
                 "# pool 0 main postgres\n"
                 "100 0 lease served 0 100 1 normal\n");
    read_ok(&trace, "parts", NULL);
    assert_int_equal(trace.n_demands, 2);
    assert_int_equal(trace.demands[1].at_ns, 2 * SECOND);
    trace_free(&trace);
}

static void test_wrong_files_are_explained(void **state)
{
    static const struct {
        const char *text, *pool, *says;
    } cases[] = {
        { "", NULL, "this is no trace" },
        { "hello\n", NULL, "line 1: this is no trace" },
        { "# tidepool trace 2 began_us 0\n", NULL, "another version" },
        { "# tidepool trace 1 began_us 5\n# tidepool trace 1 began_us 4\n",
          NULL, "line 2: the parts are in the wrong order" },
        { "# tidepool trace 1 began_us 5\n# pool 99 x y\n", NULL,
          "line 2: expected # pool" },
        { HEAD, NULL, "several pools, say which: main, cache" },
        { HEAD, "other", "no pool other; there are: main, cache" },
        { "# tidepool trace 1 began_us 5\n# pool 0 m p\nx\n", NULL,
          "line 3: expected US" },
        { "# tidepool trace 1 began_us 5\n# pool 0 m p\n1 0 lease\n", NULL,
          "line 3: expected eight" },
        { "# tidepool trace 1 began_us 5\n# pool 0 m p\n"
          "1 0 lease eaten 1 1 1 1\n",
          NULL, "line 3: neither a lease" },
        { "# tidepool trace 1 began_us 5\n# pool 0 m p\n"
          "1 0 loan served 1 1 1 1\n",
          NULL, "line 3: neither a lease" },
        { "# tidepool trace 1 began_us 5\n# pool 0 m p\n"
          "1 0 lease served 18446744073709551 5000 1 1\n",
          NULL, "line 3: a time of more than 31 years" },
        { "# tidepool trace 1 began_us 5\n# pool 0 m p\n"
          "1 0 lease served 1 -1 1 1\n",
          NULL, "line 3: a time of more than 31 years" },
        { "# tidepool trace 1 began_us 5\n"
          "# tidepool trace 1 began_us 18446744073709551615\n",
          NULL, "line 2: a time of more than 31 years" },
    };
    struct trace trace;
    struct err_text why;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        put("wrong", cases[i].text);
        assert_err(trace_read(&trace, path_of("wrong"), cases[i].pool, &why),
                   ERR_BADARG);
        if (strstr(why.text, cases[i].says) == NULL)
            fail_msg("%zu: \"%s\" has no \"%s\"", i, why.text, cases[i].says);
    }
    assert_err(trace_read(&trace, path_of("missing"), NULL, &why), ERR_BADARG);
    assert_non_null(strstr(why.text, "cannot be opened"));
}

/* ---- recordings and dumps */

static void lend_once(struct fake *fake)
{
    struct conn *conn = fake_try(fake);

    assert_non_null(conn);
    fake->now_ns += 1000;
    fake_release(fake, conn, CONN_CLEAN);
}

static void start(struct fake *fake, uint64_t now_ns)
{
    fake_init(fake);
    fake->now_ns = now_ns;
    fake->flight = flight_new();
    fake->settings.max_connections = 1;
    fake_start_open(fake);
}

static void end(struct fake *fake)
{
    fake_end(fake);
    flight_free(fake->flight);
}

static void test_a_recording_reads_back(void **state)
{
    struct loop *loop = make_loop();
    struct recorder *recorder;
    struct recorder_stats stats;
    struct err_text why;
    struct fake fake;
    struct trace trace;

    (void)state;
    start(&fake, loop_now_ns(loop));
    assert_ok(recorder_new(&recorder, loop, path_of("rec"), 1 << 20, &why));
    assert_ok(recorder_add(recorder, fake.pool, "main", "postgres"));
    for (int i = 0; i < 1000; i++)
        lend_once(&fake);
    recorder_stats(recorder, &stats);
    assert_int_equal(stats.lines, 1000);
    recorder_free(recorder);
    drop_loop(loop);
    lend_once(&fake); /* is told to nobody */
    read_ok(&trace, "rec", NULL);
    assert_int_equal(trace.n_demands, 1000);
    assert_int_equal(trace.settings.max_connections, 1);
    assert_int_equal(trace.demands[999].service_ns, 1000);
    trace_free(&trace);
    end(&fake);
}

/* Goes on until it has. */
static bool has_rotated(const struct recorder *recorder, struct fake *fake)
{
    struct recorder_stats stats;

    for (int i = 0; i < 10000; i++)
        lend_once(fake);
    recorder_stats(recorder, &stats);
    assert_int_equal(stats.error, 0);
    return stats.rotations > 0;
}

static void test_a_recording_is_bounded(void **state)
{
    struct loop *loop = make_loop();
    struct recorder *recorder;
    struct err_text why;
    struct fake fake;
    struct trace trace;

    (void)state;
    start(&fake, loop_now_ns(loop));
    fake.is_unchecked = true;
    assert_ok(recorder_new(&recorder, loop, path_of("full"), 10000, &why));
    assert_ok(recorder_add(recorder, fake.pool, "main", "postgres"));
    wait_for(loop, has_rotated(recorder, &fake));
    recorder_free(recorder);
    drop_loop(loop);
    read_ok(&trace, "full.1", NULL);
    assert_true(trace.n_demands > 1000);
    trace_free(&trace);
    read_ok(&trace, "full", NULL); /* begins with a head of its own */
    trace_free(&trace);
    end(&fake);
}

static void test_a_dump_is_for_its_owner_and_names_holders(void **state)
{
    struct fake fake;
    struct trace trace;
    struct stat info;
    struct conn *conn;
    struct buf text = { 0 };

    (void)state;
    start(&fake, SECOND);
    lend_once(&fake);
    conn = fake_try(&fake);
    assert_int_equal(
        dump_file(path_of("dump"), fake.pool, "a pool", "redis", fake.now_ns),
        0);
    assert_int_equal(stat(path_of("dump"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    read_ok(&trace, "dump", "a_pool");
    assert_int_equal(trace.n_demands, 1);
    trace_free(&trace);
    dump_text(&text, fake.pool, "a", "redis", fake.now_ns + 7 * MS);
    buf_put_char(&text, '\0');
    assert_non_null(strstr(text.data, "# held 1 try.lua:1 7000\n"));
    buf_free(&text);
    assert_int_equal(symlink("/dev/null", path_of("link")), 0);
    assert_true(dump_file(path_of("link"), fake.pool, "a", "redis", 0) != 0);
    fake_release(&fake, conn, CONN_CLEAN);
    end(&fake);
}

static int begin_group(void **state)
{
    (void)state;
    make_dir(dir);
    return 0;
}

static int end_group(void **state)
{
    (void)state;
    drop_dir(dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_are_as_the_header_says),
        cmocka_unit_test(test_demands_come_back_by_when_they_were_asked_for),
        cmocka_unit_test(test_parts_follow_one_another),
        cmocka_unit_test(test_wrong_files_are_explained),
        cmocka_unit_test(test_a_recording_reads_back),
        cmocka_unit_test(test_a_recording_is_bounded),
        cmocka_unit_test(test_a_dump_is_for_its_owner_and_names_holders),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, begin_group, end_group);
}
