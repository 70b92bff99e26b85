/* test_pools.c - pools from C: leases, statements with typed parameters, rows
 * by column, Redis commands, settings and figures, on real servers. */
#include "servers.h"

#include <stdlib.h>

/* The answer that came last, its values copied. */
struct told {
    int count, freed, code, is_unknown;
    char error[512], sqlstate[8], constraint[64], text[256];
    size_t rows, n_replies;
    tide_lease *lease;
    tide_rows *kept;
    void (*look)(const tide_answer *answer, struct told *told);
};

static void on_free(void *ud)
{
    ((struct told *)ud)->freed++;
}

static void on_answer(void *ud, const tide_answer *answer)
{
    struct told *told = ud;

    told->count++;
    told->code = answer->code;
    told->is_unknown = answer->is_unknown;
    told->lease = answer->lease;
    told->n_replies = answer->n_replies;
    told->rows = answer->rows != NULL ? tide_rows_count(answer->rows) : 0;
    snprintf(told->error, sizeof(told->error), "%s", answer->error);
    snprintf(told->sqlstate, sizeof(told->sqlstate), "%s", answer->sqlstate);
    snprintf(told->constraint, sizeof(told->constraint), "%s",
             answer->constraint);
    if (told->look != NULL)
        told->look(answer, told);
}

static tide_how how_of(struct told *told, tide_lease *lease)
{
    tide_how how;

    memset(told, 0, offsetof(struct told, look));
    tide_how_init(&how);
    how.lease = lease;
    how.ud = told;
    how.free_ud = on_free;
    how.site = "test_pools.c:1";
    return how;
}

static void settle(tide_runtime *runtime, struct told *told)
{
    step_until(runtime, told->count > 0);
    assert_int_equal(told->count, 1);
    assert_int_equal(told->freed, 1);
}

static void query(tide_pool *pool, tide_lease *lease, tide_runtime *runtime,
                  struct told *told, const char *sql, const tide_value *params,
                  size_t n)
{
    tide_how how = how_of(told, lease);

    assert_done(tide_query(pool, &how, sql, params, n, on_answer, NULL));
    assert_int_equal(told->count, 0);
    settle(runtime, told);
}

static void run(tide_pool *pool, tide_lease *lease, tide_runtime *runtime,
                const char *sql)
{
    struct told told = { 0 };

    query(pool, lease, runtime, &told, sql, NULL, 0);
    if (told.code != TIDE_OK)
        fail_msg("%s: %s", sql, told.error);
}

static tide_lease *acquire(tide_pool *pool, tide_runtime *runtime)
{
    struct told told = { 0 };
    tide_how how = how_of(&told, NULL);

    assert_done(tide_acquire(pool, &how, on_answer, NULL));
    assert_int_equal(told.count, 0);
    settle(runtime, &told);
    assert_code(told.code, TIDE_OK);
    assert_non_null(told.lease);
    return told.lease;
}

static tide_pool *open_pool(tide_runtime *runtime, enum tide_kind kind)
{
    tide_pool *pool = NULL;
    const char *url = kind == TIDE_POSTGRES ? postgres_url() : redis_url();

    if (tide_pool_open(runtime, kind, "main", url, &pool) != TIDE_OK)
        fail_msg("%s", tide_last_error(runtime));
    return pool;
}

static tide_pool_stats stats_of(const tide_pool *pool)
{
    tide_pool_stats stats;

    stats.size = sizeof(stats);
    assert_done(tide_pool_read(pool, &stats));
    return stats;
}

/* ---- statements */

static const char types_sql[] =
    "SELECT $1::bool AS flag, $2::int8 AS big, $3::float8 AS half, "
    "$4::text AS name, $5::jsonb AS doc, $6::bytea AS raw, $7::int[] AS list, "
    "$8::text AS none, 12.30::numeric AS exact";

static void add_element(void *ud, unsigned depth, const tide_value *element)
{
    char *sum = ud;

    snprintf(sum + strlen(sum), 32, "%u:%.*s ", depth,
             element->type == TIDE_NULL ? 4 : (int)element->len,
             element->type == TIDE_NULL ? "null" : element->text);
}

