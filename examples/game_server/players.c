/*
 * players.c - thousands of players, simulated: they log in, move, and trade.
 *
 *   game_players --port N [--players 1000] [--moves 4] [--trades 100]
 *                [--count N] [--seed 1] [--again 4000] [--answers FILE]
 *
 * When all are online, each makes so many moves a second, and all together make
 * so many trades a second, count at most.  A trade is sent again, with the same
 * id, until it is answered: after 0.5 s, then twice as long, up to --again
 * milliseconds.  Ends after count trades, or at a SIGTERM, when all are
 * answered; FILE has "ID OUTCOME" for each.  The same seed makes the same
 * choices.
 */
#include "figures.h"
#include "protocol.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    STEP_MS = 10,
    LOGIN_MS = 1000,     /* without an answer a login is sent again */
    AGAIN_MS = 500,      /* and a trade; then after twice as long, and so on */
    AGAIN_MAX_MS = 4000, /* up to this, each time up to a half less */
    LOGINS = 20,         /* in a step, at most */
    LAST_MS = 60000      /* for what has no answer at the end */
};

struct player {
    bool is_online;
    char token[TOKEN_LEN];
    uint64_t login_at_ms; /* when it asks next */
    struct message trade; /* number 0: none */
    uint64_t began_ns, trade_at_ms, trade_wait_ms;
};

struct crowd {
    int socket;
    struct player *players; /* by number */
    uint32_t len;
    uint32_t next; /* who moves */
    double moves_due, trades_due;
    uint64_t random, seed, last_id, again_max_ms;
    uint64_t left;  /* trades to begin */
    bool has_begun; /* all were online */
    FILE *answers;
    unsigned online, pending, logins, moves, done, refused, again, resent, tops;
    struct figures waits;
};

static volatile sig_atomic_t is_ending;

