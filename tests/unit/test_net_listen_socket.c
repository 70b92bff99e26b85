/* test_net_listen_socket.c - groups that share one port, sockets of others. */
#include "net/listen_socket.h"

#include "turns.h"
#include "unit.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { GROUP = 4, DIALS = 64 };

static unsigned port_of(const struct listen_socket *listening)
{
    return (unsigned)atoi(strrchr(listening->address, ':') + 1);
}

static int dial(unsigned port)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)),
                     0);
    return fd;
}

/* How many connections wait on it: takes them. */
static unsigned take_all(const struct listen_socket *listening)
{
    unsigned count = 0;
    int fd;

    while ((fd = accept(listening->fd, NULL, NULL)) >= 0) {
        close(fd);
        count++;
    }
    return count;
}

static void test_group_shares_a_port_and_the_connections(void **state)
{
    struct listen_socket group[GROUP];
    struct err_text why = { .text = "" };
    unsigned count = GROUP, total = 0, used = 0;
    int fds[DIALS];

    (void)state;
    assert_ok(
        listen_socket_open_group(group, &count, "127.0.0.1:0", false, &why));
    assert_int_equal(count, GROUP);
    for (unsigned i = 1; i < GROUP; i++)
        assert_string_equal(group[i].address, group[0].address);
    for (int i = 0; i < DIALS; i++)
        fds[i] = dial(port_of(&group[0]));
    for (unsigned i = 0; i < GROUP; i++) {
        unsigned taken = take_all(&group[i]);

        total += taken;
        used += taken > 0;
    }
    assert_int_equal(total, DIALS);
    assert_true(used > 1);
    for (int i = 0; i < DIALS; i++)
        close(fds[i]);
    for (unsigned i = 0; i < GROUP; i++)
        listen_socket_close(&group[i]);
}

static void test_group_refuses_a_port_that_another_group_has(void **state)
{
    struct listen_socket group[2], other[2];
    struct err_text why = { .text = "" };
    char address[ADDRESS_TEXT_MAX];
    unsigned count = 2;

    (void)state;
    assert_ok(
        listen_socket_open_group(group, &count, "127.0.0.1:0", false, &why));
    snprintf(address, sizeof(address), "%s", group[0].address);
    assert_err(listen_socket_open_group(other, &count, address, false, &why),
               ERR_BADARG);
    assert_non_null(strstr(why.text, "the port is in use"));
    listen_socket_close(&group[0]);
    listen_socket_close(&group[1]);
    assert_ok(listen_socket_open_group(other, &count, address, false, &why));
    listen_socket_close(&other[0]);
    listen_socket_close(&other[1]);
}

static void test_group_on_a_path_is_one_socket(void **state)
{
    struct listen_socket group[GROUP];
    struct err_text why = { .text = "" };
    char dir[] = "/tmp/tidepool-unit-XXXXXX";
    char address[64];
    unsigned count = GROUP;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(address, sizeof(address), "unix:%s/door", dir);
    assert_ok(listen_socket_open_group(group, &count, address, false, &why));
    assert_int_equal(count, 1);
    listen_socket_close(&group[0]);
    assert_int_equal(rmdir(dir), 0); /* its file is gone */
}

static void test_taken_socket_leaves_the_file_to_its_maker(void **state)
{
    struct listen_socket made, taken;
    struct err_text why = { .text = "" };
    char dir[] = "/tmp/tidepool-unit-XXXXXX";
    char address[64];
    struct stat info;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(address, sizeof(address), "unix:%s/door", dir);
    assert_ok(listen_socket_open(&made, address, &why));
    assert_ok(listen_socket_take(&taken, dup(made.fd), &why));
    assert_string_equal(taken.address, address);
    assert_int_equal(fcntl(taken.fd, F_GETFD), FD_CLOEXEC);
    listen_socket_close(&taken);
    assert_int_equal(stat(address + 5, &info), 0);
    listen_socket_close(&made);
    assert_int_equal(rmdir(dir), 0);
}

static void test_take_refuses_what_does_not_listen(void **state)
{
    struct listen_socket taken;
    struct err_text why = { .text = "" };
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    (void)state;
    assert_err(listen_socket_take(&taken, fd, &why), ERR_BADARG);
    assert_non_null(strstr(why.text, "no socket that listens"));
    close(fd);
    assert_err(listen_socket_take(&taken, fd, &why), ERR_BADARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_group_shares_a_port_and_the_connections),
        cmocka_unit_test(test_group_refuses_a_port_that_another_group_has),
        cmocka_unit_test(test_group_on_a_path_is_one_socket),
        cmocka_unit_test(test_taken_socket_leaves_the_file_to_its_maker),
        cmocka_unit_test(test_take_refuses_what_does_not_listen),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
