/* test_net_datagram.c - one datagram to a socket of this machine. */
#include "net/datagram.h"

#include "turns.h"
#include "unit.h"

#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A socket that hears; name: what follows the 0 or is the path. */
static int hear(const char *name, bool is_abstract)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    size_t at = is_abstract ? 1 : 0;
    size_t len = offsetof(struct sockaddr_un, sun_path) + strlen(name) + 1;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    strncpy(address.sun_path + at, name, sizeof(address.sun_path) - 2);
    assert_int_equal(bind(fd, (void *)&address, (socklen_t)len), 0);
    return fd;
}

static enum err send_text(const char *to, const char *text,
                          struct err_text *why)
{
    return datagram_send(to, text, strlen(text), why);
}

static void assert_heard(int fd, const char *text)
{
    char heard[100] = "";

    assert_int_equal(recv(fd, heard, sizeof(heard) - 1, 0), strlen(text));
    assert_string_equal(heard, text);
}

static void test_datagram_reaches_a_path(void **state)
{
    struct err_text why;
    char dir[64], path[80];
    int fd;

    (void)state;
    make_dir(dir);
    snprintf(path, sizeof(path), "%s/notify", dir);
    fd = hear(path, false);
    assert_ok(send_text(path, "READY=1\nSTATUS=ok", &why));
    assert_heard(fd, "READY=1\nSTATUS=ok");
    close(fd);
    drop_dir(dir);
}

static void test_datagram_reaches_an_abstract_name(void **state)
{
    struct err_text why;
    char to[64];
    int fd;

    (void)state;
    snprintf(to, sizeof(to), "@tidepool-unit-%d", (int)getpid());
    fd = hear(to + 1, true);
    assert_ok(send_text(to, "READY=1", &why));
    assert_heard(fd, "READY=1");
    close(fd);
}

static void test_datagram_says_why_nobody_hears(void **state)
{
    struct err_text why;
    char name[200];

    (void)state;
    assert_int_equal(send_text("/nowhere/notify", "x", &why), ERR_BADARG);
    assert_string_equal(why.text, "/nowhere/notify: no such file or directory");
    assert_int_equal(send_text("notify", "x", &why), ERR_BADARG);
    assert_string_equal(why.text, "notify: expected a path, or @ and a name");
    assert_int_equal(send_text("", "x", &why), ERR_BADARG);
    assert_int_equal(send_text("@", "x", &why), ERR_BADARG);
    memset(name, 'x', sizeof(name));
    name[0] = '/';
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(send_text(name, "x", &why), ERR_BADARG);
}

static void test_datagram_never_waits_for_who_is_behind(void **state)
{
    struct err_text why;
    char to[64];
    unsigned sent = 0;
    enum err err;
    int fd;

    (void)state;
    snprintf(to, sizeof(to), "@tidepool-unit-full-%d", (int)getpid());
    fd = hear(to + 1, true);
    while ((err = send_text(to, "WATCHDOG=1", &why)) == ERR_OK && sent < 100000)
        sent++;
    assert_int_equal(err, ERR_BUSY);
    assert_heard(fd, "WATCHDOG=1");
    assert_ok(send_text(to, "WATCHDOG=1", &why));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_datagram_reaches_a_path),
        cmocka_unit_test(test_datagram_reaches_an_abstract_name),
        cmocka_unit_test(test_datagram_says_why_nobody_hears),
        cmocka_unit_test(test_datagram_never_waits_for_who_is_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