static void look_at_types(const tide_answer *answer, struct told *told)
{
    tide_value value;
    char bytes[8] = "", sum[64] = "";
    const tide_rows *rows = answer->rows;

    (void)told;
    assert_int_equal(tide_rows_columns(rows), 9);
    assert_string_equal(tide_rows_name(rows, 1), "big");
    assert_null(tide_rows_name(rows, 9));
    assert_int_equal(tide_rows_column(rows, "raw"), 5);
    assert_int_equal(tide_rows_column(rows, "other"), -1);
    assert_done(tide_rows_value(rows, 0, 0, &value));
    assert_int_equal(value.type, TIDE_BOOL);
    assert_true(value.truth);
    assert_done(tide_rows_value(rows, 0, 1, &value));
    assert_int_equal(value.type, TIDE_INT);
    assert_true(value.integer == INT64_MIN);
    assert_done(tide_rows_value(rows, 0, 2, &value));
    assert_int_equal(value.type, TIDE_FLOAT);
    assert_true(value.number > 0.49 && value.number < 0.51);
    assert_done(tide_rows_value(rows, 0, 3, &value));
    assert_int_equal(value.type, TIDE_TEXT);
    assert_string_equal(value.text, "moon");
    assert_done(tide_rows_value(rows, 0, 4, &value));
    assert_int_equal(value.type, TIDE_JSON);
    assert_string_equal(value.text, "{\"a\": 1}");
    assert_done(tide_rows_value(rows, 0, 5, &value));
    assert_int_equal(value.type, TIDE_BYTES);
    assert_int_equal(tide_value_bytes(&value, bytes), 3);
    assert_memory_equal(bytes, "a\0b", 3);
    assert_done(tide_rows_value(rows, 0, 6, &value));
    assert_int_equal(value.type, TIDE_ARRAY);
    assert_done(tide_array_each(&value, add_element, sum));
    assert_string_equal(sum, "2:1 2:null 2:3 2:4 ");
    assert_done(tide_rows_value(rows, 0, 7, &value));
    assert_int_equal(value.type, TIDE_NULL);
    assert_done(tide_rows_value(rows, 0, 8, &value));
    assert_string_equal(value.text, "12.30");
    assert_code(tide_array_each(&value, add_element, sum), TIDE_BADARG);
    assert_code(tide_rows_value(rows, 1, 0, &value), TIDE_BADARG);
    assert_code(tide_rows_value(rows, 0, 9, &value), TIDE_BADARG);
}

static void each_type_goes_and_comes_back(void **state)
{
    tide_runtime *runtime = open_runtime();
    tide_pool *pool = open_pool(runtime, TIDE_POSTGRES);
    struct told told = { .look = look_at_types };
    tide_value json = { TIDE_JSON, 0, 0, 0, "{\"a\":1}", 7, 0 };
    tide_value list = { TIDE_ARRAY, 0, 0, 0, "[[1,null],[3,4]]", 16, 0 };
    const tide_value params[] = { tide_bool(1),
                                  tide_int(INT64_MIN),
                                  tide_float(0.5),
                                  tide_text("moon"),
                                  json,
                                  tide_bytes("a\0b", 3),
                                  list,
                                  tide_text(NULL) };

    (void)state;
    /* again and again: also as it is when it shares a connection */
    for (int i = 0; i < 5; i++) {
        query(pool, NULL, runtime, &told, types_sql, params, 8);
        assert_string_equal(told.error, "");
        assert_int_equal(told.rows, 1);
    }
    assert_done(tide_close(runtime));
}

static void take_them(const tide_answer *answer, struct told *told)
{
    told->kept = tide_take_rows(answer);
    assert_null(tide_take_rows(answer));
}

static void rows_can_be_taken_out_of_an_answer(void **state)
{
    tide_runtime *runtime = open_runtime();
    tide_pool *pool = open_pool(runtime, TIDE_POSTGRES);
    struct told told = { .look = take_them };
    tide_value value;

    (void)state;
    query(pool, NULL, runtime, &told,
          "SELECT n FROM generate_series(1, 1000) AS n", NULL, 0);
    assert_done(tide_close(runtime));
    assert_int_equal(tide_rows_count(told.kept), 1000);
    assert_done(tide_rows_value(told.kept, 999, 0, &value));
    assert_int_equal(value.integer, 1000);
    tide_rows_free(told.kept);
    tide_rows_free(NULL);
}

