/* test_life.c - versions, options of other sizes, codes, who may call. */
#include "embed.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

static void test_versions_are_those_of_the_header(void **state)
{
    (void)state;
    assert_int_equal(tide_abi_version(), TIDE_ABI);
    assert_non_null(strchr(tide_version(), '.'));
}

static void test_every_code_has_a_name_and_a_sentence(void **state)
{
    static const int codes[] = { TIDE_OK,          TIDE_BADARG, TIDE_CONFLICT,
                                 TIDE_THREAD,      TIDE_FORKED, TIDE_MISUSED,
                                 TIDE_ABI_DIFFERS, TIDE_SCRIPT };

    (void)state;
    for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++) {
        assert_string_not_equal(tide_error_name(codes[i]), "unknown");
        assert_true(strlen(tide_error_text(codes[i])) > 5);
    }
    assert_string_equal(tide_error_name(TIDE_TIMEOUT), "timeout");
    assert_string_equal(tide_error_name(TIDE_SCRIPT), "script");
    assert_string_equal(tide_error_name(-1), "unknown");
    assert_string_equal(tide_error_name(TIDE_CONFLICT + 1), "unknown");
    assert_string_equal(tide_error_name(TIDE_SCRIPT + 1), "unknown");
}

static void
test_options_of_an_older_header_have_defaults_for_the_rest(void **state)
{
    static const size_t sizes[] = { offsetof(tide_options, write_log),
                                    offsetof(tide_options, now_ns) };

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        /* Only what an old header had is memory of ours. */
        tide_options *options = malloc(sizes[i]);
        struct answer answer;
        tide_runtime *runtime;

        tide_options_init_sized(options, sizes[i], TIDE_ABI);
        assert_done(tide_open(&runtime, options));
        free(options);
        assert_done(tide_load(
            runtime, "sleep.lua",
            "local tide = require 'tidepool'\n"
            "tide.handler('sleep', function() tide.sleep(0.01) end)\n"));
        ask(runtime, &answer, "sleep", NULL); /* the system's clock goes on */
        assert_code(answer.code, TIDE_OK);
        assert_done(tide_close(runtime));
    }
}

static void test_options_of_a_newer_header_may_set_nothing_unknown(void **state)
{
    struct {
        tide_options known;
        void *later;
    } options;
    tide_runtime *runtime = NULL;

    (void)state;
    tide_options_init_sized(&options.known, sizeof(options), TIDE_ABI);
    assert_done(tide_open(&runtime, &options.known));
    assert_done(tide_close(runtime));

    options.later = &options;
    assert_code(tide_open(&runtime, &options.known), TIDE_BADARG);
}

static void test_open_refuses_another_abi_and_no_options(void **state)
{
    tide_options options;
    tide_runtime *runtime = NULL;

    (void)state;
    tide_options_init(&options);
    options.abi = TIDE_ABI + 1;
    assert_code(tide_open(&runtime, &options), TIDE_ABI_DIFFERS);
    tide_options_init(&options);
    options.size = 4;
    assert_code(tide_open(&runtime, &options), TIDE_BADARG);
    assert_code(tide_open(&runtime, NULL), TIDE_BADARG);
    assert_null(runtime);
}

static void *call_from_outside(void *ud)
{
    tide_runtime *runtime = ud;

    return (void *)(intptr_t)(tide_step(runtime, 0, NULL) == TIDE_THREAD &&
                              tide_close(runtime) == TIDE_THREAD &&
                              tide_poll_fd(runtime) == -1 &&
                              tide_next_timeout_ms(runtime) == -1);
}

static void test_another_thread_is_told_that_it_may_not(void **state)
{
    tide_runtime *runtime = open_runtime();
    pthread_t thread;
    void *is_refused = NULL;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, call_from_outside, runtime),
                     0);
    pthread_join(thread, &is_refused);

    assert_non_null(is_refused);
    assert_done(tide_close(runtime));
}

static void test_a_child_is_told_that_it_may_not(void **state)
{
    tide_runtime *runtime = open_runtime();
    int status = 0;
    pid_t pid;

    (void)state;
    pid = fork();
    if (pid == 0)
        _exit(tide_step(runtime, 0, NULL) == TIDE_FORKED &&
                      tide_close(runtime) == TIDE_FORKED
                  ? 0
                  : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);

    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_done(tide_step(runtime, 0, NULL));
    assert_done(tide_close(runtime));
}

static void *allocate(void *ud, void *ptr, size_t old_size, size_t new_size)
{
    long *bytes = ud;

    *bytes += (long)new_size - (long)(ptr != NULL ? old_size : 0);
    if (new_size > 0)
        return realloc(ptr, new_size);
    free(ptr);
    return NULL;
}

