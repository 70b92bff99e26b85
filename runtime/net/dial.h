/* dial.h - sockets that connect, for stream.c. */
#ifndef TIDEPOOL_NET_DIAL_H
#define TIDEPOOL_NET_DIAL_H

#include <stdbool.h>
#include <sys/socket.h>

/* Begins to connect a new socket, *fd, the caller's also on failure (-1: there
 * is none).  Returns errno, or 0; *is_over: there is nothing to wait for. */
int dial(int *fd, const struct sockaddr *address, socklen_t len, bool *is_over);
/* How the wait for it ended: errno, or 0 when it is connected. */
int dial_result(int fd);

#endif
