/* test_pg_session.c - what statements do to their session. */
#include "unit.h"

#include "pg/session.h"

static unsigned traits(const char *sql)
{
    return session_traits(sql, strlen(sql));
}

static void test_common_statements_leave_nothing(void **state)
{
    static const char *const statements[] = {
        "",
        "SELECT 1",
        "select temp from weather",
        "insert into log values ($1, 'create temp table x')",
        "update t set \"create temp\" = 1",
        "select a$b$c, $1, $2",
        "select pg_advisory_xact_lock(1)",
        "select pg_try_advisory_xact_lock(1)",
        "create table temperature (i int)",
        "-- set x = 1\nselect 1",
        "/* begin /* set */ */ select 1",
        "COMMIT",
        "rollback",
        "reset work_mem",
        "create function f() returns int as $$ create temp table x $$",
        "create function f() as $body$ select set_config('a') $body$",
        "select 'it''s', 'set'",
        "/* no end",
        "select 'no end",
        "select $no end",
        "select $a$ no end",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(statements); i++)
        assert_int_equal(traits(statements[i]), 0);
}

static void test_session_statements_need_a_lease(void **state)
{
    static const char *const statements[] = {
        "begin",
        "BEGIN isolation level serializable",
        "start transaction",
        "SET work_mem = '1MB'",
        "listen jobs",
        "unlisten *",
        "lock t",
        "savepoint a",
        "declare c cursor for select 1",
        "prepare p as select 1",
        "execute p",
        "deallocate all",
        "discard all",
        "load 'x'",
        "  /* why */ -- so\n  Begin",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(statements); i++)
        assert_int_equal(traits(statements[i]), SESSION_LEASE);
}

static void test_local_settings_end_by_themselves(void **state)
{
    const unsigned local = SESSION_LEASE | SESSION_LOCAL;

    (void)state;
    assert_int_equal(traits("set local work_mem = '1MB'"), local);
    assert_int_equal(traits("set transaction read only"), local);
    assert_int_equal(traits("set constraints all deferred"), local);
}

static void test_state_that_tags_do_not_show_is_found_in_the_text(void **state)
{
    const unsigned both = SESSION_TOUCHES | SESSION_LEASE;

    (void)state;
    assert_int_equal(traits("create temp table x (i int)"), both);
    assert_int_equal(traits("CREATE TEMPORARY VIEW v AS SELECT 1"), both);
    assert_int_equal(traits("create or replace temp view v as select 1"), both);
    assert_int_equal(traits("create local temp table x (i int)"), both);
    assert_int_equal(traits("select 1 into temp x"), both);
    assert_int_equal(traits("select pg_advisory_lock($1)"), both);
    assert_int_equal(traits("select PG_TRY_ADVISORY_LOCK_SHARED(1)"), both);
    assert_int_equal(traits("select set_config('a.b', $1, false)"), both);
    assert_int_equal(traits("declare c cursor with hold for select 1"), both);
    assert_int_equal(traits("do $$ begin end $$"), SESSION_TOUCHES);
}

static void test_effect_goes_by_the_tag(void **state)
{
    (void)state;
    assert_int_equal(session_effect("SELECT 1", 0), SESSION_AS_IT_WAS);
    assert_int_equal(session_effect("INSERT 0 1", 0), SESSION_AS_IT_WAS);
    assert_int_equal(session_effect("", 0), SESSION_AS_IT_WAS);
    assert_int_equal(session_effect("SET", 0), SESSION_TOUCHED);
    assert_int_equal(session_effect("SET", SESSION_LOCAL), SESSION_AS_IT_WAS);
    assert_int_equal(session_effect("LISTEN", 0), SESSION_TOUCHED);
    assert_int_equal(session_effect("PREPARE", 0), SESSION_TOUCHED);
    assert_int_equal(session_effect("PREPARE TRANSACTION", 0),
                     SESSION_AS_IT_WAS);
    assert_int_equal(session_effect("DEALLOCATE", 0), SESSION_AS_IT_WAS);
    assert_int_equal(session_effect("DEALLOCATE ALL", 0), SESSION_UNPREPARED);
    assert_int_equal(session_effect("DISCARD ALL", 0), SESSION_DISCARDED);
    assert_int_equal(session_effect("DISCARD TEMP", 0), SESSION_AS_IT_WAS);
    assert_int_equal(session_effect("CREATE TABLE", SESSION_TOUCHES),
                     SESSION_TOUCHED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_common_statements_leave_nothing),
        cmocka_unit_test(test_session_statements_need_a_lease),
        cmocka_unit_test(test_local_settings_end_by_themselves),
        cmocka_unit_test(test_state_that_tags_do_not_show_is_found_in_the_text),
        cmocka_unit_test(test_effect_goes_by_the_tag),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