static void errors_say_what_the_server_said(void **state)
{
    tide_runtime *runtime = open_runtime();
    tide_pool *pool = open_pool(runtime, TIDE_POSTGRES);
    struct told told = { 0 };
    tide_value text = tide_text("a\0b");

    (void)state;
    run(pool, NULL, runtime, "CREATE TABLE item (id int PRIMARY KEY)");
    run(pool, NULL, runtime, "INSERT INTO item VALUES (1)");
    query(pool, NULL, runtime, &told, "INSERT INTO item VALUES (1)", NULL, 0);
    assert_code(told.code, TIDE_SERVER);
    assert_string_equal(told.sqlstate, "23505");
    assert_string_equal(told.constraint, "item_pkey");
    assert_non_null(strstr(told.error, "duplicate key"));
    query(pool, NULL, runtime, &told, "SELECT $1::int", NULL, 0);
    assert_code(told.code, TIDE_BADARG);
    text.len = 3;
    assert_code(
        tide_query(pool, NULL, "SELECT $1::text", &text, 1, on_answer, NULL),
        TIDE_BADARG);
    assert_non_null(
        strstr(tide_last_error(runtime), "parameter 1 holds a zero byte"));
    assert_code(tide_query(pool, NULL, NULL, NULL, 0, on_answer, NULL),
                TIDE_BADARG);
    assert_code(tide_query(pool, NULL, "SELECT 1", NULL, 0, NULL, NULL),
                TIDE_BADARG);
    assert_int_equal(stats_of(pool).errors, 5 - 1);
    assert_done(tide_close(runtime));
}

/* ---- leases */

static void a_transaction_is_rolled_back_when_its_lease_returns(void **state)
{
    tide_runtime *runtime = open_runtime();
    tide_pool *pool = open_pool(runtime, TIDE_POSTGRES);
    struct told told = { 0 };
    tide_lease *lease;

    (void)state;
    run(pool, NULL, runtime, "CREATE TABLE coin (n int)");
    lease = acquire(pool, runtime);
    run(pool, lease, runtime, "BEGIN");
    run(pool, lease, runtime, "INSERT INTO coin VALUES (1)");
    run(pool, lease, runtime, "COMMIT");
    run(pool, lease, runtime, "BEGIN");
    run(pool, lease, runtime, "INSERT INTO coin VALUES (2)");
    assert_int_equal(stats_of(pool).leased, 1);
    assert_done(tide_release(lease));
    query(pool, NULL, runtime, &told, "SELECT n FROM coin", NULL, 0);
    assert_int_equal(told.rows, 1);
    assert_done(tide_close(runtime));
}

static void one_that_waits_too_long_is_told_who_holds(void **state)
{
    tide_runtime *runtime = open_runtime();
    tide_pool *pool = open_pool(runtime, TIDE_POSTGRES);
    struct told told = { 0 };
    tide_how how;
    tide_lease *lease;
    double max;

    (void)state;
    assert_done(tide_pool_set(pool, "max_connections", 1));
    assert_done(tide_pool_get(pool, "max_connections", &max));
    assert_true(max > 0.9 && max < 1.1);
    lease = acquire(pool, runtime);
    how = how_of(&told, NULL);
    how.timeout_ms = 30;
    assert_done(tide_acquire(pool, &how, on_answer, NULL));
    settle(runtime, &told);
    assert_code(told.code, TIDE_TIMEOUT);
    assert_null(told.lease);
    assert_non_null(strstr(told.error, "test_pools.c:1"));
    assert_done(tide_pool_set(pool, "max_waiters", 0));
    assert_code(tide_acquire(pool, &how, on_answer, NULL), TIDE_BUSY);
    assert_non_null(strstr(tide_last_error(runtime), "test_pools.c:1"));
    assert_int_equal(told.count, 1);
    assert_int_equal(stats_of(pool).timeouts, 1);
    assert_int_equal(stats_of(pool).busy, 1);
    assert_done(tide_release(lease));
    assert_done(tide_close(runtime));
}

