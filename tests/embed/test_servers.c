/* test_servers.c - runtimes with a real Postgres and a real Redis. */
#include "servers.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

enum { RUNTIMES = 2, POSTERS = 4, POSTS = 100, KEYS = 10, IN_FLIGHT = 30 };

static const char SCRIPT[] =
    "local tide = require 'tidepool'\n"
    "local db, redis = tide.postgres(), tide.redis()\n"
    "tide.handler('both', function(call)\n"
    "  local row, err = db:one('SELECT $1::int + 1 AS n', call.payload)\n"
    "  if not row then return nil, err end\n"
    "  local ok\n"
    "  ok, err = redis:set('n', row.n)\n"
    "  if not ok then return nil, err end\n"
    "  return redis:get 'n'\n"
    "end)\n"
    "tide.handler('make', function()\n"
    "  return db:exec 'CREATE TABLE IF NOT EXISTS posts "
    "(key int, number int)' and 'made' end)\n"
    "tide.handler('add', function(call)\n"
    "  local key, number = call.payload:match '^(%d+) (%d+)$'\n"
    "  local ok, err = db:exec("
    "'INSERT INTO posts VALUES ($1, $2)', key, number)\n"
    "  if not ok then return nil, err end\n"
    "  return redis:incr 'posts' end)\n"
    "tide.handler('count', function()\n"
    "  return db:one('SELECT count(*) AS n FROM posts').n "
    ".. ' ' .. redis:get 'posts' end)\n"
    "tide.handler('rows', function()\n"
    "  return tostring(#db:query('SELECT i, md5(i::text) "
    "FROM generate_series(1, 50000) AS i')) end)\n"
    "tide.handler('nap', function()\n"
    "  return db:exec 'SELECT pg_sleep(3600)' end)\n"
    "tide.handler('block', function()\n"
    "  return redis:call('BLPOP', 'nothing', '0') end)\n"
    "tide.handler('backends', function()\n"
    "  return db:one(\"SELECT count(*) AS n FROM pg_stat_activity "
    "WHERE query = 'SELECT pg_sleep(3600)' AND state = 'active'\").n end)\n";

static void use_servers(tide_runtime *runtime)
{
    assert_done(tide_set(runtime, "database.postgres_url", postgres_url()));
    assert_done(tide_set(runtime, "redis.url", redis_url()));
}

static tide_runtime *open_with(void *uv_loop)
{
    tide_options options;
    tide_runtime *runtime = NULL;

    tide_options_init(&options);
    options.uv_loop = uv_loop;
    assert_done(tide_open(&runtime, &options));
    use_servers(runtime);
    if (tide_load(runtime, "servers.lua", SCRIPT) != TIDE_OK)
        fail_msg("%s", tide_last_error(runtime));
    return runtime;
}

/* ---- both servers, killed and started again */

/* Runs until a call has its reply: by steps, or by the host's loop. */
static void run_until_told(tide_runtime *runtime, uv_loop_t *loop,
                           const struct answer *answer)
{
    if (loop == NULL) {
        step_until(runtime, answer->count > 0);
        return;
    }
    while (answer->count == 0)
        uv_run(loop, UV_RUN_ONCE);
}

static void ask_on(tide_runtime *runtime, uv_loop_t *loop,
                   struct answer *answer, const char *name, const char *payload)
{
    tide_request request = request_for(answer, name, payload);

    memset(answer, 0, sizeof(*answer));
    request.timeout_ms = 20000;
    assert_done(tide_call(runtime, &request, on_reply, NULL));
    run_until_told(runtime, loop, answer);
    assert_int_equal(answer->freed, 1);
}

/* Until it is answered again, within the patience of a back-off. */
static void ask_until_ok(tide_runtime *runtime, uv_loop_t *loop)
{
    uint64_t give_up_ns = now_ns() + 30000000000ULL;
    struct answer answer = { .code = TIDE_LOST };

    while (answer.code != TIDE_OK) {
        if (now_ns() > give_up_ns)
            fail_msg("no answer again: %s", answer.error);
        ask_on(runtime, loop, &answer, "both", "6");
    }
    assert_string_equal(answer.payload, "7");
}

