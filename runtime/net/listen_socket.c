/* listen_socket.c - see listen_socket.h. */
#include "net/listen_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/inside.h"

enum {
    BACKLOG = 511,
    HOST_MAX = 256,
};

/* What is being opened, and where to say why it failed. */
struct plan {
    const char *address;
    struct err_text *why;
    struct sockaddr_storage socket;
    socklen_t len;
    bool shares; /* others of this process will join it on its port */
    bool joins;
};

static enum err refuse(const struct plan *plan, const char *reason)
{
    err_text_set(plan->why, "cannot listen on %s: %s", plan->address, reason);
    return ERR_BADARG;
}

static enum err refuse_errno(const struct plan *plan, int error)
{
    switch (error) {
    case EADDRINUSE: return refuse(plan, "the port is in use");
    case EADDRNOTAVAIL: return refuse(plan, "this machine has no such address");
    case EACCES: return refuse(plan, "permission denied");
    case ENOMEM: refuse(plan, errno_text(error)); return ERR_NOMEM;
    default: return refuse(plan, errno_text(error));
    }
}

/* ---- unix sockets */

/* Removes a socket file that a process left behind. */
static enum err clear_path(const struct plan *plan, const char *path)
{
    struct stat file;
    int fd, error = 0;

    if (lstat(path, &file) != 0)
        return errno == ENOENT ? ERR_OK : refuse_errno(plan, errno);
    if (!S_ISSOCK(file.st_mode))
        return refuse(plan, "the file exists and is not a socket");
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return refuse_errno(plan, errno);
    if (connect(fd, (const struct sockaddr *)&plan->socket, plan->len) != 0)
        error = errno;
    close(fd);
    if (error == 0 || error == EAGAIN)
        return refuse(plan, "another process listens there");
    if (error != ECONNREFUSED)
        return refuse_errno(plan, error);
    if (unlink(path) != 0 && errno != ENOENT)
        return refuse_errno(plan, errno);
    return ERR_OK;
}

/* ---- binding */

/* Makes out->fd a listening socket on plan->socket. */
static enum err bind_socket(struct listen_socket *out, const struct plan *plan)
{
    const struct sockaddr *address = (const struct sockaddr *)&plan->socket;
    int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    int on = 1;
    int error;