static void
test_memory_of_the_lua_state_is_the_hosts_and_comes_back(void **state)
{
    tide_options options;
    tide_runtime *runtime;
    long bytes = 0;

    (void)state;
    tide_options_init(&options);
    options.allocate = allocate;
    options.allocate_ud = &bytes;
    assert_done(tide_open(&runtime, &options));
    assert_true(bytes > 100000);
    assert_done(tide_close(runtime));

    assert_int_equal(bytes, 0);
}

static void *allocate_some(void *ud, void *ptr, size_t old_size,
                           size_t new_size)
{
    long *left = ud;

    if (new_size > old_size && (*left -= (long)new_size) < 0)
        return NULL;
    if (new_size > 0)
        return realloc(ptr, new_size);
    free(ptr);
    return NULL;
}

static void test_open_says_so_when_the_hosts_memory_is_out(void **state)
{
    tide_options options;
    tide_runtime *runtime = NULL;

    (void)state;
    tide_options_init(&options);
    for (long most = 0; most < 300000; most += 30000) {
        long left = most;

        options.allocate = allocate_some;
        options.allocate_ud = &left;
        assert_code(tide_open(&runtime, &options), TIDE_NOMEM);
    }
    assert_null(runtime);
}

struct closer {
    tide_runtime *runtime;
    int code;
};

static void close_inside(uv_timer_t *timer)
{
    struct closer *closer = timer->data;

    closer->code = tide_close(closer->runtime);
    uv_close((uv_handle_t *)timer, NULL);
}

static void
test_a_module_that_runs_is_not_closed_from_the_hosts_loop(void **state)
{
    const char *const args[] = { "check", "/nonexistent.lua" };
    struct closer closer = { .code = TIDE_OK };
    tide_options options;
    uv_loop_t loop;
    uv_timer_t timer;
    int status = 0;

    (void)state;
    uv_loop_init(&loop);
    uv_timer_init(&loop, &timer);
    uv_timer_start(&timer, close_inside, 0, 0);
    timer.data = &closer;
    tide_options_init(&options);
    options.uv_loop = &loop;
    assert_done(tide_open(&closer.runtime, &options));
    assert_done(
        tide_run_module(closer.runtime, "tidepool.cli", 2, args, &status));
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_code(closer.code, TIDE_MISUSED);
    assert_int_equal(status, 1);
    assert_done(tide_close(closer.runtime));
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void test_an_idle_runtime_lets_its_host_wait(void **state)
{
    tide_runtime *runtime = open_runtime();
    tide_step_info info;

    (void)state;
    assert_done(tide_step(runtime, 1000000, &info));

    assert_int_equal(tide_next_timeout_ms(runtime), -1);
    assert_int_equal(info.ready_left, 0);
    assert_int_equal(info.oldest_ready_ns, 0);
    assert_true(tide_poll_fd(runtime) >= 0);
    assert_done(tide_close(runtime));
}

static void on_timer(uv_timer_t *timer)
{
    uv_close((uv_handle_t *)timer, NULL);
}

static void test_a_hosts_loop_is_left_as_it_was(void **state)
{
    tide_options options;
    tide_runtime *runtime;
    uv_timer_t timer; /* of the host's own */
    uv_loop_t loop;

    (void)state;
    uv_loop_init(&loop);
    uv_timer_init(&loop, &timer);
    uv_timer_start(&timer, on_timer, 3600000, 0);
    tide_options_init(&options);
    options.uv_loop = &loop;
    assert_done(tide_open(&runtime, &options));
    assert_code(tide_step(runtime, 0, NULL), TIDE_MISUSED);
    assert_string_equal(tide_last_error(runtime),
                        "the loop is the host's, which turns it");
    assert_int_equal(tide_poll_fd(runtime), -1);
    assert_done(tide_close(runtime));

    on_timer(&timer);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions_are_those_of_the_header),
        cmocka_unit_test(test_every_code_has_a_name_and_a_sentence),
        cmocka_unit_test(
            test_options_of_an_older_header_have_defaults_for_the_rest),
        cmocka_unit_test(
            test_options_of_a_newer_header_may_set_nothing_unknown),
        cmocka_unit_test(test_open_refuses_another_abi_and_no_options),
        cmocka_unit_test(test_another_thread_is_told_that_it_may_not),
        cmocka_unit_test(test_a_child_is_told_that_it_may_not),
        cmocka_unit_test(
            test_memory_of_the_lua_state_is_the_hosts_and_comes_back),
        cmocka_unit_test(test_open_says_so_when_the_hosts_memory_is_out),
        cmocka_unit_test(
            test_a_module_that_runs_is_not_closed_from_the_hosts_loop),
        cmocka_unit_test(test_an_idle_runtime_lets_its_host_wait),
        cmocka_unit_test(test_a_hosts_loop_is_left_as_it_was),
    };

    return cmocka_run_group_tests_name("life", tests, NULL, NULL);
}
