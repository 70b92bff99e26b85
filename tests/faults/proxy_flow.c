/* proxy_flow.c - see proxy.h: the bytes of the proxy's connections. */
#include "proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CORRUPT_MASK = 0x80, RATE_SLICE_MS = 10 };

/* xorshift64 */
static uint64_t random_below(struct proxy *proxy, uint64_t limit)
{
    proxy->seed ^= proxy->seed << 13;
    proxy->seed ^= proxy->seed >> 7;
    proxy->seed ^= proxy->seed << 17;
    return limit > 0 ? proxy->seed % limit : 0;
}

/* ---- a connection's life */

static void drop_piece(struct flow *flow)
{
    struct piece *piece = flow->first;

    flow->first = piece->next;
    if (flow->first == NULL)
        flow->last = NULL;
    flow->pieces--;
    free(piece);
}

static void close_fd(int fd, bool with_reset)
{
    struct linger linger = { .l_onoff = 1, .l_linger = 0 };

    if (with_reset)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(fd);
}

static void close_conn(struct conn *conn, bool with_reset)
{
    for (int i = 0; i < DIRECTIONS; i++) {
        while (conn->flows[i].first != NULL)
            drop_piece(&conn->flows[i]);
        close_fd(conn->fds[i], with_reset);
    }
    conn->is_open = false;
}

static int dial(int port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int failed;

    if (fd < 0)
        return -1;
    failed = connect(fd, (struct sockaddr *)&address, sizeof(address));
    if (failed == 0 || errno == EINPROGRESS)
        return fd;
    close(fd);
    return -1;
}

static struct conn *free_conn(struct proxy *proxy)
{
    for (int i = 0; i < CONNS_MAX; i++)
        if (!proxy->conns[i].is_open)
            return &proxy->conns[i];
    return NULL;
}

static void begin(struct proxy *proxy, int client)
{
    struct conn *conn = free_conn(proxy);
    int server = conn != NULL ? dial(proxy->target) : -1;
    int one = 1;

    if (server < 0) {
        close_fd(client, true);
        return;
    }
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    memset(conn, 0, sizeof(*conn));
    conn->is_open = true;
    conn->fds[UP] = client;
    conn->fds[DOWN] = server;
    for (int i = 0; i < DIRECTIONS; i++)
        conn->flows[i].is_armed =
            proxy->ways[i].rule.action != NONE && !proxy->ways[i].rule.only_old;
}

void flow_accept(struct proxy *proxy)
{
    int client;

    while ((client = accept4(proxy->listener, NULL, NULL, SOCK_NONBLOCK)) >=
           0) {
        proxy->accepted++;
        begin(proxy, client);
    }
}

void flow_set_rule(struct proxy *proxy, int direction, const struct rule *rule)
{
    proxy->ways[direction].rule = *rule;
    for (int i = 0; i < CONNS_MAX; i++) {
        struct flow *flow = &proxy->conns[i].flows[direction];
        flow->seen = 0;
        flow->is_stalled = false;
        flow->is_armed = rule->action != NONE && !rule->only_new;
    }
}

bool flow_drop(struct proxy *proxy, enum action action)
{
    if (action != CUT && action != RESET)
        return false;
    for (int i = 0; i < CONNS_MAX; i++)
        if (proxy->conns[i].is_open) {
            close_conn(&proxy->conns[i], action == RESET);
            proxy->hits++;
        }
    return true;
}

/* ---- reading */

/* False when the connection is broken. */
static bool take(struct proxy *proxy, struct conn *conn, int direction,
                 uint64_t now)
{
    const struct way *way = &proxy->ways[direction];
    struct flow *flow = &conn->flows[direction];
    char bytes[PIECE_LEN];
    ssize_t len = read(conn->fds[direction], bytes, sizeof(bytes));
    struct piece *piece;

    if (len < 0)
        return errno == EAGAIN || errno == EINTR;
    if (len == 0) {
        flow->is_ended = true;
        return true;
    }
    piece = malloc(sizeof(*piece) + 1 + (size_t)len);
    if (piece == NULL)
        return false;
    *piece = (struct piece){
        .len = 1 + (size_t)len,
        .sent = 1,
        .due_ms =
            now + way->latency_ms + random_below(proxy, way->jitter_ms + 1),
    };
    memcpy(piece->bytes + 1, bytes, (size_t)len);
    if (flow->last != NULL && piece->due_ms < flow->last->due_ms)
        piece->due_ms = flow->last->due_ms; /* TCP keeps the order */
    *(flow->last != NULL ? &flow->last->next : &flow->first) = piece;
    flow->last = piece;
    flow->pieces++;
    return true;
}

/* ---- writing */

/* How many bytes of the first piece may go before the rule strikes, or the
 * rate is used up. */