static void a_lease_runs_one_statement_at_a_time(void **state)
{
    tide_runtime *runtime = open_runtime();
    tide_pool *pool = open_pool(runtime, TIDE_POSTGRES);
    tide_pool *redis = open_pool(runtime, TIDE_REDIS);
    struct told told = { 0 };
    tide_lease *lease = acquire(pool, runtime);
    tide_how how = how_of(&told, lease);

    (void)state;
    assert_done(tide_query(pool, &how, "SELECT 1", NULL, 0, on_answer, NULL));
    assert_code(tide_query(pool, &how, "SELECT 2", NULL, 0, on_answer, NULL),
                TIDE_BUSY);
    settle(runtime, &told);
    assert_code(tide_acquire(redis, &how, on_answer, NULL), TIDE_BADARG);
    assert_non_null(strstr(tide_last_error(runtime), "of another pool"));
    assert_done(tide_release(lease));
    assert_done(tide_close(runtime));
}

static void a_statement_is_cancelled_at_the_server(void **state)
{
    tide_runtime *runtime = open_runtime();
    tide_pool *pool = open_pool(runtime, TIDE_POSTGRES);
    struct told told = { 0 };
    tide_how how = how_of(&told, NULL);
    uint64_t id = 0;

    (void)state;
    run(pool, NULL, runtime, "SELECT 1");
    assert_done(tide_query(pool, &how, "SELECT pg_sleep(600)", NULL, 0,
                           on_answer, &id));
    step_until(runtime, stats_of(pool).leased > 0);
    assert_done(tide_cancel(runtime, id));
    assert_int_equal(told.count, 0);
    assert_code(tide_cancel(runtime, id), TIDE_BADARG);
    settle(runtime, &told);
    assert_code(told.code, TIDE_CANCELLED);
    step_until(runtime, stats_of(pool).idle == stats_of(pool).open);
    run(pool, NULL, runtime,
        "SELECT 1 / (1 - count(*)) FROM pg_stat_activity "
        "WHERE query = 'SELECT pg_sleep(600)' AND state = 'active'");
    assert_done(tide_close(runtime));
}

static void a_lease_that_returns_ends_what_runs_on_it(void **state)
{
    tide_runtime *runtime = open_runtime();
    tide_pool *pool = open_pool(runtime, TIDE_POSTGRES);
    struct told told = { 0 };
    tide_lease *lease = acquire(pool, runtime);
    tide_how how = how_of(&told, lease);

    (void)state;
    assert_done(tide_query(pool, &how, "SELECT pg_sleep(600)", NULL, 0,
                           on_answer, NULL));
    assert_done(tide_release(lease));
    settle(runtime, &told);
    assert_code(told.code, TIDE_CANCELLED);
    run(pool, NULL, runtime, "SELECT 1");
    assert_done(tide_close(runtime));
}

static void one_held_too_long_is_taken_back(void **state)
{
    tide_runtime *runtime = open_runtime();
    tide_pool *pool = open_pool(runtime, TIDE_POSTGRES);
    struct told told = { 0 };
    tide_how how;
    tide_lease *lease;

    (void)state;
    assert_done(tide_pool_set(pool, "max_connections", 1));
    assert_done(tide_pool_set(pool, "leak_reclaim", 0.05));
    lease = acquire(pool, runtime);
    run(pool, NULL, runtime, "SELECT 1");
    how = how_of(&told, lease);
    assert_code(tide_query(pool, &how, "SELECT 1", NULL, 0, on_answer, NULL),
                TIDE_CLOSED);
    assert_non_null(strstr(tide_last_error(runtime), "leak_reclaim"));
    assert_done(tide_release(lease));
    assert_done(tide_close(runtime));
}

/* ---- Redis */

static void send(tide_pool *pool, tide_runtime *runtime, struct told *told,
                 tide_how *how, const tide_command *commands, size_t n)
{
    tide_how own = how_of(told, how != NULL ? how->lease : NULL);

    own.is_transaction = how != NULL && how->is_transaction;
    assert_done(tide_redis(pool, &own, commands, n, on_answer, NULL));
    settle(runtime, told);
}

#define COMMAND(...)                                                         \
    {                                                                        \
        sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(const char *), \
            (const char *const[]){ __VA_ARGS__ }, NULL                       \
    }

