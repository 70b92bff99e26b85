/* protocol.h - the datagrams between players and server: each is one struct
 * message, in the byte order of the machine, for both run on one. */
#ifndef GAME_PROTOCOL_H
#define GAME_PROTOCOL_H

#include <stdint.h>

enum { TOKEN_LEN = 64, ITEMS = 3, PLAYERS_MAX = 20000 };

enum message_kind {
    MESSAGE_LOGIN = 1, /* token: of the session before, or zeros */
    MESSAGE_MOVE,      /* x, y: the speed from now on */
    MESSAGE_TRADE,     /* number: its id; the same again until an answer */
    MESSAGE_TOP,
    ANSWER_LOGIN, /* token, x, y; number: the score */
    ANSWER_TRADE, /* number, outcome */
    ANSWER_TOP,   /* number: the score of the first; count: how many */
    ANSWER_AGAIN, /* number: a trade whose outcome is not known: ask again */
    ANSWER_WHO    /* this session is not known: log in again */
};

enum outcome { OUTCOME_REFUSED, OUTCOME_DONE };

struct message {
    uint32_t kind;
    uint32_t player; /* from 1 on */
    char token[TOKEN_LEN];
    uint64_t number;
    uint32_t other; /* a trade: who gives take for give, count of each */
    uint32_t give, take, count;
    int32_t x, y;
    uint32_t outcome;
};

#endif
