/*
 * proxy.c - a TCP proxy on 127.0.0.1 that does to connections what it is told.
 *
 *   proxy DIRECTORY TARGET_PORT SEED
 *
 * Commands are lines of DIRECTORY/control, a FIFO that it makes; after each one
 * DIRECTORY/status is a new file that says how many were done.  DIR is up (to
 * the server), down or both; bytes are counted from 0, for a connection that is
 * open from the command on:
 *
 *   latency DIR MS JITTER_MS   each piece is so much late, their order is kept
 *   rate DIR BYTES             a second; 0: as fast as it goes
 *   at DIR BYTE ACTION [new | old] [times N]
 *       ACTION: cut (both sides are closed), reset (with an RST), stall (this
 *       and what follows stay here), corrupt, duplicate (this byte); new: for
 *       connections that come later; old: for those that are open; N times only
 *   drop cut | drop reset      all that are open
 *   refuse on | refuse off     nobody listens
 *   target PORT                of connections that come later
 *   resume                     no rule, what was stalled goes on
 *   clear                      nothing of all that; what was held goes on
 *
 * One thread, which owns all; it ends with the process that started it.
 */
#include "proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BACKLOG = 128, LINE_MAX_LEN = 256, PATH_LEN = 512, WORDS = 8 };

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

_Noreturn static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* ---- the status */

static void write_status(struct proxy *proxy, const char *directory)
{
    char made[PATH_LEN], path[PATH_LEN];
    unsigned open = 0;
    FILE *file;

    for (int i = 0; i < CONNS_MAX; i++)
        open += proxy->conns[i].is_open;
    snprintf(made, sizeof(made), "%s/status.new", directory);
    snprintf(path, sizeof(path), "%s/status", directory);
    file = fopen(made, "w");
    if (file == NULL)
        die(made);
    fprintf(file,
            "done=%u port=%d open=%u accepted=%u hits=%u up=%llu down=%llu "
            "error=%s\n",
            proxy->done, proxy->port, open, proxy->accepted, proxy->hits,
            (unsigned long long)proxy->bytes[UP],
            (unsigned long long)proxy->bytes[DOWN], proxy->error);
    fclose(file);
    if (rename(made, path) != 0)
        die(path);
}

/* ---- commands */

/* The rules of a direction: two for "both", the first of which is given. */
static int directions(const char *word, int *first)
{
    *first = strcmp(word, "down") == 0 ? DOWN : UP;
    if (strcmp(word, "both") == 0)
        return 2;
    return strcmp(word, "up") == 0 || *first == DOWN;
}

static enum action action_of(const char *word)
{
    static const char *const names[] = { "none",  "cut",     "reset",
                                         "stall", "corrupt", "duplicate",
                                         NULL };

    for (int i = 1; names[i] != NULL; i++)
        if (strcmp(word, names[i]) == 0)
            return (enum action)i;
    return NONE;
}

static bool do_at(struct proxy *proxy, char **words, int count, int dir)
{
    struct rule rule = {
        .action = action_of(words[3]),
        .at = strtoull(words[2], NULL, 10),
        .times = UINT32_MAX,
    };

    for (int i = 4; i < count; i++) {
        if (strcmp(words[i], "new") == 0)
            rule.only_new = true;
        else if (strcmp(words[i], "old") == 0)
            rule.only_old = true;
        else if (strcmp(words[i], "times") == 0 && i + 1 < count)
            rule.times = (uint32_t)strtoul(words[++i], NULL, 10);
        else
            return false;
    }
    if (rule.action == NONE)
        return false;
    flow_set_rule(proxy, dir, &rule);
    return true;
}

static bool do_dir(struct proxy *proxy, char **words, int count, int dir)
{
    struct way *way = &proxy->ways[dir];

    if (strcmp(words[0], "at") == 0 && count >= 4)
        return do_at(proxy, words, count, dir);
    if (strcmp(words[0], "rate") == 0 && count == 3) {
        way->rate = strtoull(words[2], NULL, 10);
        return true;
    }
    if (strcmp(words[0], "latency") != 0 || count != 4)
        return false;
    way->latency_ms = strtoull(words[2], NULL, 10);
    way->jitter_ms = strtoull(words[3], NULL, 10);
    return true;
}

static void listen_again(struct proxy *proxy)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)proxy->port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t len = sizeof(address);
    int one = 1;

    proxy->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(proxy->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(proxy->listener, (struct sockaddr *)&address, len) != 0 ||
        listen(proxy->listener, BACKLOG) != 0 ||
        getsockname(proxy->listener, (struct sockaddr *)&address, &len) != 0)
        die("listen");
    proxy->port = ntohs(address.sin_port);
}

