/*
 * proxy.h - what the proxy's commands (proxy.c) and its bytes (proxy_flow.c)
 * share.  One struct proxy owns all sockets and pieces; times in milliseconds.
 */
#ifndef TIDEPOOL_TESTS_FAULTS_PROXY_H
#define TIDEPOOL_TESTS_FAULTS_PROXY_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CONNS_MAX = 256, PIECES_MAX = 64, PIECE_LEN = 16384 };

enum direction { UP, DOWN, DIRECTIONS };

enum action { NONE, CUT, RESET, STALL, CORRUPT, DUPLICATE };

struct rule {
    enum action action;
    uint64_t at;    /* which byte */
    bool only_new;  /* for connections that come later */
    bool only_old;  /* for those that are open */
    uint32_t times; /* how many connections it may still hit */
};

/* What all bytes of a direction meet. */
struct way {
    uint64_t latency_ms;
    uint64_t jitter_ms;
    uint64_t rate; /* bytes a second, 0: no limit */
    struct rule rule;
};

/* Bytes that were read at once, after a place for one that is doubled. */
struct piece {
    struct piece *next;
    uint64_t due_ms;
    size_t len;  /* with that place */
    size_t sent; /* at least that place */
    char bytes[];
};

/* One direction of a connection. */
struct flow {
    struct piece *first;
    struct piece *last;
    unsigned pieces;
    uint64_t seen;    /* bytes since the rule */
    uint64_t free_ms; /* when the rate lets the next ones through */
    bool is_armed;    /* the rule is for it, and has not hit it */
    bool is_stalled;
    bool is_ended; /* its reading end has come to its end */
    bool is_shut;  /* and its writing end was told */
};

struct conn {
    bool is_open;
    bool is_connected;   /* to the server */
    int fds[DIRECTIONS]; /* where the bytes of a direction come from */
    struct flow flows[DIRECTIONS];
};

struct proxy {
    int listener; /* -1 while it refuses */
    int port;
    int target;
    uint64_t seed;
    unsigned done; /* commands */
    unsigned accepted;
    unsigned hits; /* how often a rule struck */
    uint64_t bytes[DIRECTIONS];
    const char *error; /* of the last command */
    struct way ways[DIRECTIONS];
    struct conn conns[CONNS_MAX];
};

void flow_accept(struct proxy *proxy);

/* Gives what to poll for on both sockets of conn, and lowers *next_ms to the
 * time when it is to be looked at without an event. */
void flow_wants(const struct proxy *proxy, const struct conn *conn,
                uint64_t now_ms, struct pollfd fds[DIRECTIONS],
                uint64_t *next_ms);

/* Reads and writes what can be, after the poll. */
void flow_turn(struct proxy *proxy, struct conn *conn,
               const struct pollfd fds[DIRECTIONS], uint64_t now_ms);

/* The rule of a direction from now on; what was stalled goes on. */
void flow_set_rule(struct proxy *proxy, int direction, const struct rule *rule);

/* Closes all, by CUT or RESET; false for another action. */
bool flow_drop(struct proxy *proxy, enum action action);

#endif
