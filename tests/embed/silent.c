/* silent.c - see silent.h. */
#include "silent.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS_MAX = 64, FILLERS = 4, MESSAGE_MAX = 1024 };

struct client {
    int fd; /* -1: none */
    int said;
};

struct silent {
    enum silence silence;
    unsigned iterations;
    int listener;
    int port;
    int fillers[FILLERS]; /* of the backlog */
    int end[2];           /* a pipe */
    pthread_t thread;
    atomic_int count, asked;
    struct client clients[CLIENTS_MAX];
};

int silent_port(const struct silent *silent)
{
    return silent->port;
}

int silent_count(const struct silent *silent)
{
    return atomic_load(&silent->count);
}

int silent_asked(const struct silent *silent)
{
    return atomic_load(&silent->asked);
}

/* ---- what is said */

static void put_length(char *to, uint32_t len)
{
    uint32_t bytes = htonl(len);

    memcpy(to, &bytes, sizeof(bytes));
}

/* An authentication request of Postgres: its kind, then data. */
static void ask(int fd, uint32_t kind, const char *data, size_t len)
{
    char message[MESSAGE_MAX] = "R";

    put_length(message + 1, (uint32_t)(8 + len));
    put_length(message + 5, kind);
    memcpy(message + 9, data, len);
    (void)send(fd, message, 9 + len, MSG_NOSIGNAL);
}

/* The first message of SCRAM from the server, with the client's nonce. */
static void ask_for_proof(struct silent *silent, int fd, const char *words)
{
    const char *nonce = strstr(words, ",r=");
    char data[MESSAGE_MAX / 2];
    int len;

    if (nonce == NULL)
        return;
    len = snprintf(data, sizeof(data), "r=%.100sX,s=c2FsdHNhbHQ=,i=%u",
                   nonce + 3, silent->iterations);
    ask(fd, 11, data, (size_t)len);
    atomic_fetch_add(&silent->asked, 1);
}

/* Of what a client has sent, its own length of four bytes is skipped. */
static void answer(struct silent *silent, struct client *client, char *words,
                   size_t len)
{
    static const char kinds[] = "SCRAM-SHA-256\0";

    client->said++;
    for (size_t i = 0; i < len; i++)
        if (words[i] == '\0')
            words[i] = ' ';
    if (silent->silence == SILENT_TLS && client->said == 1)
        (void)send(client->fd, "S", 1, MSG_NOSIGNAL);
    else if (silent->silence == SILENT_LOGIN && client->said == 1)
        ask(client->fd, 10, kinds, sizeof(kinds));
    else if (silent->silence == SILENT_LOGIN && client->said == 2)
        ask_for_proof(silent, client->fd, words);
    else
        atomic_fetch_add(&silent->count, 1);
}

/* ---- the thread */

static void hear(struct silent *silent, struct client *client)
{
    char words[MESSAGE_MAX];
    ssize_t got = recv(client->fd, words, sizeof(words) - 1, MSG_DONTWAIT);

    if (got <= 0) {
        close(client->fd);
        client->fd = -1;
        return;
    }
    words[got] = '\0';
    answer(silent, client, words, (size_t)got);
}

static void let_in(struct silent *silent)
{
    int fd = accept(silent->listener, NULL, NULL);

    if (fd < 0)
        return;
    for (int i = 0; i < CLIENTS_MAX; i++) {
        if (silent->clients[i].fd < 0) {
            silent->clients[i] = (struct client){ .fd = fd };
            return;
        }
    }
    close(fd);
}

static void *serve(void *ud)
{
    struct silent *silent = ud;
    struct pollfd items[CLIENTS_MAX + 2];

    for (;;) {
        items[0] = (struct pollfd){ .fd = silent->end[0], .events = POLLIN };
        items[1] = (struct pollfd){ .fd = silent->listener, .events = POLLIN };
        for (int i = 0; i < CLIENTS_MAX; i++)
            items[i + 2] = (struct pollfd){ .fd = silent->clients[i].fd,
                                            .events = POLLIN };
        poll(items, CLIENTS_MAX + 2, -1);
        if (items[0].revents != 0)
            return NULL;
        for (int i = 0; i < CLIENTS_MAX; i++)
            if (items[i + 2].revents != 0)
                hear(silent, &silent->clients[i]);
        if (items[1].revents != 0)
            let_in(silent);
    }
}

/* ---- its life */

/* Connects until the kernel answers no more. */
static void fill_backlog(struct silent *silent,
                         const struct sockaddr_in *address)
{
    for (int i = 0; i < FILLERS; i++) {
        silent->fillers[i] =
            socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)connect(silent->fillers[i], (const struct sockaddr *)address,
                      sizeof(*address));
    }
}

static bool listen_on(struct silent *silent)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    bool is_full = silent->silence == SILENT_BACKLOG;
    socklen_t len = sizeof(address);

    silent->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(silent->listener, (struct sockaddr *)&address, len) != 0 ||
        listen(silent->listener, is_full ? 0 : 64) != 0 ||
        getsockname(silent->listener, (struct sockaddr *)&address, &len) != 0)
        return false;
    silent->port = ntohs(address.sin_port);
    if (is_full)
        fill_backlog(silent, &address);
    return true;
}

struct silent *silent_new(enum silence silence, unsigned iterations)
{
    struct silent *silent = calloc(1, sizeof(*silent));

    if (silent == NULL)
        return NULL;
    silent->silence = silence;
    silent->iterations = iterations;
    for (int i = 0; i < FILLERS; i++)
        silent->fillers[i] = -1;
    for (int i = 0; i < CLIENTS_MAX; i++)
        silent->clients[i].fd = -1;
    if (listen_on(silent) && pipe2(silent->end, O_CLOEXEC) == 0 &&
        (silence == SILENT_BACKLOG ||
         pthread_create(&silent->thread, NULL, serve, silent) == 0))
        return silent;
    close(silent->listener);
    free(silent);
    return NULL;
}

void silent_free(struct silent *silent)
{
    close(silent->end[1]);
    if (silent->silence != SILENT_BACKLOG)
        pthread_join(silent->thread, NULL);
    for (int i = 0; i < FILLERS; i++)
        if (silent->fillers[i] >= 0)
            close(silent->fillers[i]);
    for (int i = 0; i < CLIENTS_MAX; i++)
        if (silent->clients[i].fd >= 0)
            close(silent->clients[i].fd);
    close(silent->end[0]);
    close(silent->listener);
    free(silent);
}
