/* redis_peer.h - a scripted Redis on a unix socket, a pool that dials it, and
 * calls through the pool that remember how they ended. */
#ifndef TIDEPOOL_UNIT_REDIS_PEER_H
#define TIDEPOOL_UNIT_REDIS_PEER_H

#include "net/stream.h"
#include "pool/status.h"
#include "redis/request.h"

enum { PEER_CONNS_MAX = 8, PEER_HEARD_MAX = 16 * 1024 };

struct peer_conn {
    struct peer *peer;
    struct stream *stream; /* NULL: closed */
    struct redisReader *reader;
    unsigned reads;             /* that brought commands */
    unsigned n_commands;        /* but AUTH, SELECT and PING */
    char heard[PEER_HEARD_MAX]; /* them: "GET a;SET b 1;" */
    char greeting[256];         /* AUTH, SELECT and PING */
};

/* Tells nothing by itself but these. */
struct peer {
    struct loop *loop;
    struct listener *listener;
    char dir[64];
    char url[128];
    const char *auth, *select, *ping; /* what they are answered; or NULL */
    const char *hello, *setname; /* the same; NULL: commands as all others */
    bool does_echo;              /* answers all others with their last word */
    unsigned n_conns;
    struct peer_conn conns[PEER_CONNS_MAX]; /* in order of accepting */
};

void peer_open(struct peer *peer, struct loop *loop);
void peer_close(struct peer *peer);
void peer_say(struct peer *peer, unsigned conn, const char *bytes);
/* Closes, without a word. */
void peer_cut(struct peer *peer, unsigned conn);

/* A loop with a peer and a pool on it; of the pool's settings, times are short
 * and stalls are long. */
struct world {
    struct loop *loop;
    struct peer peer;
    struct pool_settings settings;
    const char *client_name;
    struct redis_pool *redis;
    unsigned closes; /* on_closed calls */
};

/* Settings may be changed between the two. */
void world_init(struct world *world);
void world_open(struct world *world);
/* Closes the pool, if that was not done, and checks that nothing is left. */
void world_free(struct world *world);
void world_close_pool(struct world *world, uint64_t deadline_ms);
struct pool_counts world_counts(const struct world *world);

/* One request and how it ended. */
struct call {
    struct redis_request request;
    unsigned calls;
    unsigned order; /* 1 for the world's first to end, and so on */
    enum err err;
    bool was_sent;
    char text[ERR_TEXT_MAX];  /* of the failure */
    char reply[ERR_TEXT_MAX]; /* of the first command: "abc", "-ERR no" */
    void (*then)(struct call *call);
    void *ud;
};

void call_init(struct call *call);
void call_add(struct call *call, const char *line);
enum err call_send(struct world *world, struct call *call);
/* All three, for one command; the send must succeed. */
void call_start(struct world *world, struct call *call, const char *line);
/* Waits for the end; it must have come once. */
void call_wait(struct world *world, struct call *call);
/* Waits until the connection has heard so many commands. */
void wait_heard(struct world *world, unsigned conn, unsigned n_commands);

#endif