static void ask_through_kills(tide_runtime *runtime, uv_loop_t *loop)
{
    static const char *const names[] = { "postgres", "redis" };
    struct answer answer;

    ask_on(runtime, loop, &answer, "both", "41");
    assert_code(answer.code, TIDE_OK);
    assert_string_equal(answer.payload, "42");
    for (int i = 0; i < 2; i++) {
        server_kill(names[i]);
        ask_on(runtime, loop, &answer, "both", "1");
        assert_true(answer.code == TIDE_LOST || answer.code == TIDE_REFUSED);
        assert_true(strlen(answer.error) > 0);
        server_restart(names[i]);
        ask_until_ok(runtime, loop);
    }
}

static void test_servers_that_die_are_asked_again_by_steps(void **state)
{
    tide_runtime *runtime = open_with(NULL);

    (void)state;
    ask_through_kills(runtime, NULL);
    assert_done(tide_close(runtime));
}

static void test_servers_that_die_are_asked_again_on_a_hosts_loop(void **state)
{
    tide_runtime *runtime;
    uv_loop_t loop;

    (void)state;
    uv_loop_init(&loop);
    runtime = open_with(&loop);
    ask_through_kills(runtime, &loop);
    assert_done(tide_close(runtime));

    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* ---- threads */

struct poster {
    tide_runtime *runtime;
    int number;
};

static void *post_all(void *ud)
{
    const struct timespec moment = { .tv_nsec = 200000 };
    struct poster *poster = ud;

    for (int i = 0; i < POSTS; i++) {
        tide_request request;
        char payload[40];
        uint64_t key = (uint64_t)(i % KEYS);

        tide_request_init(&request);
        request.name = "add";
        request.payload = payload;
        request.len =
            (size_t)snprintf(payload, sizeof(payload), "%d %d", (int)key, i);
        while (tide_post(poster->runtime, key, &request) == TIDE_BUSY)
            nanosleep(&moment, NULL);
    }
    return NULL;
}

static atomic_int n_right;

static void *run_runtime(void *unused)
{
    tide_runtime *runtime = NULL;
    struct poster posters[POSTERS];
    pthread_t threads[POSTERS];
    tide_options options;
    int left = POSTERS * POSTS;

    (void)unused;
    tide_options_init(&options);
    options.max_posts = 50;
    if (tide_open(&runtime, &options) != TIDE_OK)
        return NULL;
    use_servers(runtime);
    if (tide_load(runtime, "servers.lua", SCRIPT) != TIDE_OK)
        return NULL;
    for (int i = 0; i < POSTERS; i++) {
        posters[i] = (struct poster){ runtime, i };
        pthread_create(&threads[i], NULL, post_all, &posters[i]);
    }
    while (left > 0) {
        tide_result results[16];
        size_t count = 0;

        wait_for_work(runtime);
        if (tide_step(runtime, 1000000, NULL) != TIDE_OK ||
            tide_collect(runtime, results, 16, &count) != TIDE_OK)
            return NULL;
        left -= (int)count;
        for (size_t i = 0; i < count; i++)
            atomic_fetch_add(&n_right, results[i].code == TIDE_OK);
    }
    for (int i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
    (void)tide_close(runtime);
    return NULL;
}

static void test_posts_of_many_threads_are_stored_once_each(void **state)
{
    tide_runtime *runtime = open_with(NULL);
    pthread_t threads[RUNTIMES];
    struct answer answer;
    char expected[40];

    (void)state;
    ask(runtime, &answer, "make", NULL);
    assert_string_equal(answer.payload, "made");
    for (int i = 0; i < RUNTIMES; i++)
        pthread_create(&threads[i], NULL, run_runtime, NULL);
    for (int i = 0; i < RUNTIMES; i++)
        pthread_join(threads[i], NULL);

    assert_int_equal(n_right, RUNTIMES * POSTERS * POSTS);
    snprintf(expected, sizeof(expected), "%d %d", n_right, n_right);
    ask(runtime, &answer, "count", NULL);
    assert_string_equal(answer.payload, expected);
    assert_done(tide_close(runtime));
}

/* ---- ends */

static void begin_many(tide_runtime *runtime, struct answer *answers)
{
    for (int i = 0; i < IN_FLIGHT; i++) {
        tide_request request =
            request_for(&answers[i], i % 2 == 0 ? "nap" : "block", NULL);

        assert_done(tide_call(runtime, &request, on_reply, NULL));
    }
}

/* Steps runtime until other sees its naps at the server, or none any more. */
static void wait_for_naps(tide_runtime *other, bool are_expected,
                          tide_runtime *runtime)
{
    uint64_t give_up_ns = now_ns() + 20000000000ULL;
    struct answer answer = { 0 };
    bool are_there = !are_expected;

    while (are_there != are_expected) {
        if (now_ns() > give_up_ns)
            fail_msg("in vain, there are %s naps", answer.payload);
        if (runtime != NULL)
            assert_done(tide_step(runtime, 1000000, NULL));
        ask(other, &answer, "backends", NULL);
        are_there = strcmp(answer.payload, "0") != 0;
    }
}

static void test_close_ends_what_is_in_flight_at_the_servers(void **state)
{
    struct answer answers[IN_FLIGHT] = { { 0 } };
    tide_runtime *other = open_with(NULL);
    tide_runtime *runtime = open_with(NULL);

    (void)state;
    begin_many(runtime, answers);
    wait_for_naps(other, true, runtime);
    assert_done(tide_close(runtime));

    for (int i = 0; i < IN_FLIGHT; i++) {
        assert_int_equal(answers[i].count, 1);
        assert_int_equal(answers[i].freed, 1);
        assert_code(answers[i].code, TIDE_CANCELLED);
    }
    wait_for_naps(other, false, NULL);
    assert_done(tide_close(other));
}

static void test_a_child_may_not_and_its_parent_goes_on(void **state)
{
    tide_runtime *runtime = open_with(NULL);
    struct answer answer;
    int status = 1;
    pid_t pid;

    (void)state;
    ask(runtime, &answer, "both", "1");
    pid = fork();
    if (pid == 0) {
        /* valgrind does not look for leaks there, as it would in _exit() */
        if (tide_step(runtime, 0, NULL) == TIDE_FORKED &&
            tide_close(runtime) == TIDE_FORKED)
            execlp("true", "true", NULL);
        _exit(1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);

    assert_int_equal(status, 0);
    ask(runtime, &answer, "both", "2");
    assert_string_equal(answer.payload, "3");
    assert_done(tide_close(runtime));
}

/* What Lua's collector does for 5 MB that it cannot see is in more than one:
 * each has no time, and does one thing. */
static void test_the_collector_works_for_large_results_in_steps(void **state)
{
    tide_runtime *runtime = open_with(NULL);
    struct answer answer = { 0 };
    tide_request request = request_for(&answer, "rows", NULL);
    int steps = 0;

    (void)state;
    assert_done(tide_call(runtime, &request, on_reply, NULL));
    while (answer.count == 0) {
        wait_for_work(runtime);
        assert_done(tide_step(runtime, 0, NULL));
    }
    assert_string_equal(answer.payload, "50000");
    for (; tide_next_timeout_ms(runtime) == 0; steps++)
        assert_done(tide_step(runtime, 0, NULL));

    assert_in_range(steps, 8, 100000);
    assert_done(tide_close(runtime));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_collector_works_for_large_results_in_steps),
        cmocka_unit_test(test_servers_that_die_are_asked_again_by_steps),
        cmocka_unit_test(test_servers_that_die_are_asked_again_on_a_hosts_loop),
        cmocka_unit_test(test_posts_of_many_threads_are_stored_once_each),
        cmocka_unit_test(test_close_ends_what_is_in_flight_at_the_servers),
        cmocka_unit_test(test_a_child_may_not_and_its_parent_goes_on),
    };

    return cmocka_run_group_tests_name("servers", tests, servers_start,
                                       servers_stop);
}
