/* dial.c - see dial.h. */
#include "net/dial.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

enum {
    KEEPALIVE_IDLE_S = 10, /* a silent peer is asked after this time, */
    KEEPALIVE_EVERY_S = 5, /* this often, */
    KEEPALIVE_TIMES = 3,   /* so many times */
    USER_TIMEOUT_MS = 10000,
};

static void set_option(int fd, int level, int option, int value)
{
    /* What the kernel refuses is done without. */
    (void)setsockopt(fd, level, option, &value, sizeof(value));
}

static void set_tcp_options(int fd)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_EVERY_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_TIMES);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS);
}

int dial(int *fd, const struct sockaddr *address, socklen_t len, bool *is_over)
{
    int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;

    *is_over = true;
    *fd = socket(address->sa_family, type, 0);
    if (*fd < 0)
        return errno;
    if (address->sa_family != AF_UNIX)
        set_tcp_options(*fd);
    if (connect(*fd, address, len) == 0)
        return 0;
    *is_over = errno != EINPROGRESS;
    return *is_over ? errno : 0;
}

/* The kernel may join a socket to itself when nobody listens on a port of the
 * range that it dials from; that is nobody's server. */
static bool is_own_echo(int fd)
{
    struct sockaddr_storage ours = { 0 };
    struct sockaddr_storage theirs = { 0 };
    socklen_t len = sizeof(ours);
    socklen_t their_len = sizeof(theirs);

    if (getsockname(fd, (struct sockaddr *)&ours, &len) != 0 ||
        getpeername(fd, (struct sockaddr *)&theirs, &their_len) != 0 ||
        ours.ss_family == AF_UNIX)
        return false;
    return len == their_len && memcmp(&ours, &theirs, len) == 0;
}

int dial_result(int fd)
{
    int error = 0;
    socklen_t len = sizeof(error);

    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    return error == 0 && is_own_echo(fd) ? ECONNREFUSED : error;
}
