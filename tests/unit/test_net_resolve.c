/* test_net_resolve.c - names to addresses; calls on the thread pool. */
#include "net/resolve.h"
#include "net/work.h"

#include "oom.h"
#include "turns.h"
#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>

struct answer {
    struct resolve *resolve;
    unsigned calls;
    enum err err;
    bool has_loopback;
    unsigned port;
    struct err_text why;
};

static void on_answer(struct resolve *resolve, enum err err,
                      const struct addrinfo *addresses,
                      const struct err_text *why, void *ud)
{
    struct answer *answer = ud;

    assert_ptr_equal(resolve, answer->resolve);
    answer->calls++;
    answer->err = err;
    answer->why = *why;
    assert_true((err == ERR_OK) == (addresses != NULL));
    for (; addresses != NULL; addresses = addresses->ai_next) {
        const struct sockaddr_in *v4 = (const void *)addresses->ai_addr;

        if (addresses->ai_family != AF_INET)
            continue;
        answer->port = ntohs(v4->sin_port);
        if (v4->sin_addr.s_addr == htonl(INADDR_LOOPBACK))
            answer->has_loopback = true;
    }
}

static void test_resolve_finds_the_addresses_of_a_name(void **state)
{
    const char *hosts[] = { "localhost", "127.0.0.1" };
    struct loop *loop = make_loop();

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        struct answer answer = { 0 };

        assert_ok(resolve_start(&answer.resolve, loop, hosts[i], "5432",
                                on_answer, &answer));
        assert_int_equal(answer.calls, 0);
        assert_int_equal(loop_open_handles(loop), 1);
        wait_for(loop, answer.calls > 0);
        assert_ok(answer.err);
        assert_true(answer.has_loopback);
        assert_int_equal(answer.port, 5432);
        assert_int_equal(answer.calls, 1);
    }
    drop_loop(loop);
}

static void test_resolve_says_which_name_is_unknown(void **state)
{
    struct loop *loop = make_loop();
    struct answer answer = { 0 };

    (void)state;
    assert_ok(resolve_start(&answer.resolve, loop, "no such name", "1",
                            on_answer, &answer));
    wait_for(loop, answer.calls > 0);

    assert_err(answer.err, ERR_REFUSED);
    assert_memory_equal(answer.why.text, "cannot resolve no such name: ", 29);
    drop_loop(loop);
}

static void test_resolve_does_not_answer_when_cancelled(void **state)
{
    const char *hosts[] = { "localhost", "127.0.0.1" };
    struct loop *loop = make_loop();
    struct answer answer = { 0 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        assert_ok(resolve_start(&answer.resolve, loop, hosts[i], "1", on_answer,
                                &answer));
        resolve_cancel(answer.resolve);
    }
    resolve_cancel(NULL);
    drop_loop(loop);
    assert_int_equal(answer.calls, 0);
}

static void test_resolve_start_fails_without_memory(void **state)
{
    struct loop *loop = make_loop();
    struct answer answer = { 0 };

    (void)state;
    oom_fail_at(1);
    assert_err(resolve_start(&answer.resolve, loop, "localhost", "1", on_answer,
                             &answer),
               ERR_NOMEM);
    oom_off();
    assert_null(answer.resolve);
    drop_loop(loop);
}

/* ---- work */

struct sum {
    pthread_t thread; /* that ran it */
    int value;
    unsigned done_calls;
};

static void on_run(void *ud)
{
    struct sum *sum = ud;

    sum->thread = pthread_self();
    sum->value = 6 * 7;
}

static void on_done(void *ud)
{
    struct sum *sum = ud;

    sum->done_calls++;
}

static void test_work_runs_elsewhere_and_ends_on_the_loop(void **state)
{
    struct loop *loop = make_loop();
    struct sum sum = { 0 };

    (void)state;
    assert_ok(work_start(loop, on_run, on_done, &sum));
    assert_int_equal(loop_open_handles(loop), 1);
    loop_run(loop);

    assert_int_equal(sum.done_calls, 1);
    assert_int_equal(sum.value, 42);
    assert_false(pthread_equal(sum.thread, pthread_self()));
    drop_loop(loop);
}

static void test_work_start_fails_without_memory(void **state)
{
    struct loop *loop = make_loop();
    struct sum sum = { 0 };

    (void)state;
    oom_fail_at(1);
    assert_err(work_start(loop, on_run, on_done, &sum), ERR_NOMEM);
    oom_off();
    drop_loop(loop);
    assert_int_equal(sum.done_calls, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resolve_finds_the_addresses_of_a_name),
        cmocka_unit_test(test_resolve_says_which_name_is_unknown),
        cmocka_unit_test(test_resolve_does_not_answer_when_cancelled),
        cmocka_unit_test(test_resolve_start_fails_without_memory),
        cmocka_unit_test(test_work_runs_elsewhere_and_ends_on_the_loop),
        cmocka_unit_test(test_work_start_fails_without_memory),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