static void on_term(int signal)
{
    (void)signal;
    is_ending = 1;
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* xorshift64*: below limit. */
static uint32_t pick(struct crowd *crowd, uint32_t limit)
{
    crowd->random ^= crowd->random >> 12;
    crowd->random ^= crowd->random << 25;
    crowd->random ^= crowd->random >> 27;
    return (uint32_t)((crowd->random * 0x2545F4914F6CDD1DULL >> 32) % limit);
}

/* What is lost, or meets no server, is sent again later. */
static void put(struct crowd *crowd, uint32_t number, struct message *message)
{
    message->player = number;
    memcpy(message->token, crowd->players[number].token, TOKEN_LEN);
    (void)send(crowd->socket, message, sizeof(*message), MSG_DONTWAIT);
}

/* ---- what they do */

static void log_in(struct crowd *crowd, uint64_t now_ms)
{
    int count = 0;

    for (uint32_t i = 1; i <= crowd->len && count < LOGINS; i++) {
        struct player *player = &crowd->players[i];
        struct message message = { .kind = MESSAGE_LOGIN };

        if (player->is_online || now_ms < player->login_at_ms)
            continue;
        put(crowd, i, &message);
        player->login_at_ms = now_ms + LOGIN_MS;
        count++;
    }
}

static void move(struct crowd *crowd)
{
    for (; crowd->moves_due >= 1; crowd->moves_due--) {
        struct message message = { .kind = MESSAGE_MOVE,
                                   .x = (int32_t)pick(crowd, 21) - 10,
                                   .y = (int32_t)pick(crowd, 21) - 10 };

        crowd->next = crowd->next % crowd->len + 1;
        if (!crowd->players[crowd->next].is_online)
            continue;
        put(crowd, crowd->next, &message);
        crowd->moves++;
    }
}

static void begin_trade(struct crowd *crowd, uint64_t now_ms)
{
    uint32_t number = pick(crowd, crowd->len) + 1;
    uint32_t other = pick(crowd, crowd->len) + 1;
    uint32_t give = pick(crowd, ITEMS);
    struct player *player = &crowd->players[number];

    if (number == other || player->trade.number != 0 || !player->is_online ||
        !crowd->players[other].is_online)
        return;
    player->trade =
        (struct message){ .kind = MESSAGE_TRADE,
                          .number = crowd->seed << 32 | ++crowd->last_id,
                          .other = other,
                          .give = give,
                          .take = (give + 1 + pick(crowd, ITEMS - 1)) % ITEMS,
                          .count = 1 + pick(crowd, 4) };
    player->began_ns = now_ns();
    player->trade_wait_ms = AGAIN_MS;
    player->trade_at_ms = now_ms + AGAIN_MS;
    put(crowd, number, &player->trade);
    crowd->pending++;
    crowd->left--;
}

/* Longer each time, and not all at once. */
static void wait_again(struct crowd *crowd, struct player *player,
                       uint64_t now_ms)
{
    uint64_t wait_ms = 2 * player->trade_wait_ms;

    player->trade_wait_ms =
        wait_ms < crowd->again_max_ms ? wait_ms : crowd->again_max_ms;
    player->trade_at_ms = now_ms + player->trade_wait_ms -
                          pick(crowd, (uint32_t)player->trade_wait_ms / 2);
}

static void trade_again(struct crowd *crowd, uint64_t now_ms)
{
    for (uint32_t i = 1; i <= crowd->len && crowd->pending > 0; i++) {
        struct player *player = &crowd->players[i];

        if (player->trade.number == 0 || now_ms < player->trade_at_ms)
            continue;
        put(crowd, i, &player->trade);
        wait_again(crowd, player, now_ms);
        crowd->resent++;
    }
}

/* ---- what they hear */

static void end_trade(struct crowd *crowd, struct player *player,
                      const struct message *message)
{
    bool is_done = message->outcome == OUTCOME_DONE;

    if (player->trade.number != message->number)
        return; /* of one that was asked for twice */
    player->trade.number = 0;
    crowd->pending--;
    figures_add(&crowd->waits, now_ns() - player->began_ns);
    if (is_done)
        crowd->done++;
    else
        crowd->refused++;
    if (crowd->answers != NULL)
        fprintf(crowd->answers, "%llu %s\n",
                (unsigned long long)message->number,
                is_done ? "done" : "refused");
}

static void hear(struct crowd *crowd, const struct message *message)
{
    struct player *player;

    if (message->player == 0 || message->player > crowd->len)
        return;
    player = &crowd->players[message->player];
    if (message->kind == ANSWER_LOGIN) {
        crowd->online += !player->is_online;
        crowd->logins += !player->is_online;
        player->is_online = true;
        memcpy(player->token, message->token, TOKEN_LEN);
    } else if (message->kind == ANSWER_WHO) {
        crowd->online -= player->is_online;
        player->is_online = false;
        player->login_at_ms = 0;
    } else if (message->kind == ANSWER_TRADE) {
        end_trade(crowd, player, message);
    } else if (message->kind == ANSWER_AGAIN) {
        crowd->again++;
    } else if (message->kind == ANSWER_TOP) {
        crowd->tops++;
    }
}

static void hear_all(struct crowd *crowd)
{
    struct message message;

    while (recv(crowd->socket, &message, sizeof(message), MSG_DONTWAIT) ==
           sizeof(message))
        hear(crowd, &message);
}

/* ---- the whole */

struct rates {
    double moves, trades; /* a second, in all */
};

static void step(struct crowd *crowd, const struct rates *rates,
                 uint64_t now_ms, double seconds)
{
    static const double MOST = 1000; /* to catch up with */

    hear_all(crowd);
    log_in(crowd, now_ms);
    trade_again(crowd, now_ms);
    crowd->moves_due += rates->moves * seconds;
    if (crowd->moves_due > MOST)
        crowd->moves_due = MOST;
    if (crowd->has_begun)
        move(crowd);
    crowd->trades_due += rates->trades * seconds;
    if (crowd->trades_due > MOST)
        crowd->trades_due = MOST;
    for (; crowd->trades_due >= 1; crowd->trades_due--)
        if (!is_ending && crowd->left > 0 && crowd->has_begun)
            begin_trade(crowd, now_ms);
}

static void run(struct crowd *crowd, const struct rates *rates)
{
    uint64_t before_ns = now_ns(), end_ns = 0, top_ns = 0;

    for (;;) {
        struct pollfd item = { .fd = crowd->socket, .events = POLLIN };
        uint64_t now = now_ns();

        step(crowd, rates, now / 1000000, (double)(now - before_ns) / 1e9);
        before_ns = now;
        if (!crowd->has_begun && crowd->online == crowd->len) {
            printf("all are online\n");
            crowd->has_begun = true;
        }
        if (now > top_ns + 1000000000) {
            struct message top = { .kind = MESSAGE_TOP };

            put(crowd, 1, &top);
            top_ns = now;
        }
        if (is_ending || crowd->left == 0)
            end_ns = end_ns > 0 ? end_ns : now + LAST_MS * 1000000ULL;
        if (end_ns > 0 && (crowd->pending == 0 || now > end_ns))
            return;
        poll(&item, 0, STEP_MS);
    }
}

static int connect_to(uint16_t port)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons(port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int size = 8 << 20, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0 ||
        connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    return fd;
}

static int report(struct crowd *crowd)
{
    printf("players %u logins %u moves %u done %u refused %u again %u"
           " resent %u tops %u unanswered %u",
           crowd->len, crowd->logins, crowd->moves, crowd->done, crowd->refused,
           crowd->again, crowd->resent, crowd->tops, crowd->pending);
    figures_print(&crowd->waits, "wait_us");
    printf("\n");
    return crowd->pending == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "port", required_argument, NULL, 'p' },
        { "players", required_argument, NULL, 'n' },
        { "moves", required_argument, NULL, 'm' },
        { "trades", required_argument, NULL, 't' },
        { "count", required_argument, NULL, 'c' },
        { "seed", required_argument, NULL, 's' },
        { "again", required_argument, NULL, 'w' },
        { "answers", required_argument, NULL, 'a' },
        { NULL, 0, NULL, 0 }
    };
    struct crowd crowd = {
        .len = 1000, .seed = 1, .again_max_ms = AGAIN_MAX_MS, .left = UINT64_MAX
    };
    struct rates rates = { .moves = 4, .trades = 100 };
    uint16_t port = 0;
    int option;

    setvbuf(stdout, NULL, _IOLBF, 0);
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'p': port = (uint16_t)atoi(optarg); break;
        case 'n': crowd.len = (uint32_t)atoi(optarg); break;
        case 'm': rates.moves = atof(optarg); break;
        case 't': rates.trades = atof(optarg); break;
        case 'c': crowd.left = strtoull(optarg, NULL, 10); break;
        case 's': crowd.seed = strtoull(optarg, NULL, 10) & 0x7fffffff; break;
        case 'w': crowd.again_max_ms = strtoull(optarg, NULL, 10); break;
        case 'a': crowd.answers = fopen(optarg, "w"); break;
        default: return 2;
        }
    }
    if (crowd.answers != NULL)
        setvbuf(crowd.answers, NULL, _IOLBF, 0);
    if (crowd.len < 2 || crowd.len > PLAYERS_MAX)
        return 2;
    signal(SIGTERM, on_term);
    rates.moves *= crowd.len;
    crowd.random = crowd.seed * 2 + 1;
    crowd.socket = connect_to(port);
    crowd.players = calloc(crowd.len + 1, sizeof(*crowd.players));
    if (crowd.socket < 0 || crowd.players == NULL)
        return 1;
    run(&crowd, &rates);
    return report(&crowd);
}
