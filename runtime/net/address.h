/* address.h - socket addresses as text and paths. */
#ifndef TIDEPOOL_NET_ADDRESS_H
#define TIDEPOOL_NET_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

enum { ADDRESS_TEXT_MAX = 128 };

/* "127.0.0.1:80", "[::1]:80" or "unix:/path"; "unix:" for a nameless end. */
void address_text(const struct sockaddr *address, socklen_t len,
                  char text[ADDRESS_TEXT_MAX]);
/* False when path is too long for a unix socket. */
bool address_of_path(struct sockaddr_storage *address, socklen_t *len,
                     const char *path);

#endif
