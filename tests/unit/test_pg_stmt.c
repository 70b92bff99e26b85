/* test_pg_stmt.c - the cache of prepared statements. */
#include "oom.h"
#include "unit.h"

#include "pg/stmt.h"

#include <stdio.h>

static struct stmt *add(struct stmts *stmts, const char *sql)
{
    struct stmt *stmt = stmt_new(stmts, sql, strlen(sql));

    assert_non_null(stmt);
    assert_ok(stmts_add(stmts, stmt));
    return stmt;
}

static bool has(struct stmts *stmts, const char *sql)
{
    return stmts_find(stmts, sql, strlen(sql)) != NULL;
}

static void test_statement_is_found_by_its_text(void **state)
{
    struct stmts stmts;
    struct stmt *stmt;

    (void)state;
    stmts_init(&stmts, 1);
    stmt = add(&stmts, "select 1");

    assert_ptr_equal(stmts_find(&stmts, "select 1 and more", 8), stmt);
    assert_false(has(&stmts, "select 2"));
    assert_false(has(&stmts, "select "));
    stmts_deinit(&stmts);
}

static void test_names_are_unique_and_short(void **state)
{
    struct stmts a, b;

    (void)state;
    stmts_init(&a, 1);
    stmts_init(&b, UINT64_MAX);
    assert_string_equal(add(&a, "x")->name, "tp0000000000000001_0");
    assert_string_equal(add(&a, "y")->name, "tp0000000000000001_1");
    assert_string_equal(add(&b, "x")->name, "tpffffffffffffffff_0");
    b.made = UINT32_MAX;
    assert_string_equal(add(&b, "y")->name, "tpffffffffffffffff_4294967295");
    stmts_deinit(&a);
    stmts_deinit(&b);
}

static void test_least_recently_used_goes_first(void **state)
{
    struct stmts stmts;

    (void)state;
    stmts_init(&stmts, 1);
    add(&stmts, "a");
    add(&stmts, "b");
    add(&stmts, "c");
    assert_true(has(&stmts, "a"));

    stmts_trim(&stmts, 2);

    assert_false(has(&stmts, "b"));
    assert_true(has(&stmts, "a"));
    assert_true(has(&stmts, "c"));
    assert_int_equal(stmts.doomed.len, 1);
    stmts_deinit(&stmts);
}

static void
test_dropped_statement_is_doomed_when_the_server_has_it(void **state)
{
    struct stmts stmts;

    (void)state;
    stmts_init(&stmts, 1);
    stmts_drop(&stmts, add(&stmts, "a"), true);
    stmts_drop(&stmts, add(&stmts, "b"), false);

    assert_false(has(&stmts, "a"));
    assert_false(has(&stmts, "b"));
    assert_int_equal(stmts.doomed.len, 1);
    stmts_deinit(&stmts);
}

static void test_clear_leaves_nothing(void **state)
{
    struct stmts stmts;
    char sql[32];

    (void)state;
    stmts_init(&stmts, 1);
    for (int i = 0; i < 1000; i++) {
        snprintf(sql, sizeof(sql), "select %d", i);
        add(&stmts, sql);
        stmts_trim(&stmts, 100);
    }
    assert_int_equal(stmts.recent.len, 100);
    assert_int_equal(stmts.doomed.len, 900);

    stmts_clear(&stmts);

    assert_int_equal(stmts.recent.len, 0);
    assert_int_equal(stmts.doomed.len, 0);
    assert_false(has(&stmts, "select 999"));
    stmts_deinit(&stmts);
}

static void test_types_are_taken_over(void **state)
{
    struct stmts stmts;
    struct stmt *stmt;
    PGresult *none = PQmakeEmptyPGresult(NULL, PGRES_COMMAND_OK);

    (void)state;
    stmts_init(&stmts, 1);
    stmt = add(&stmts, "a");
    assert_ok(stmt_describe(stmt, none));
    assert_int_equal(stmt->n_params, 0);
    assert_null(stmt->types);
    PQclear(none);
    stmts_deinit(&stmts);
}

static void test_add_survives_any_failing_allocation(void **state)
{
    (void)state;
    for (unsigned n = 1;; n++) {
        struct stmts stmts;
        struct stmt *stmt;
        enum err err = ERR_NOMEM;

        stmts_init(&stmts, 1);
        oom_fail_at(n);
        stmt = stmt_new(&stmts, "select 1", 8);
        if (stmt != NULL)
            err = stmts_add(&stmts, stmt);
        oom_off();
        if (err != ERR_OK)
            stmt_free(stmt);
        stmts_deinit(&stmts);
        if (!oom_happened())
            break;
        assert_err(err, ERR_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statement_is_found_by_its_text),
        cmocka_unit_test(test_names_are_unique_and_short),
        cmocka_unit_test(test_least_recently_used_goes_first),
        cmocka_unit_test(
            test_dropped_statement_is_doomed_when_the_server_has_it),
        cmocka_unit_test(test_clear_leaves_nothing),
        cmocka_unit_test(test_types_are_taken_over),
        cmocka_unit_test(test_add_survives_any_failing_allocation),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