static size_t allowed(const struct way *way, const struct flow *flow)
{
    size_t len = flow->first->len - flow->first->sent;
    size_t slice = way->rate * RATE_SLICE_MS / 1000 + 1;

    if (flow->is_armed && way->rule.at > flow->seen &&
        way->rule.at - flow->seen < len)
        len = (size_t)(way->rule.at - flow->seen);
    return way->rate > 0 && slice < len ? slice : len;
}

/* Strikes at the byte that is next.  False when the connection is gone. */
static bool strike(struct proxy *proxy, struct conn *conn, struct flow *flow,
                   struct rule *rule)
{
    struct piece *piece = flow->first;

    flow->is_armed = false;
    if (rule->times == 0)
        return true;
    rule->times--;
    proxy->hits++;
    if (rule->action == STALL)
        flow->is_stalled = true;
    else if (rule->action == CORRUPT)
        piece->bytes[piece->sent] ^= (char)CORRUPT_MASK;
    else if (rule->action == DUPLICATE) {
        piece->sent--;
        piece->bytes[piece->sent] = piece->bytes[piece->sent + 1];
    }
    if (rule->action != CUT && rule->action != RESET)
        return true;
    close_conn(conn, rule->action == RESET);
    return false;
}

/* Writes what is due.  False when the connection is gone. */
static bool put(struct proxy *proxy, struct conn *conn, int direction,
                uint64_t now)
{
    struct way *way = &proxy->ways[direction];
    struct flow *flow = &conn->flows[direction];
    int fd = conn->fds[direction == UP ? DOWN : UP];

    while (flow->first != NULL && !flow->is_stalled &&
           flow->first->due_ms <= now && flow->free_ms <= now) {
        struct piece *piece = flow->first;
        ssize_t len;

        if (flow->is_armed && flow->seen >= way->rule.at) {
            if (!strike(proxy, conn, flow, &way->rule))
                return false;
            continue;
        }
        len = send(fd, piece->bytes + piece->sent, allowed(way, flow),
                   MSG_NOSIGNAL);
        if (len < 0 && (errno == EAGAIN || errno == EINTR))
            return true;
        if (len < 0) {
            close_conn(conn, true);
            return false;
        }
        flow->seen += (uint64_t)len;
        proxy->bytes[direction] += (uint64_t)len;
        piece->sent += (size_t)len;
        if (way->rate > 0)
            flow->free_ms = now + (uint64_t)len * 1000 / way->rate;
        if (piece->sent == piece->len)
            drop_piece(flow);
    }
    if (flow->is_ended && flow->first == NULL && !flow->is_shut) {
        flow->is_shut = true;
        shutdown(fd, SHUT_WR);
    }
    return true;
}

/* ---- a turn */

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

void flow_wants(const struct proxy *proxy, const struct conn *conn,
                uint64_t now_ms, struct pollfd fds[DIRECTIONS],
                uint64_t *next_ms)
{
    (void)proxy;
    for (int i = 0; i < DIRECTIONS; i++)
        fds[i] = (struct pollfd){ .fd = conn->fds[i] };
    for (int i = 0; i < DIRECTIONS; i++) {
        const struct flow *flow = &conn->flows[i];
        struct pollfd *other = &fds[i == UP ? DOWN : UP];
        uint64_t due_ms;

        if (!flow->is_ended && flow->pieces < PIECES_MAX)
            fds[i].events |= POLLIN;
        if (flow->first == NULL || flow->is_stalled)
            continue;
        due_ms = later(flow->first->due_ms, flow->free_ms);
        if (due_ms <= now_ms)
            other->events |= POLLOUT;
        else if (due_ms < *next_ms)
            *next_ms = due_ms;
    }
    if (!conn->is_connected)
        fds[DOWN].events = POLLOUT;
    for (int i = 0; i < DIRECTIONS; i++)
        if (fds[i].events == 0)
            fds[i].fd = -1; /* or an end that is known would wake for ever */
}

/* False when the server refused. */
static bool see_connected(struct conn *conn, short revents)
{
    int error = 0;
    socklen_t len = sizeof(error);

    if (conn->is_connected || revents == 0)
        return true;
    getsockopt(conn->fds[DOWN], SOL_SOCKET, SO_ERROR, &error, &len);
    conn->is_connected = error == 0;
    return conn->is_connected;
}

void flow_turn(struct proxy *proxy, struct conn *conn,
               const struct pollfd fds[DIRECTIONS], uint64_t now_ms)
{
    if (!see_connected(conn, fds[DOWN].revents)) {
        close_conn(conn, true);
        return;
    }
    for (int i = 0; i < DIRECTIONS; i++)
        if ((fds[i].revents & (POLLIN | POLLERR | POLLHUP)) != 0 &&
            (i == UP || conn->is_connected) && !take(proxy, conn, i, now_ms)) {
            close_conn(conn, true);
            return;
        }
    if (!conn->is_connected)
        return;
    for (int i = 0; i < DIRECTIONS; i++)
        if (!put(proxy, conn, i, now_ms))
            return;
    if (conn->flows[UP].is_shut && conn->flows[DOWN].is_shut)
        close_conn(conn, false);
}
