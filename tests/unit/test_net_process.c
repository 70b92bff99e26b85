/* test_net_process.c - child processes; signals as events. */
#include "net/process.h"
#include "net/signals.h"

#include "oom.h"
#include "turns.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct child {
    struct process *process;
    unsigned calls;
    int status;
    size_t output_len;
    char output[100]; /* its beginning */
    struct err_text why;
};

static void on_gone(struct process *process, int status,
                    const struct buf *output, void *ud)
{
    struct child *child = ud;
    size_t len = output->len < sizeof(child->output) - 1
                     ? output->len
                     : sizeof(child->output) - 1;

    assert_ptr_equal(process, child->process);
    process_signal(process, SIGKILL); /* reaches nobody */
    child->calls++;
    child->status = status;
    child->output_len = output->len;
    if (len > 0)
        memcpy(child->output, output->data, len);
    child->output[len] = '\0';
}

static enum err start(struct child *child, struct loop *loop,
                      const struct process_options *options)
{
    return process_start(&child->process, loop, options, on_gone, child,
                         &child->why);
}

static enum err start_shell(struct child *child, struct loop *loop,
                            const char *script)
{
    char *const args[] = { "sh", "-c", (char *)script, NULL };
    const struct process_options options = { .args = args };

    return start(child, loop, &options);
}

/* What the child gets as 3 and 4 is what was named, in that order. */
static void test_process_gives_descriptors_on(void **state)
{
    char *const args[] = { "a name", "-c", "echo $0 >&3; echo two >&4", NULL };
    int first[2], second[2];
    int given[2];
    struct child child = { .status = -1 };
    struct loop *loop = make_loop();
    struct process_options options = {
        .file = "sh", .args = args, .inherited = given, .n_inherited = 2
    };
    char text[16] = "";

    (void)state;
    assert_int_equal(pipe(first), 0);
    assert_int_equal(pipe(second), 0);
    given[0] = second[1];
    given[1] = first[1];
    assert_ok(start(&child, loop, &options));
    wait_for(loop, child.calls == 1);
    assert_int_equal(child.status, 0);
    assert_int_equal(read(second[0], text, sizeof(text)), 7);
    assert_memory_equal(text, "a name\n", 7);
    assert_int_equal(read(first[0], text, sizeof(text)), 4);
    assert_memory_equal(text, "two\n", 4);
    for (int i = 0; i < 2; i++) {
        close(first[i]);
        close(second[i]);
    }
    drop_loop(loop);
}

static void test_process_tells_status_and_both_outputs(void **state)
{
    struct loop *loop = make_loop();
    struct child child = { 0 };

    (void)state;
    assert_ok(start_shell(&child, loop, "echo out; echo err >&2; exit 3"));
    assert_true(process_pid(child.process) > 0);
    loop_run(loop);

    assert_int_equal(child.calls, 1);
    assert_int_equal(child.status, 3);
    assert_string_equal(child.output, "out\nerr\n");
    drop_loop(loop);
}

static void test_process_tells_the_signal_that_ended_it(void **state)
{
    struct loop *loop = make_loop();
    struct child child = { 0 };

    (void)state;
    assert_ok(start_shell(&child, loop, "exec sleep 600"));
    process_signal(child.process, SIGTERM);
    loop_run(loop);

    assert_int_equal(child.calls, 1);
    assert_int_equal(child.status, 128 + SIGTERM);
    drop_loop(loop);
}

static void test_process_keeps_the_first_megabyte_of_output(void **state)
{
    struct loop *loop = make_loop();
    struct child child = { 0 };

    (void)state;
    assert_ok(start_shell(&child, loop, "head -c 3000000 /dev/zero; exit 1"));
    loop_run(loop);

    assert_int_equal(child.status, 1);
    assert_int_equal(child.output_len, 1024 * 1024);
    drop_loop(loop);
}

static void test_process_does_not_wait_for_what_its_child_left(void **state)
{
    struct loop *loop = make_loop();
    struct child child = { 0 };

    (void)state;
    assert_ok(start_shell(&child, loop, "sleep 600 & echo $!"));
    loop_run(loop);

    assert_int_equal(child.calls, 1);
    assert_int_equal(child.status, 0);
    assert_int_equal(kill(atoi(child.output), SIGKILL), 0);
    drop_loop(loop);
}

static void test_process_reads_and_writes_the_files_it_is_given(void **state)
{
    struct loop *loop = make_loop();
    struct child child = { 0 };
    char dir[64], in[80], log[80], text[20] = { 0 };
    char *const args[] = { "cat", NULL };
    struct process_options options = { .args = args };
    FILE *file;

    (void)state;
    make_dir(dir);
    snprintf(in, sizeof(in), "%s/in", dir);
    snprintf(log, sizeof(log), "%s/log", dir);
    file = fopen(in, "w");
    fputs("line\n", file);
    fclose(file);
    options.input = in;
    options.log_path = log;
    for (int i = 0; i < 2; i++) {
        assert_ok(start(&child, loop, &options));
        loop_run(loop);
    }
    assert_int_equal(child.calls, 2);
    assert_int_equal(child.output_len, 0);

    file = fopen(log, "r");
    assert_int_equal(fread(text, 1, sizeof(text) - 1, file), 10);
    fclose(file);
    assert_string_equal(text, "line\nline\n");
    drop_dir(dir);
    drop_loop(loop);
}