static void look_at_replies(const tide_answer *answer, struct told *told)
{
    const tide_redis_reply *list = answer->replies[3];
    size_t len;

    (void)told;
    assert_int_equal(tide_redis_kind_of(answer->replies[0]), TIDE_REDIS_STATUS);
    assert_string_equal(tide_redis_text(answer->replies[0], NULL), "OK");
    assert_int_equal(tide_redis_integer(answer->replies[1]), 8);
    assert_int_equal(tide_redis_kind_of(answer->replies[2]), TIDE_REDIS_ERROR);
    assert_int_equal(tide_redis_count(list), 2);
    assert_string_equal(tide_redis_text(tide_redis_at(list, 0), &len), "8");
    assert_int_equal(len, 1);
    assert_int_equal(tide_redis_kind_of(tide_redis_at(list, 1)),
                     TIDE_REDIS_NIL);
    assert_string_equal(tide_redis_text(tide_redis_at(list, 1), &len), "");
    assert_null(tide_redis_at(list, 2));
    assert_int_equal(tide_redis_count(answer->replies[1]), 0);
}

static void commands_go_in_one_and_each_has_its_reply(void **state)
{
    tide_runtime *runtime = open_runtime();
    tide_pool *pool = open_pool(runtime, TIDE_REDIS);
    struct told told = { .look = look_at_replies };
    const tide_command commands[] = { COMMAND("SET", "n", "7"),
                                      COMMAND("INCR", "n"),
                                      COMMAND("LPUSH", "n", "1"),
                                      COMMAND("MGET", "n", "none") };
    const tide_command wrong = COMMAND("LPUSH", "n", "1");
    const tide_command blank = { 0, NULL, NULL };

    (void)state;
    send(pool, runtime, &told, NULL, commands, 4);
    assert_code(told.code, TIDE_OK);
    told.look = NULL;
    send(pool, runtime, &told, NULL, &wrong, 1);
    assert_code(told.code, TIDE_SERVER);
    assert_non_null(strstr(told.error, "WRONGTYPE"));
    assert_code(tide_redis(pool, NULL, &blank, 1, on_answer, NULL),
                TIDE_BADARG);
    assert_code(tide_query(pool, NULL, "SELECT 1", NULL, 0, on_answer, NULL),
                TIDE_BADARG);
    assert_done(tide_close(runtime));
}

static void a_watched_key_that_changed_is_a_conflict(void **state)
{
    tide_runtime *runtime = open_runtime();
    tide_pool *pool = open_pool(runtime, TIDE_REDIS);
    struct told told = { 0 };
    const tide_command watch = COMMAND("WATCH", "watched");
    const tide_command set[] = { COMMAND("SET", "watched", "1"),
                                 COMMAND("GET", "watched") };
    tide_how how;

    (void)state;
    how = how_of(&told, acquire(pool, runtime));
    how.is_transaction = 1;
    send(pool, runtime, &told, &how, set, 2);
    assert_code(told.code, TIDE_OK);
    assert_int_equal(told.n_replies, 2);
    how.is_transaction = 0;
    send(pool, runtime, &told, &how, &watch, 1);
    send(pool, runtime, &told, NULL, set, 1);
    how.is_transaction = 1;
    send(pool, runtime, &told, &how, set, 2);
    assert_code(told.code, TIDE_CONFLICT);
    assert_int_equal(told.n_replies, 0);
    assert_done(tide_release(how.lease));
    assert_done(tide_close(runtime));
}

/* ---- the life of a pool */

static void a_server_that_dies_is_told_and_found_again(void **state)
{
    tide_runtime *runtime = open_runtime();
    tide_pool *pool = open_pool(runtime, TIDE_POSTGRES);
    struct told told = { 0 };
    tide_how how = how_of(&told, NULL);

    (void)state;
    run(pool, NULL, runtime, "SELECT 1");
    assert_done(tide_query(pool, &how, "SELECT pg_sleep(600)", NULL, 0,
                           on_answer, NULL));
    step_until(runtime, stats_of(pool).leased > 0);
    server_kill("postgres");
    settle(runtime, &told);
    assert_code(told.code, TIDE_LOST);
    assert_true(told.is_unknown);
    how = how_of(&told, NULL);
    assert_done(tide_query(pool, &how, "SELECT 1", NULL, 0, on_answer, NULL));
    settle(runtime, &told);
    assert_code(told.code, TIDE_REFUSED);
    assert_false(told.is_unknown);
    assert_true(stats_of(pool).is_down);
    assert_non_null(strstr(told.error, "pool \"main\""));
    assert_string_not_equal(stats_of(pool).last_error, "");
    server_restart("postgres");
    step_until(runtime, !stats_of(pool).is_down);
    run(pool, NULL, runtime, "SELECT 1");
    assert_done(tide_close(runtime));
}

