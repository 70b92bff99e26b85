/* world.h - the players: what they send, what is posted for them to the script,
 * what they are answered.  In the thread of the ticks alone. */
#ifndef GAME_WORLD_H
#define GAME_WORLD_H

#include "protocol.h"

#include <tidepool.h>

#include <netinet/in.h>
#include <stdbool.h>

enum {
    SAVE_TICKS = 60, /* each player is saved once in so many */
    INBOX_MAX = 8192 /* datagrams of one tick; what is more is lost */
};

struct player {
    struct sockaddr_in address;
    char token[TOKEN_LEN];
    bool is_online; /* has a token; the rest is known */
    bool is_logging_in, is_trading;
    int32_t x, y, dx, dy;
    uint64_t n; /* ticks that it has lived: each save has more */
    uint64_t score;
};

struct counts {
    unsigned moves, done, refused, failed, busy, saves_failed;
    unsigned dirty_max, loss_max_ms; /* of the write-behind */
};

struct letter {
    struct sockaddr_in from;
    struct message message;
};

struct world {
    int socket;
    tide_runtime *runtime;  /* NULL: the world alone, for measurements */
    struct player *players; /* by number */
    uint32_t top;           /* the highest number there is */
    struct letter *inbox;
    size_t n_letters;
    unsigned n_requests; /* of players, posted */
    struct counts counts;
};

/* Binds 127.0.0.1:port, 0: any free one.  Says whether it could. */
bool world_open(struct world *world, tide_runtime *runtime, uint16_t port);
void world_close(struct world *world);

/* Takes what came into the inbox; at any time. */
void world_receive(struct world *world);

/* One tick: the inbox, the moves, results of posts. */
void world_tick(struct world *world);
void world_collect(struct world *world);

/* Posts the saves that are due at this tick. */
void world_save(struct world *world, uint64_t tick);

/* Posts those of all players, and behind them what stores them. */
void world_finish(struct world *world);

/* Asks for the figures of the write-behind. */
void world_ask_stats(struct world *world);

/* Writes "PLAYER N" of each who is online. */
bool world_write(const struct world *world, const char *path);

#endif
