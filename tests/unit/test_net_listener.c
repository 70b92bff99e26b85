/* test_net_listener.c - addresses, socket files, running out of descriptors. */
#include "net/stream.h"

#include "oom.h"
#include "turns.h"
#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct door {
    struct loop *loop;
    struct listener *listener;
    struct err_text why;
    unsigned accepts;
    bool closes_listener;
};

static void on_accept(struct listener *listener, struct stream *stream,
                      void *ud)
{
    struct door *door = ud;

    door->accepts++;
    stream_close(stream);
    if (door->closes_listener) {
        listener_close(listener);
        door->listener = NULL;
    }
}

static enum err open_door(struct door *door, const char *address)
{
    return listener_open(&door->listener, door->loop, address, on_accept, door,
                         &door->why);
}

static unsigned port_of(const struct listener *listener)
{
    return (unsigned)atoi(strrchr(listener_address(listener), ':') + 1);
}

/* A blocking client: the kernel completes it without our accepting. */
static int dial(const struct listener *listener)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_port = htons((uint16_t)port_of(listener));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)),
                     0);
    return fd;
}

static void test_listener_names_the_port_that_it_got(void **state)
{
    const char *addresses[] = { "127.0.0.1:0", "localhost:0" };
    struct door door = { .loop = make_loop() };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
        assert_ok(open_door(&door, addresses[i]));
        assert_memory_equal(listener_address(door.listener), "127.0.0.1:", 10);
        assert_in_range(port_of(door.listener), 1, 65535);
        listener_close(door.listener);
    }
    if (open_door(&door, "[::1]:0") == ERR_OK) { /* where there is IPv6 */
        assert_memory_equal(listener_address(door.listener), "[::1]:", 6);
        listener_close(door.listener);
    }
    drop_loop(door.loop);
}

static void test_listener_refuses_a_port_in_use_with_a_sentence(void **state)
{
    struct door first = { .loop = make_loop() };
    struct door second = { .loop = first.loop };
    char sentence[100];

    (void)state;
    assert_ok(open_door(&first, "127.0.0.1:0"));
    assert_err(open_door(&second, listener_address(first.listener)),
               ERR_BADARG);
    snprintf(sentence, sizeof(sentence),
             "cannot listen on %s: the port is in use",
             listener_address(first.listener));
    assert_string_equal(second.why.text, sentence);

    listener_close(first.listener);
    drop_loop(first.loop);
}

static void test_listener_refuses_what_is_no_address(void **state)
{
    const char *forms[] = { "",          "8080",         ":8080",
                            "127.0.0.1", "127.0.0.1:",   "127.0.0.1:http",
                            "[::1]",     "::1:80",       "127.0.0.1:65536",
                            "[]:80",     "127.0.0.1:-1", "127.0.0.1:80x" };
    struct door door = { .loop = make_loop() };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        assert_err(open_door(&door, forms[i]), ERR_BADARG);
        assert_non_null(strstr(door.why.text, "the form is HOST:PORT"));
    }
    assert_err(open_door(&door, "192.0.2.1:0"), ERR_BADARG);
    assert_string_equal(door.why.text, "cannot listen on 192.0.2.1:0: "
                                       "this machine has no such address");
    assert_err(open_door(&door, "unix:"), ERR_BADARG);
    assert_string_equal(door.why.text,
                        "cannot listen on unix:: there is no path");
    drop_loop(door.loop);
}

static void test_listener_removes_its_socket_file_when_closed(void **state)
{
    struct door door = { .loop = make_loop() };
    struct stat file;
    char dir[64], address[80];

    (void)state;
    make_dir(dir);
    snprintf(address, sizeof(address), "unix:%s/s", dir);
    assert_ok(open_door(&door, address));
    assert_string_equal(listener_address(door.listener), address);
    assert_int_equal(stat(address + 5, &file), 0);

    listener_close(door.listener);
    assert_int_equal(stat(address + 5, &file), -1);
    drop_loop(door.loop);
    drop_dir(dir);
}

/* Binds path and leaves the file behind, as a killed process does. */
static void leave_stale(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
}

static void test_listener_replaces_a_stale_socket_file(void **state)
{
    struct door door = { .loop = make_loop() };
    char dir[64], address[80];

    (void)state;
    make_dir(dir);
    snprintf(address, sizeof(address), "unix:%s/s", dir);
    leave_stale(address + 5);
    assert_ok(open_door(&door, address));

    listener_close(door.listener);
    drop_loop(door.loop);
    drop_dir(dir);
}