static void a_pool_that_closes_ends_what_waits(void **state)
{
    tide_runtime *runtime = open_runtime();
    tide_pool *pool = open_pool(runtime, TIDE_POSTGRES);
    struct told told = { 0 };
    tide_lease *lease;
    tide_how how;

    (void)state;
    assert_done(tide_pool_set(pool, "max_connections", 1));
    lease = acquire(pool, runtime);
    how = how_of(&told, NULL);
    assert_done(tide_acquire(pool, &how, on_answer, NULL));
    assert_done(tide_pool_close(pool, 60000));
    settle(runtime, &told);
    assert_code(told.code, TIDE_CLOSED);
    assert_done(tide_release(lease));
    assert_done(tide_close(runtime));
}

static void closing_ends_all_that_runs(void **state)
{
    struct told told[4] = { { 0 } };
    tide_runtime *runtime = open_runtime();
    tide_pool *pool = open_pool(runtime, TIDE_POSTGRES);
    tide_pool *redis = open_pool(runtime, TIDE_REDIS);
    const tide_command pop = COMMAND("BLPOP", "nothing", "0");
    tide_how how;

    (void)state;
    (void)acquire(pool, runtime);
    for (int i = 0; i < 3; i++) {
        how = how_of(&told[i], NULL);
        assert_done(tide_query(pool, &how, "SELECT pg_sleep(600)", NULL, 0,
                               on_answer, NULL));
    }
    how = how_of(&told[3], NULL);
    assert_done(tide_redis(redis, &how, &pop, 1, on_answer, NULL));
    step_until(runtime, stats_of(pool).leased > 1);
    assert_code(tide_drain(runtime, 1), TIDE_TIMEOUT);
    assert_code(tide_redis(redis, &how, &pop, 1, on_answer, NULL), TIDE_CLOSED);
    assert_done(tide_close(runtime));
    for (int i = 0; i < 4; i++) {
        assert_int_equal(told[i].count, 1);
        assert_int_equal(told[i].freed, 1);
        assert_code(told[i].code, TIDE_CANCELLED);
    }
}

/* A lease that was got when nobody had been told of it. */
static void closing_gives_back_what_nobody_was_told_of(void **state)
{
    struct told told = { 0 };
    tide_runtime *runtime = open_runtime();
    tide_pool *pool = open_pool(runtime, TIDE_POSTGRES);
    tide_how how;

    (void)state;
    run(pool, NULL, runtime, "SELECT 1");
    how = how_of(&told, NULL);
    step_until(runtime, stats_of(pool).idle > 0);
    assert_done(tide_acquire(pool, &how, on_answer, NULL));
    assert_int_equal(stats_of(pool).leased, 1);
    assert_done(tide_close(runtime));
    assert_int_equal(told.count, 1);
    assert_code(told.code, TIDE_CANCELLED);
    assert_null(told.lease);
}

static void wrong_urls_and_settings_are_told(void **state)
{
    tide_runtime *runtime = open_runtime();
    tide_pool *pool = NULL, *other = NULL;

    (void)state;
    assert_code(tide_pool_open(runtime, TIDE_REDIS, "main", "http://x", &pool),
                TIDE_BADARG);
    assert_string_not_equal(tide_last_error(runtime), "");
    assert_code(tide_pool_open(runtime, TIDE_POSTGRES, "main", NULL, &pool),
                TIDE_BADARG);
    assert_null(pool);
    pool = open_pool(runtime, TIDE_POSTGRES);
    assert_code(tide_pool_set(pool, "max_connection", 1), TIDE_BADARG);
    assert_non_null(strstr(tide_last_error(runtime), "max_connection"));
    assert_code(tide_pool_set(pool, "max_connections", 0), TIDE_BADARG);
    assert_code(tide_pool_named(runtime, TIDE_POSTGRES, "main", &other),
                TIDE_BADARG);
    assert_done(tide_pool_pause(pool));
    assert_true(stats_of(pool).is_paused);
    assert_done(tide_pool_resume(pool));
    assert_done(tide_pool_drain(pool));
    assert_done(tide_pool_close(pool, 0));
    assert_done(tide_close(runtime));
}

/* ---- beside a script */

