/*
 * listen_socket.h - sockets that listen: on TCP or a path, alone or as a group
 * that shares one port, opened here or by another process that gave them.
 */
#ifndef TIDEPOOL_NET_LISTEN_SOCKET_H
#define TIDEPOOL_NET_LISTEN_SOCKET_H

#include "base/err.h"
#include "net/address.h"

#include <stdbool.h>
#include <sys/stat.h>

/* Owned by the caller until listen_socket_close(). */
struct listen_socket {
    int fd;                         /* -1: closed */
    char address[ADDRESS_TEXT_MAX]; /* as bound, port 0 replaced */
    struct stat file; /* of a unix socket that was made here, to remove no
                         other; st_ino 0: none */
};

/* address: "127.0.0.1:8080", "[::1]:0", "localhost:80" or "unix:/path".  On
 * failure why holds a sentence: the port is in use, the name is unknown. */
enum err listen_socket_open(struct listen_socket *out, const char *address,
                            struct err_text *why) MUST_CHECK;

/* *count sockets on one port, by SO_REUSEPORT: the kernel spreads connections
 * over them.  On a path there can be one only: then *count is 1.  A port that
 * others listen on is in use, also when they would share it; joins: not when
 * they are of the same group, which is to grow. */
enum err listen_socket_open_group(struct listen_socket *out, unsigned *count,
                                  const char *address, bool joins,
                                  struct err_text *why) MUST_CHECK;

/* Takes over fd, which another process opened and may go on using.  A path's
 * file stays its maker's to remove, unless it was handed over, too. */
enum err listen_socket_take(struct listen_socket *out, int fd,
                            struct err_text *why) MUST_CHECK;
void listen_socket_take_file(struct listen_socket *listening);
/* Somebody else took the file over. */
void listen_socket_leave_file(struct listen_socket *listening);

/* Removes a unix socket's file. */
void listen_socket_close(struct listen_socket *listening);

#endif
