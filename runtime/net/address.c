/* address.c - addresses and errors of sockets as text, see inside.h. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "net/inside.h"

_Static_assert(sizeof(((struct sockaddr_un *)NULL)->sun_path) + 6 <
                   ADDRESS_TEXT_MAX,
               "a unix address fits");

const char *errno_text(int error)
{
    return uv_strerror(uv_translate_sys_error(error));
}

static void v4_text(const struct in_addr *address, in_port_t port,
                    char text[ADDRESS_TEXT_MAX])
{
    char number[INET_ADDRSTRLEN] = "";

    inet_ntop(AF_INET, address, number, sizeof(number));
    snprintf(text, ADDRESS_TEXT_MAX, "%s:%u", number, ntohs(port));
}

static void v6_text(const struct sockaddr_in6 *address,
                    char text[ADDRESS_TEXT_MAX])
{
    char number[INET6_ADDRSTRLEN] = "";
    struct in_addr v4;

    if (IN6_IS_ADDR_V4MAPPED(&address->sin6_addr)) {
        memcpy(&v4, &address->sin6_addr.s6_addr[12], sizeof(v4));
        v4_text(&v4, address->sin6_port, text);
        return;
    }
    inet_ntop(AF_INET6, &address->sin6_addr, number, sizeof(number));
    snprintf(text, ADDRESS_TEXT_MAX, "[%s]:%u", number,
             ntohs(address->sin6_port));
}

void address_text(const struct sockaddr *address, socklen_t len,
                  char text[ADDRESS_TEXT_MAX])
{
    const struct sockaddr_in *v4 = (const void *)address;
    const struct sockaddr_un *un = (const void *)address;
    size_t path_at = offsetof(struct sockaddr_un, sun_path);

    if (address->sa_family == AF_INET)
        v4_text(&v4->sin_addr, v4->sin_port, text);
    else if (address->sa_family == AF_INET6)
        v6_text((const void *)address, text);
    else if (len > path_at)
        snprintf(text, ADDRESS_TEXT_MAX, "unix:%.*s", (int)(len - path_at),
                 un->sun_path);
    else
        snprintf(text, ADDRESS_TEXT_MAX, "unix:");
}

bool address_of_path(struct sockaddr_storage *address, socklen_t *len,
                     const char *path)
{
    struct sockaddr_un *un = (void *)address;
    size_t size = strlen(path) + 1;

    if (size > sizeof(un->sun_path))
        return false;
    memset(address, 0, sizeof(*address));
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, size);
    *len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
    return true;
}