static void a_script_and_its_host_share_a_pool(void **state)
{
    tide_runtime *runtime = open_runtime();
    tide_pool *pool = NULL, *again = NULL;
    struct answer answer;

    (void)state;
    assert_done(tide_set(runtime, "database.postgres_url", postgres_url()));
    assert_done(tide_set(runtime, "database.pool.max_connections", "1"));
    assert_done(tide_load(runtime, "host.lua",
                          "local tide = require 'tidepool'\n"
                          "local db = tide.postgres()\n"
                          "tide.handler('sum', function()\n"
                          "  return assert(db:one 'SELECT 1 + 1 AS n').n\n"
                          "end)\n"
                          "tide.handler('close', function()\n"
                          "  db:close()\n"
                          "end)\n"));
    assert_done(tide_pool_named(runtime, TIDE_POSTGRES, "main", &pool));
    assert_done(tide_pool_named(runtime, TIDE_POSTGRES, "main", &again));
    assert_ptr_equal(pool, again);
    assert_int_equal(stats_of(pool).max, 1);
    run(pool, NULL, runtime, "SELECT 1");
    ask(runtime, &answer, "sum", NULL);
    assert_string_equal(answer.payload, "2");
    assert_int_equal(stats_of(pool).connects, 1);
    assert_code(tide_pool_close(pool, 0), TIDE_MISUSED);
    ask(runtime, &answer, "close", NULL);
    assert_code(tide_pool_pause(pool), TIDE_CLOSED);
    assert_code(tide_query(pool, NULL, "SELECT 1", NULL, 0, on_answer, NULL),
                TIDE_CLOSED);
    assert_done(tide_close(runtime));
}

static void pools_have_the_names_that_scripts_know(void **state)
{
    tide_runtime *runtime = open_runtime();
    tide_pool *pools[4] = { NULL };

    (void)state;
    assert_code(tide_pool_named(runtime, TIDE_REDIS, "main", &pools[0]),
                TIDE_BADARG);
    assert_done(tide_set(runtime, "database.postgres_url", postgres_url()));
    assert_done(tide_set(runtime, "database.saves.postgres_url", //
                         postgres_url()));
    assert_done(tide_set(runtime, "redis.url", redis_url()));
    assert_done(tide_set(runtime, "redis.saves.url", redis_url()));
    assert_done(tide_load(runtime, "host.lua", ""));
    for (int i = 0; i < 4; i++)
        assert_done(tide_pool_named(runtime, i < 2 ? TIDE_POSTGRES : TIDE_REDIS,
                                    i % 2 == 0 ? "main" : "saves", &pools[i]));
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < i; k++)
            assert_ptr_not_equal(pools[i], pools[k]);
    assert_code(tide_pool_named(runtime, TIDE_REDIS, "redis", &pools[0]),
                TIDE_BADARG);
    assert_string_equal(tide_last_error(runtime),
                        "no redis pool \"redis\" is open");
    assert_done(tide_close(runtime));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_type_goes_and_comes_back),
        cmocka_unit_test(rows_can_be_taken_out_of_an_answer),
        cmocka_unit_test(errors_say_what_the_server_said),
        cmocka_unit_test(a_transaction_is_rolled_back_when_its_lease_returns),
        cmocka_unit_test(one_that_waits_too_long_is_told_who_holds),
        cmocka_unit_test(a_lease_runs_one_statement_at_a_time),
        cmocka_unit_test(a_statement_is_cancelled_at_the_server),
        cmocka_unit_test(a_lease_that_returns_ends_what_runs_on_it),
        cmocka_unit_test(one_held_too_long_is_taken_back),
        cmocka_unit_test(commands_go_in_one_and_each_has_its_reply),
        cmocka_unit_test(a_watched_key_that_changed_is_a_conflict),
        cmocka_unit_test(a_server_that_dies_is_told_and_found_again),
        cmocka_unit_test(a_pool_that_closes_ends_what_waits),
        cmocka_unit_test(closing_ends_all_that_runs),
        cmocka_unit_test(closing_gives_back_what_nobody_was_told_of),
        cmocka_unit_test(wrong_urls_and_settings_are_told),
        cmocka_unit_test(a_script_and_its_host_share_a_pool),
        cmocka_unit_test(pools_have_the_names_that_scripts_know),
    };

    return cmocka_run_group_tests(tests, servers_start, servers_stop);
}
