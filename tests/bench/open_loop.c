/*
 * open_loop.c - HTTP requests at a fixed rate, whether the server keeps up or
 * not; latency counts from when a request was due, not from when it was sent.
 *
 *   open_loop HOST:PORT PATH CONNECTIONS RATE SECONDS [HOLD]
 *
 * RATE 0: as fast as the connections allow, one request on each at a time.  A
 * request that finds no free connection for a quarter of a second is given up.
 * The first second is warm-up.  Prints: replies of status 200 within a second
 * of their due time, a second; p50, p99 and maximum latency in microseconds of
 * what was sent, those without reply counted as late as they are; other
 * replies; requests given up.  Then keeps all connections open for HOLD
 * seconds.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { REPLY_MAX = 4096, EVENTS = 256 };

static const uint64_t SECOND = 1000000000;
static const uint64_t WARM_UP_NS = 1000000000;
static const uint64_t GOOD_NS = 1000000000;
static const uint64_t GIVE_UP_NS = 250000000;

struct client {
    int fd;
    bool is_waiting;
    uint64_t due_ns;
    size_t len;
    char reply[REPLY_MAX];
};

struct run {
    struct sockaddr_in address;
    char request[512];
    size_t request_len;
    uint64_t rate;
    struct client *clients;
    size_t n_clients;
    struct client **idle; /* a ring, so that each gets its turn */
    size_t idle_first;
    size_t n_idle;
    int epoll, timer;
    uint64_t start_ns, end_ns;
    uint64_t n_due; /* requests sent or given up */
    uint32_t *latency_us;
    size_t n_latency, latency_max;
    size_t n_good, n_failed, n_given_up;
};

static void die(const char *what)
{
    fprintf(stderr, "open_loop: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    if (memory == NULL)
        die("calloc");
    return memory;
}

static uint64_t clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

/* ---- connections */

static void put_idle(struct run *run, struct client *client)
{
    size_t at = (run->idle_first + run->n_idle++) % run->n_clients;

    run->idle[at] = client;
}

static struct client *take_idle(struct run *run)
{
    struct client *client = run->idle[run->idle_first];

    run->idle_first = (run->idle_first + 1) % run->n_clients;
    run->n_idle--;
    return client;
}

static void open_client(struct run *run, struct client *client)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = client };
    int on = 1;

    client->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (client->fd < 0)
        die("socket");
    if (connect(client->fd, (struct sockaddr *)&run->address,
                sizeof(run->address)) != 0)
        die("connect");
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (epoll_ctl(run->epoll, EPOLL_CTL_ADD, client->fd, &event) != 0)
        die("epoll_ctl");
    put_idle(run, client);
}

/* ---- requests and replies */

static uint64_t due_of(const struct run *run, uint64_t index, uint64_t now_ns)
{
    return run->rate == 0 ? now_ns : run->start_ns + index * SECOND / run->rate;
}

static void send_request(struct run *run, uint64_t due_ns)
{
    struct client *client = take_idle(run);
    ssize_t len = send(client->fd, run->request, run->request_len, 0);

    if (len != (ssize_t)run->request_len)
        die("send");
    client->due_ns = due_ns;
    client->is_waiting = true;
    client->len = 0;
    run->n_due++;
}

static bool is_counted(const struct run *run, uint64_t due_ns)
{
    return due_ns >= run->start_ns + WARM_UP_NS;
}

static void give_up(struct run *run, uint64_t due_ns)
{
    run->n_due++;
    if (is_counted(run, due_ns))
        run->n_given_up++;
}

static void send_due(struct run *run)
{
    uint64_t now_ns = clock_ns();
    uint64_t due_ns;

    while (run->n_idle > 0 &&
           (due_ns = due_of(run, run->n_due, now_ns)) <= now_ns) {
        if (due_ns + GIVE_UP_NS < now_ns)
            give_up(run, due_ns);
        else
            send_request(run, due_ns);
    }
}

static void record(struct run *run, uint64_t due_ns, uint64_t now_ns)
{
    if (run->n_latency < run->latency_max)
        run->latency_us[run->n_latency++] =
            (uint32_t)((now_ns - due_ns) / 1000);
}

/* Good ones count by when they came: more come late than are due meanwhile. */
static void end_request(struct run *run, struct client *client)
{
    uint64_t now_ns = clock_ns();
    bool is_fine = strncmp(client->reply, "HTTP/1.1 200", 12) == 0;

    client->is_waiting = false;
    put_idle(run, client);
    if (!is_fine)
        run->n_failed++;
    if (is_counted(run, now_ns) && is_fine &&
        now_ns - client->due_ns <= GOOD_NS)
        run->n_good++;
    if (is_counted(run, client->due_ns))
        record(run, client->due_ns, now_ns);
}

/* True when the reply in the buffer is whole. */
static bool is_whole(const struct client *client)
{
    const char *end = strstr(client->reply, "\r\n\r\n");
    const char *length;

    if (end == NULL)
        return false;
    length = strcasestr(client->reply, "\r\nContent-Length:");
    if (length == NULL || length > end) {
        fprintf(stderr, "open_loop: a reply without Content-Length\n");
        exit(EXIT_FAILURE);
    }
    return client->len >=
           (size_t)(end + 4 - client->reply) + strtoul(length + 17, NULL, 10);
}