    out->fd = socket(address->sa_family, type, 0);
    if (out->fd < 0)
        return refuse_errno(plan, errno);
    if (address->sa_family != AF_UNIX) {
        setsockopt(out->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        /* Connections that are accepted inherit it. */
        setsockopt(out->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    if (plan->joins)
        setsockopt(out->fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    if (bind(out->fd, address, plan->len) == 0) {
        /* After it: where others listen already the bind has failed. */
        if (plan->shares)
            setsockopt(out->fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
        if (listen(out->fd, BACKLOG) == 0)
            return ERR_OK;
    }
    error = errno;
    close(out->fd);
    out->fd = -1;
    return refuse_errno(plan, error);
}

static enum err bind_unix(struct listen_socket *out, struct plan *plan)
{
    const char *path = plan->address + strlen("unix:");
    enum err err;

    if (path[0] == '\0')
        return refuse(plan, "there is no path");
    if (!address_of_path(&plan->socket, &plan->len, path))
        return refuse(plan, "the path is too long for a socket");
    err = clear_path(plan, path);
    if (err == ERR_OK)
        err = bind_socket(out, plan);
    if (err == ERR_OK && lstat(path, &out->file) != 0)
        out->file.st_ino = 0;
    return err;
}

/* Splits "host:port" or "[host]:port"; returns the port or NULL. */
static const char *split(const struct plan *plan, char host[HOST_MAX])
{
    const char *colon = strrchr(plan->address, ':');
    const char *begin = plan->address;
    size_t len = colon != NULL ? (size_t)(colon - begin) : 0;
    char *end;
    unsigned long port;

    if (len >= 2 && begin[0] == '[' && begin[len - 1] == ']') {
        begin++;
        len -= 2;
    } else if (memchr(begin, ':', len) != NULL) {
        return NULL; /* an IPv6 address without its brackets */
    }
    if (len == 0 || len >= HOST_MAX || colon[1] < '0' || colon[1] > '9')
        return NULL;
    port = strtoul(colon + 1, &end, 10);
    if (*end != '\0' || port > UINT16_MAX)
        return NULL;
    memcpy(host, begin, len);
    host[len] = '\0';
    return colon + 1;
}

/* Binds the first address of family that lets itself be bound. */
static enum err bind_first(struct listen_socket *out, struct plan *plan,
                           const struct addrinfo *found, int family)
{
    enum err err = ERR_REFUSED; /* none of that family */

    for (; found != NULL && err != ERR_OK; found = found->ai_next) {
        if (found->ai_family != family)
            continue;
        memcpy(&plan->socket, found->ai_addr, found->ai_addrlen);
        plan->len = found->ai_addrlen;
        err = bind_socket(out, plan);
    }
    return err;
}

static enum err bind_tcp(struct listen_socket *out, struct plan *plan)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
    struct addrinfo *found;
    char host[HOST_MAX];
    const char *port = split(plan, host);
    enum err err;
    int status;

    if (port == NULL)
        return refuse(plan, "the form is HOST:PORT, [IPV6]:PORT or unix:PATH");
    status = getaddrinfo(host, port, &hints, &found);
    if (status != 0) {
        refuse(plan, gai_strerror(status));
        return status == EAI_MEMORY ? ERR_NOMEM : ERR_BADARG;
    }
    /* Of "localhost" 127.0.0.1 is what clients try, whatever comes first. */
    err = bind_first(out, plan, found, AF_INET);
    if (err == ERR_REFUSED)
        err = bind_first(out, plan, found, AF_INET6);
    freeaddrinfo(found);
    return err;
}

/* ---- opening and closing */

static bool is_path(const char *address)
{
    return strncmp(address, "unix:", strlen("unix:")) == 0;
}

static void name_address(struct listen_socket *out)
{
    struct sockaddr_storage bound = { 0 };
    socklen_t len = sizeof(bound);

    getsockname(out->fd, (struct sockaddr *)&bound, &len);
    address_text((struct sockaddr *)&bound, len, out->address);
}

static enum err open_planned(struct listen_socket *out, struct plan *plan)
{
    enum err err;

    *out = (struct listen_socket){ .fd = -1 };
    err = is_path(plan->address) ? bind_unix(out, plan) : bind_tcp(out, plan);
    if (err == ERR_OK)
        name_address(out);
    return err;
}

enum err listen_socket_open(struct listen_socket *out, const char *address,
                            struct err_text *why)
{
    struct plan plan = { .address = address, .why = why };

    return open_planned(out, &plan);
}

enum err listen_socket_open_group(struct listen_socket *out, unsigned *count,
                                  const char *address, bool joins,
                                  struct err_text *why)
{
    struct plan plan = {
        .address = address, .why = why, .shares = true, .joins = joins
    };

    if (is_path(address))
        *count = 1;
    for (unsigned i = 0; i < *count; i++) {
        enum err err = open_planned(&out[i], &plan);

        if (err != ERR_OK) {
            while (i-- > 0)
                listen_socket_close(&out[i]);
            return err;
        }
        plan.address = out[0].address; /* with the port that port 0 became */
        plan.joins = true;
    }
    return ERR_OK;
}

enum err listen_socket_take(struct listen_socket *out, int fd,
                            struct err_text *why)
{
    int listens = 0;
    socklen_t len = sizeof(listens);

    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) != 0 ||
        listens == 0) {
        err_text_set(why, "descriptor %d is no socket that listens", fd);
        return ERR_BADARG;
    }
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    *out = (struct listen_socket){ .fd = fd };
    name_address(out);
    return ERR_OK;
}

static const char *path_of(const struct listen_socket *listening)
{
    return listening->address + strlen("unix:");
}

void listen_socket_take_file(struct listen_socket *listening)
{
    if (!is_path(listening->address) ||
        lstat(path_of(listening), &listening->file) != 0)
        listening->file.st_ino = 0;
}

void listen_socket_leave_file(struct listen_socket *listening)
{
    listening->file.st_ino = 0;
}

void listen_socket_close(struct listen_socket *listening)
{
    const char *path = path_of(listening);
    struct stat file;

    if (listening->fd < 0)
        return;
    if (listening->file.st_ino != 0 && lstat(path, &file) == 0 &&
        file.st_ino == listening->file.st_ino &&
        file.st_dev == listening->file.st_dev)
        unlink(path);
    close(listening->fd);
    listening->fd = -1;
}