static void test_listener_refuses_a_socket_file_in_use(void **state)
{
    struct door first = { .loop = make_loop() };
    struct door second = { .loop = first.loop };
    char dir[64], address[80];

    (void)state;
    make_dir(dir);
    snprintf(address, sizeof(address), "unix:%s/s", dir);
    assert_ok(open_door(&first, address));
    assert_err(open_door(&second, address), ERR_BADARG);
    assert_non_null(strstr(second.why.text, "another process listens there"));

    listener_close(first.listener);
    drop_loop(first.loop);
    drop_dir(dir);
}

static void test_listener_never_removes_a_file_of_others(void **state)
{
    struct door door = { .loop = make_loop() };
    char dir[64], address[80];
    struct stat file;
    FILE *other;

    (void)state;
    make_dir(dir);
    snprintf(address, sizeof(address), "unix:%s/s", dir);
    other = fopen(address + 5, "w");
    fclose(other);
    assert_err(open_door(&door, address), ERR_BADARG);
    assert_non_null(strstr(door.why.text, "not a socket"));
    assert_int_equal(unlink(address + 5), 0);

    assert_ok(open_door(&door, address));
    assert_int_equal(unlink(address + 5), 0);
    leave_stale(address + 5); /* that is another's now */
    listener_close(door.listener);
    assert_int_equal(stat(address + 5, &file), 0);
    drop_loop(door.loop);
    drop_dir(dir);
}

static void test_listener_may_be_closed_while_it_accepts(void **state)
{
    struct door door = { .loop = make_loop(), .closes_listener = true };
    int fds[3];

    (void)state;
    assert_ok(open_door(&door, "127.0.0.1:0"));
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        fds[i] = dial(door.listener);
    wait_for(door.loop, door.accepts > 0);
    drop_loop(door.loop);

    assert_int_equal(door.accepts, 1);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
}

static void test_listener_does_not_spin_without_descriptors(void **state)
{
    struct door door = { .loop = make_loop() };
    struct rlimit all, few;
    uint64_t began_ns;
    unsigned turns = 0;
    int fd;

    (void)state;
    assert_ok(open_door(&door, "127.0.0.1:0"));
    fd = dial(door.listener);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &all), 0);
    few = all;
    few.rlim_cur = (rlim_t)fd + 1; /* that was the lowest free one */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    loop_turn(door.loop, 0);
    began_ns = loop_now_ns(door.loop);
    while (loop_now_ns(door.loop) - began_ns < 20 * NS_PER_MS) {
        loop_turn(door.loop, 20); /* blocks, though one waits in the queue */
        turns++;
    }
    assert_in_range(turns, 1, 10); /* an interrupted poll may end early */
    assert_int_equal(door.accepts, 0);

    assert_int_equal(setrlimit(RLIMIT_NOFILE, &all), 0);
    wait_for(door.loop, door.accepts == 1);
    listener_close(door.listener);
    close(fd);
    drop_loop(door.loop);
}

static void test_listener_open_fails_without_memory(void **state)
{
    struct door door = { .loop = make_loop() };
    char dir[64], address[80];
    enum err err;

    (void)state;
    make_dir(dir);
    snprintf(address, sizeof(address), "unix:%s/s", dir);
    for (unsigned n = 1;; n++) {
        oom_fail_at(n);
        err = open_door(&door, address);
        oom_off();
        if (!oom_happened())
            break;
        assert_err(err, ERR_NOMEM);
        assert_non_null(strstr(door.why.text, "memory"));
        assert_int_equal(rmdir(dir), 0); /* no file is left */
        assert_int_equal(mkdir(dir, 0700), 0);
    }
    assert_ok(err);
    listener_close(door.listener);
    drop_loop(door.loop);
    drop_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_listener_names_the_port_that_it_got),
        cmocka_unit_test(test_listener_refuses_a_port_in_use_with_a_sentence),
        cmocka_unit_test(test_listener_refuses_what_is_no_address),
        cmocka_unit_test(test_listener_removes_its_socket_file_when_closed),
        cmocka_unit_test(test_listener_replaces_a_stale_socket_file),
        cmocka_unit_test(test_listener_refuses_a_socket_file_in_use),
        cmocka_unit_test(test_listener_never_removes_a_file_of_others),
        cmocka_unit_test(test_listener_may_be_closed_while_it_accepts),
        cmocka_unit_test(test_listener_does_not_spin_without_descriptors),
        cmocka_unit_test(test_listener_open_fails_without_memory),
    };

    if (getenv("TEST_VALGRIND") != NULL) /* its accept() takes it, and fails */
        cmocka_set_skip_filter("test_listener_does_not_spin*");
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