static void read_reply(struct run *run, struct client *client)
{
    ssize_t len = recv(client->fd, client->reply + client->len,
                       REPLY_MAX - 1 - client->len, 0);

    if (len <= 0 || !client->is_waiting)
        die("a connection was closed by the server, or a reply is too long");
    client->len += (size_t)len;
    client->reply[client->len] = '\0';
    if (is_whole(client))
        end_request(run, client);
}

/* ---- the run */

static void arm_timer(struct run *run, uint64_t at_ns)
{
    struct itimerspec spec = {
        .it_value = { (time_t)(at_ns / SECOND), (long)(at_ns % SECOND) },
    };

    timerfd_settime(run->timer, TFD_TIMER_ABSTIME, &spec, NULL);
}

/* Sleeps until a reply comes, the next request is due or the run ends. */
static void turn(struct run *run)
{
    struct epoll_event events[EVENTS];
    uint64_t wake_ns = run->end_ns;
    uint64_t ticks;
    int count;

    send_due(run);
    if (run->n_idle > 0 && due_of(run, run->n_due, clock_ns()) < wake_ns)
        wake_ns = due_of(run, run->n_due, clock_ns());
    arm_timer(run, wake_ns);
    count = epoll_wait(run->epoll, events, EVENTS, -1);
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr != NULL)
            read_reply(run, events[i].data.ptr);
        else if (read(run->timer, &ticks, sizeof(ticks)) < 0)
            die("timerfd");
    }
}

/* Those not answered, and those due that found no connection. */
static void count_missing(struct run *run)
{
    for (size_t i = 0; i < run->n_clients; i++) {
        struct client *client = &run->clients[i];

        if (client->is_waiting && is_counted(run, client->due_ns))
            record(run, client->due_ns, run->end_ns);
    }
    while (run->rate > 0 && due_of(run, run->n_due, 0) < run->end_ns)
        give_up(run, due_of(run, run->n_due, 0));
}

static int by_value(const void *left, const void *right)
{
    uint32_t one = *(const uint32_t *)left;
    uint32_t other = *(const uint32_t *)right;

    return (one > other) - (one < other);
}

static uint32_t percentile(const struct run *run, double part)
{
    if (run->n_latency == 0)
        return 0;
    return run->latency_us[(size_t)((double)(run->n_latency - 1) * part)];
}

static void print_report(struct run *run)
{
    double seconds =
        (double)(run->end_ns - run->start_ns - WARM_UP_NS) / (double)SECOND;

    qsort(run->latency_us, run->n_latency, sizeof(*run->latency_us), by_value);
    printf("good %.0f p50 %u p99 %u max %u failed %zu given_up %zu\n",
           (double)run->n_good / seconds, percentile(run, 0.5),
           percentile(run, 0.99), percentile(run, 1), run->n_failed,
           run->n_given_up);
    fflush(stdout);
}

/* ---- setting it up */

static void parse_address(struct run *run, const char *text)
{
    char host[64];
    unsigned port;

    if (sscanf(text, "%63[0-9.]:%u", host, &port) != 2 || port > 65535 ||
        inet_pton(AF_INET, host, &run->address.sin_addr) != 1) {
        fprintf(stderr, "open_loop: %s is no HOST:PORT\n", text);
        exit(2);
    }
    run->address.sin_family = AF_INET;
    run->address.sin_port = htons((uint16_t)port);
}

static void allow_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void open_all(struct run *run)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };

    run->clients = allocate(run->n_clients, sizeof(*run->clients));
    run->idle = allocate(run->n_clients, sizeof(struct client *));
    run->epoll = epoll_create1(0);
    run->timer = timerfd_create(CLOCK_MONOTONIC, 0);
    if (epoll_ctl(run->epoll, EPOLL_CTL_ADD, run->timer, &event) != 0)
        die("epoll_ctl");
    for (size_t i = 0; i < run->n_clients; i++)
        open_client(run, &run->clients[i]);
}

static void read_words(struct run *run, char **words)
{
    parse_address(run, words[1]);
    run->request_len = (size_t)snprintf(
        run->request, sizeof(run->request),
        "GET %.200s HTTP/1.1\r\nHost: %.64s\r\n\r\n", words[2], words[1]);
    run->n_clients = strtoul(words[3], NULL, 10);
    run->rate = strtoul(words[4], NULL, 10);
    run->latency_max =
        (run->rate > 0 ? run->rate : 200000) * strtoul(words[5], NULL, 10) +
        run->n_clients;
    run->latency_us = allocate(run->latency_max, sizeof(uint32_t));
}

int main(int argc, char **argv)
{
    static struct run run;

    if (argc < 6 || strtoul(argv[3], NULL, 10) == 0) {
        fprintf(stderr, "usage: open_loop HOST:PORT PATH CONNECTIONS RATE "
                        "SECONDS [HOLD]\n");
        return 2;
    }
    read_words(&run, argv);
    allow_descriptors();
    open_all(&run);
    run.start_ns = clock_ns();
    run.end_ns =
        run.start_ns + WARM_UP_NS + strtoul(argv[5], NULL, 10) * SECOND;
    while (clock_ns() < run.end_ns)
        turn(&run);
    count_missing(&run);
    print_report(&run);
    if (argc > 6)
        sleep((unsigned)strtoul(argv[6], NULL, 10));
    return EXIT_SUCCESS;
}