static void test_process_gets_the_environment_it_is_given(void **state)
{
    struct loop *loop = make_loop();
    struct child child = { 0 };
    char *const args[] = { "sh", "-c", "echo $TIDE; pwd; cat", NULL };
    char *const env[] = { "TIDE=high", "PATH=/usr/bin:/bin", NULL };
    const struct process_options options = { .args = args,
                                             .env = env,
                                             .cwd = "/" };

    (void)state;
    assert_ok(start(&child, loop, &options));
    loop_run(loop);

    assert_string_equal(child.output, "high\n/\n");
    drop_loop(loop);
}

static void test_process_start_says_what_cannot_be_started(void **state)
{
    struct loop *loop = make_loop();
    struct child child = { 0 };
    char *const args[] = { "tidepool-no-such-program", NULL };
    struct process_options options = { .args = args };

    (void)state;
    assert_err(start(&child, loop, &options), ERR_BADARG);
    assert_string_equal(child.why.text,
                        "cannot start tidepool-no-such-program: "
                        "no such file or directory");
    options.input = "/nowhere/input";
    assert_err(start(&child, loop, &options), ERR_BADARG);
    assert_non_null(strstr(child.why.text, "/nowhere/input"));
    options.input = NULL;
    options.log_path = "/nowhere/log";
    assert_err(start(&child, loop, &options), ERR_BADARG);
    assert_non_null(strstr(child.why.text, "/nowhere/log"));

    assert_null(child.process);
    drop_loop(loop);
    assert_int_equal(child.calls, 0);
}

static bool is_gone(int pid)
{
    return kill(pid, 0) != 0 && errno == ESRCH;
}

static void test_process_goes_on_when_detached_and_is_reaped(void **state)
{
    struct loop *loop = make_loop();
    struct child detached = { 0 };
    struct child other = { 0 };
    int pid;

    (void)state;
    assert_ok(start_shell(&detached, loop, "echo x; exec sleep 600"));
    pid = process_pid(detached.process);
    process_detach(detached.process);
    assert_int_equal(loop_open_handles(loop), 0);
    assert_ok(start_shell(&other, loop, "exit 0"));
    loop_run(loop); /* does not wait for the detached one */
    assert_int_equal(other.calls, 1);
    assert_false(is_gone(pid));

    assert_int_equal(kill(pid, SIGKILL), 0);
    wait_for(loop, is_gone(pid));
    drop_loop(loop);
    assert_int_equal(detached.calls, 0);
}

static void test_process_that_outlives_its_loop_is_let_go(void **state)
{
    struct loop *loop = make_loop();
    struct child child = { 0 };
    int pid;

    (void)state;
    assert_ok(start_shell(&child, loop, "exec sleep 600"));
    pid = process_pid(child.process);
    process_detach(child.process);
    drop_loop(loop);

    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(child.calls, 0);
}

static void test_process_start_fails_without_memory(void **state)
{
    struct loop *loop = make_loop();
    struct child child = { 0 };
    enum err err;

    (void)state;
    for (unsigned n = 1;; n++) {
        oom_fail_at(n);
        err = start_shell(&child, loop, "exit 0");
        oom_off();
        if (!oom_happened())
            break;
        assert_err(err, ERR_NOMEM);
        assert_null(child.process);
    }
    assert_ok(err);
    drop_loop(loop);
    assert_int_equal(child.calls, 1);
}

/* ---- signals */

static void on_signal(int signal, void *ud)
{
    int *seen = ud;

    *seen += signal;
}

static void test_signal_watch_tells_of_its_signal(void **state)
{
    struct loop *loop = make_loop();
    struct signal_watch *watch = NULL;
    int seen = 0;

    (void)state;
    assert_ok(signal_watch_open(&watch, loop, SIGUSR1, on_signal, &seen));
    loop_run(loop); /* it does not keep the loop running */
    assert_int_equal(raise(SIGUSR1), 0);
    wait_for(loop, seen == SIGUSR1);

    assert_int_equal(loop_open_handles(loop), 1);
    signal_watch_close(watch);
    signal_watch_close(NULL);
    assert_err(signal_watch_open(&watch, loop, -1, on_signal, &seen),
               ERR_BADARG);
    oom_fail_at(1);
    assert_err(signal_watch_open(&watch, loop, SIGUSR1, on_signal, &seen),
               ERR_NOMEM);
    oom_off();
    drop_loop(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_process_gives_descriptors_on),
        cmocka_unit_test(test_process_tells_status_and_both_outputs),
        cmocka_unit_test(test_process_tells_the_signal_that_ended_it),
        cmocka_unit_test(test_process_keeps_the_first_megabyte_of_output),
        cmocka_unit_test(test_process_does_not_wait_for_what_its_child_left),
        cmocka_unit_test(test_process_reads_and_writes_the_files_it_is_given),
        cmocka_unit_test(test_process_gets_the_environment_it_is_given),
        cmocka_unit_test(test_process_start_says_what_cannot_be_started),
        cmocka_unit_test(test_process_goes_on_when_detached_and_is_reaped),
        cmocka_unit_test(test_process_that_outlives_its_loop_is_let_go),
        cmocka_unit_test(test_process_start_fails_without_memory),
        cmocka_unit_test(test_signal_watch_tells_of_its_signal),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
