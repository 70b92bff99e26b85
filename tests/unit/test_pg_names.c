/* test_pg_names.c - the list of functions is read on a thread: until that is
 * over, and whatever becomes of who asked, it is as it was. */
#include "pg/names.h"

#include "pg_made.h"
#include "turns.h"
#include "unit.h"

static void on_done(void *ud)
{
    (*(unsigned *)ud)++;
}

static PGresult *made_names(const char *name, const char *is_volatile)
{
    const struct made columns[] = { { "name", 25, name },
                                    { "is_volatile", 16, is_volatile } };

    return (PGresult *)made_rows(columns, 2, 1);
}

static void read_names(struct names *names, struct loop *loop, PGresult *result,
                       unsigned *done)
{
    names->is_coming = true;
    names->asked = names->doubts;
    names_read(names, loop, result, 7, on_done, done);
}

static void test_names_are_known_when_they_were_read(void **state)
{
    struct loop *loop = make_loop();
    struct names names = { .version = 0 };
    unsigned done = 0;

    (void)state;
    read_names(&names, loop, made_names("Now", "f"), &done);
    assert_true(names.is_coming);
    assert_int_equal(names.version, 0);
    wait_for(loop, done == 1);

    assert_false(names.is_coming);
    assert_false(names.is_stale);
    assert_int_equal(names.version, 1);
    assert_int_equal(names.epoch, 7);
    assert_int_equal(names_find(&names, "NOW", 3), NAME_HARMLESS);
    assert_int_equal(names_find(&names, "then", 4), NAME_UNKNOWN);
    read_names(&names, loop, made_names("now", "t"), &done);
    assert_int_equal(names_find(&names, "now", 3), NAME_HARMLESS);
    wait_for(loop, done == 2);
    assert_int_equal(names_find(&names, "now", 3), NAME_VOLATILE);
    names_free(&names);
    drop_loop(loop);
}

static void test_a_function_made_meanwhile_leaves_them_in_doubt(void **state)
{
    struct loop *loop = make_loop();
    struct names names = { .version = 0 };
    unsigned done = 0;

    (void)state;
    read_names(&names, loop, made_names("now", "f"), &done);
    names_doubt(&names);
    wait_for(loop, done == 1);

    assert_int_equal(names.version, 1);
    assert_true(names.is_stale);
    names_free(&names);
    drop_loop(loop);
}

static void test_who_asked_may_go_meanwhile(void **state)
{
    struct loop *loop = make_loop();
    struct names names = { .version = 0 };
    unsigned done = 0;

    (void)state;
    read_names(&names, loop, made_names("now", "f"), &done);
    names_free(&names);
    drop_loop(loop); /* waits for the thread */
    assert_int_equal(done, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_known_when_they_were_read),
        cmocka_unit_test(test_a_function_made_meanwhile_leaves_them_in_doubt),
        cmocka_unit_test(test_who_asked_may_go_meanwhile),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
