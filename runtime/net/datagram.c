/* datagram.c - see datagram.h. */
#include "net/datagram.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/inside.h"

/* A name of the abstract namespace begins with a 0, and has none at its end. */
static bool address_of(struct sockaddr_storage *address, socklen_t *len,
                       const char *to)
{
    bool is_abstract = to[0] == '@';

    if ((to[0] != '/' && !is_abstract) || to[1] == '\0' ||
        !address_of_path(address, len, to))
        return false;
    if (is_abstract) {
        ((struct sockaddr_un *)address)->sun_path[0] = '\0';
        (*len)--;
    }
    return true;
}

enum err datagram_send(const char *to, const char *text, size_t len,
                       struct err_text *why)
{
    struct sockaddr_storage address;
    socklen_t address_len;
    ssize_t sent;
    int error, fd;

    if (!address_of(&address, &address_len, to)) {
        err_text_set(why, "%s: expected a path, or @ and a name", to);
        return ERR_BADARG;
    }
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        err_text_set(why, "no socket: %s", errno_text(errno));
        return ERR_BUSY;
    }
    sent = sendto(fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL,
                  (struct sockaddr *)&address, address_len);
    error = errno;
    close(fd);
    if (sent >= 0)
        return ERR_OK;
    err_text_set(why, "%s: %s", to, errno_text(error));
    return error == EAGAIN || error == ENOBUFS ? ERR_BUSY : ERR_BADARG;
}