static bool do_refuse(struct proxy *proxy, bool on)
{
    if (on && proxy->listener >= 0) {
        close(proxy->listener);
        proxy->listener = -1;
    } else if (!on && proxy->listener < 0) {
        listen_again(proxy);
    }
    return true;
}

static bool do_resume(struct proxy *proxy)
{
    struct rule none = { .action = NONE };

    flow_set_rule(proxy, UP, &none);
    flow_set_rule(proxy, DOWN, &none);
    return true;
}

static bool do_clear(struct proxy *proxy)
{
    memset(proxy->ways, 0, sizeof(proxy->ways));
    return do_resume(proxy) && do_refuse(proxy, false);
}

static bool do_words(struct proxy *proxy, char **words, int count)
{
    int first, many;

    if (strcmp(words[0], "clear") == 0 && count == 1)
        return do_clear(proxy);
    if (strcmp(words[0], "resume") == 0)
        return do_resume(proxy);
    if (count < 2)
        return strcmp(words[0], "look") == 0;
    if (strcmp(words[0], "refuse") == 0)
        return do_refuse(proxy, strcmp(words[1], "on") == 0);
    if (strcmp(words[0], "target") == 0)
        return (proxy->target = atoi(words[1])) > 0;
    if (strcmp(words[0], "drop") == 0)
        return flow_drop(proxy, action_of(words[1]));
    many = directions(words[1], &first);
    for (int i = 0; i < many; i++)
        if (!do_dir(proxy, words, count, first + i))
            return false;
    return many > 0;
}

static void do_line(struct proxy *proxy, char *line, const char *directory)
{
    char *words[WORDS];
    int count = 0;
    char *rest = line;
    char *word;

    while (count < WORDS && (word = strtok_r(rest, " ", &rest)) != NULL)
        words[count++] = word;
    proxy->done++;
    proxy->error = count > 0 && do_words(proxy, words, count) ? "" : "unknown";
    write_status(proxy, directory);
}

static void read_control(struct proxy *proxy, int control,
                         const char *directory)
{
    static char line[LINE_MAX_LEN];
    static size_t len;
    char byte;

    while (read(control, &byte, 1) == 1) {
        if (byte != '\n' && len < sizeof(line) - 1) {
            line[len++] = byte;
            continue;
        }
        line[len] = '\0';
        len = 0;
        do_line(proxy, line, directory);
    }
}

/* ---- the loop */

static void turn(struct proxy *proxy, int control, const char *directory)
{
    struct pollfd fds[2 + 2 * CONNS_MAX];
    struct conn *owners[2 + 2 * CONNS_MAX];
    nfds_t count = 2;
    uint64_t now = now_ms();
    uint64_t next = now + 1000;
    int timeout;

    fds[0] = (struct pollfd){ .fd = control, .events = POLLIN };
    fds[1] = (struct pollfd){ .fd = proxy->listener, .events = POLLIN };
    for (int i = 0; i < CONNS_MAX; i++)
        if (proxy->conns[i].is_open) {
            owners[count] = &proxy->conns[i];
            flow_wants(proxy, &proxy->conns[i], now, &fds[count], &next);
            count += 2;
        }
    timeout = next > now ? (int)(next - now) : 0;
    if (poll(fds, count, timeout) < 0 && errno != EINTR)
        die("poll");
    now = now_ms();
    for (nfds_t i = 2; i < count; i += 2)
        flow_turn(proxy, owners[i], &fds[i], now);
    if (fds[1].revents != 0)
        flow_accept(proxy);
    if (fds[0].revents != 0)
        read_control(proxy, control, directory);
}

int main(int argc, char **argv)
{
    static struct proxy proxy = { .listener = -1, .error = "" };
    char path[PATH_LEN];
    int control;

    if (argc != 4) {
        fputs("usage: proxy DIRECTORY TARGET_PORT SEED\n", stderr);
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    proxy.target = atoi(argv[2]);
    proxy.seed = strtoull(argv[3], NULL, 10) * 2 + 1;
    snprintf(path, sizeof(path), "%s/control", argv[1]);
    if (mkfifo(path, 0600) != 0)
        die(path);
    control = open(path, O_RDWR | O_NONBLOCK); /* a writer: it never ends */
    if (control < 0)
        die(path);
    listen_again(&proxy);
    write_status(&proxy, argv[1]);
    for (;;)
        turn(&proxy, control, argv[1]);
}
