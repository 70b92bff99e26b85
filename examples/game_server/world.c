/* world.c - see world.h. */
#include "world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    SIZE = 10000, /* of the world: x and y are below */
    BATCH = 64,
    LINE_MAX_LEN = 100,
    REQUESTS_MAX = 512, /* of players, until they are answered */
    POST_TIMEOUT_MS = 10000,
    FINISH_TIMEOUT_MS = 25000,
    RECEIVE_BUFFER = 8 << 20
};

/* Keys of posts: players have their numbers, pairs have both, others these;
 * scores one for each slice of players, for they wait until a batch is sent. */
enum { KEY_SAVES = 0, KEY_TOP = PLAYERS_MAX + 1, KEY_STATS, KEY_SCORES };

enum post_kind {
    POST_LOGIN,
    POST_TRADE,
    POST_SAVE,
    POST_FINISH,
    POST_TOP,
    POST_STATS
};

/* What a result is for; owned by its post. */
struct errand {
    enum post_kind kind;
    uint32_t player;
    uint64_t number;
};

/* ---- answers */

static void answer(struct world *world, const struct sockaddr_in *to,
                   const struct message *message)
{
    /* One that does not go out is asked for again. */
    (void)sendto(world->socket, message, sizeof(*message), MSG_DONTWAIT,
                 (const struct sockaddr *)to, sizeof(*to));
}

static void answer_kind(struct world *world, uint32_t number,
                        enum message_kind kind, uint64_t about)
{
    struct message message = { .kind = kind,
                               .player = number,
                               .number = about };

    answer(world, &world->players[number].address, &message);
}

static void answer_login(struct world *world, uint32_t number)
{
    const struct player *player = &world->players[number];
    struct message message = { .kind = ANSWER_LOGIN,
                               .player = number,
                               .number = player->score,
                               .x = player->x,
                               .y = player->y };

    memcpy(message.token, player->token, TOKEN_LEN);
    answer(world, &player->address, &message);
}

static void answer_trade(struct world *world, const struct errand *errand,
                         enum outcome outcome)
{
    struct message message = { .kind = ANSWER_TRADE,
                               .player = errand->player,
                               .number = errand->number,
                               .outcome = outcome };

    if (outcome == OUTCOME_DONE)
        world->counts.done++;
    else
        world->counts.refused++;
    answer(world, &world->players[errand->player].address, &message);
}

/* ---- posts */

static bool post(struct world *world, uint64_t key, const char *name,
                 const char *payload, struct errand errand)
{
    struct errand *own = malloc(sizeof(*own));
    tide_request request;

    if (own == NULL)
        return false;
    *own = errand;
    tide_request_init(&request);
    request.name = name;
    request.payload = payload;
    request.len = strlen(payload);
    request.timeout_ms =
        errand.kind == POST_FINISH ? FINISH_TIMEOUT_MS : POST_TIMEOUT_MS;
    request.ud = own;
    request.free_ud = free;
    if (tide_post(world->runtime, key, &request) == TIDE_OK)
        return true;
    world->counts.busy++;
    free(own);
    return false;
}

/* Players are refused before the posts are full: saves must not be. */
static bool post_for(struct world *world, uint64_t key, const char *name,
                     const char *payload, struct errand errand)
{
    if (world->n_requests >= REQUESTS_MAX) {
        world->counts.busy++;
        return false;
    }
    if (!post(world, key, name, payload, errand))
        return false;
    world->n_requests++;
    return true;
}

static void login(struct world *world, const struct letter *letter)
{
    const struct message *message = &letter->message;
    struct player *player = &world->players[message->player];
    char payload[LINE_MAX_LEN];

    player->address = letter->from;
    if (world->top < message->player)
        world->top = message->player;
    if (world->runtime == NULL) {
        player->is_online = true;
        memset(player->token, '0', TOKEN_LEN);
        answer_login(world, message->player);
    } else if (!player->is_logging_in) {
        snprintf(payload, sizeof(payload), "%u %.*s", message->player,
                 TOKEN_LEN, message->token);
        player->is_logging_in = post_for(
            world, message->player, "login", payload,
            (struct errand){ .kind = POST_LOGIN, .player = message->player });
    }
}

/* Of two players, in either order: their trades are posted one by one. */
static uint64_t pair(uint32_t a, uint32_t b)
{
    return a < b ? (uint64_t)a << 32 | b : (uint64_t)b << 32 | a;
}

/* One that is on its way already is answered when that ends. */
static void trade(struct world *world, const struct message *message)
{
    struct player *player = &world->players[message->player];
    struct errand errand = { .kind = POST_TRADE,
                             .player = message->player,
                             .number = message->number };
    char payload[LINE_MAX_LEN];

    if (player->is_trading)
        return;
    snprintf(payload, sizeof(payload), "%llu %u %u %u %u %u",
             (unsigned long long)message->number, message->player,
             message->other, message->give, message->take, message->count);
    if (message->other <= PLAYERS_MAX && world->runtime != NULL &&
        world->players[message->other].is_online)
        player->is_trading =
            post_for(world, pair(message->player, message->other), "trade",
                     payload, errand);
    if (!player->is_trading)
        answer_kind(world, message->player, ANSWER_AGAIN, message->number);
}

/* ---- a tick */

static void obey(struct world *world, const struct letter *letter)
{
    const struct message *message = &letter->message;
    struct player *player;

    if (message->player == 0 || message->player > PLAYERS_MAX)
        return;
    player = &world->players[message->player];
    if (message->kind == MESSAGE_LOGIN) {
        login(world, letter);
    } else if (!player->is_online ||
               memcmp(player->token, message->token, TOKEN_LEN) != 0) {
        struct message who = { .kind = ANSWER_WHO, .player = message->player };

        answer(world, &letter->from, &who);
    } else if (message->kind == MESSAGE_MOVE) {
        world->counts.moves++;
        player->dx = message->x;
        player->dy = message->y;
        player->score++;
    } else if (message->kind == MESSAGE_TRADE) {
        trade(world, message);
    } else if (message->kind == MESSAGE_TOP && world->runtime != NULL) {
        (void)post_for(
            world, KEY_TOP, "top", "",
            (struct errand){ .kind = POST_TOP, .player = message->player });
    }
}

/* Round the world. */
static int32_t moved(int32_t from, int32_t by)
{
    return ((from + by) % SIZE + SIZE) % SIZE;
}

void world_tick(struct world *world)
{
    for (size_t i = 0; i < world->n_letters; i++)
        obey(world, &world->inbox[i]);
    world->n_letters = 0;
    for (uint32_t i = 1; i <= world->top; i++) {
        struct player *player = &world->players[i];

        if (!player->is_online)
            continue;
        player->n++;
        player->x = moved(player->x, player->dx);
        player->y = moved(player->y, player->dy);
    }
}

/* ---- results */

/* What the world has of a player who is in it is newer. */
static void end_login(struct world *world, uint32_t number, const char *text)
{
    struct player *player = &world->players[number];
    unsigned long long n, score;
    char token[TOKEN_LEN + 1];
    int x, y;

    if (sscanf(text, "%64s %llu %d %d %llu", token, &n, &x, &y, &score) != 5)
        return;
    memcpy(player->token, token, TOKEN_LEN);
    if (!player->is_online) {
        player->n = n;
        player->x = x;
        player->y = y;
        player->score = score;
    }
    player->is_online = true;
    answer_login(world, number);
}

static void end_top(struct world *world, uint32_t number, const char *text)
{
    struct message message = { .kind = ANSWER_TOP, .player = number };
    unsigned long long score;

    if (sscanf(text, "%u %llu", &message.count, &score) != 2)
        return;
    message.number = score;
    answer(world, &world->players[number].address, &message);
}

static void note_stats(struct counts *counts, const char *text)
{
    unsigned dirty, loss_ms;

    if (sscanf(text, "%u %u", &dirty, &loss_ms) != 2)
        return;
    if (counts->dirty_max < dirty)
        counts->dirty_max = dirty;
    if (counts->loss_max_ms < loss_ms)
        counts->loss_max_ms = loss_ms;
}

static void end_trade(struct world *world, const struct errand *errand,
                      const char *outcome)
{
    world->players[errand->player].is_trading = false;
    if (outcome == NULL) {
        world->counts.failed++;
        answer_kind(world, errand->player, ANSWER_AGAIN, errand->number);
    } else {
        answer_trade(world, errand,
                     strcmp(outcome, "done") == 0 ? OUTCOME_DONE
                                                  : OUTCOME_REFUSED);
    }
}

static void settle(struct world *world, const tide_result *result)
{
    const struct errand *errand = result->ud;
    bool is_ok = result->code == TIDE_OK;
    char text[LINE_MAX_LEN + TOKEN_LEN] = ""; /* ended by a zero byte */

    if (is_ok)
        snprintf(text, sizeof(text), "%.*s", (int)result->len,
                 (const char *)result->payload);
    switch (errand->kind) {
    case POST_LOGIN:
        world->n_requests--;
        world->players[errand->player].is_logging_in = false;
        if (is_ok)
            end_login(world, errand->player, text);
        break;
    case POST_TRADE:
        world->n_requests--;
        end_trade(world, errand, is_ok ? text : NULL);
        break;
    case POST_TOP:
        world->n_requests--;
        end_top(world, errand->player, text);
        break;
    case POST_SAVE: /* the next one has all that this one had */
    case POST_FINISH:
        world->counts.saves_failed += !is_ok;
        if (!is_ok)
            fprintf(stderr, "a save failed: %s\n", result->error);
        break;
    case POST_STATS: note_stats(&world->counts, text); break;
    }
}

void world_collect(struct world *world)
{
    tide_result results[BATCH];
    size_t count = BATCH;

    while (count == BATCH) {
        if (tide_collect(world->runtime, results, BATCH, &count) != TIDE_OK)
            return;
        for (size_t i = 0; i < count; i++)
            settle(world, &results[i]);
    }
}

/* ---- saves */

static void post_save(struct world *world, uint64_t key, const char *name,
                      const char *payload, enum post_kind kind)
{
    if (!post(world, key, name, payload, (struct errand){ .kind = kind }))
        world->counts.saves_failed++;
}

/* Those whose number has this rest: a post for the write-behind, and one for
 * the leaderboard, which may have to wait for Redis. */
static void save(struct world *world, uint32_t rest)
{
    size_t size = ((size_t)world->top / SAVE_TICKS + 1) * LINE_MAX_LEN;
    size_t len = 0;
    char *text = malloc(size);

    if (text == NULL)
        return;
    for (uint32_t i = rest; i <= world->top; i += SAVE_TICKS) {
        const struct player *player = &world->players[i];

        if (player->is_online)
            len +=
                (size_t)snprintf(text + len, size - len, "%u %llu %d %d %llu\n",
                                 i, (unsigned long long)player->n, player->x,
                                 player->y, (unsigned long long)player->score);
    }
    if (len > 0) {
        post_save(world, KEY_SAVES, "save", text, POST_SAVE);
        post_save(world, KEY_SCORES + rest, "scores", text, POST_SAVE);
    }
    free(text);
}

void world_save(struct world *world, uint64_t tick)
{
    if (world->runtime != NULL)
        save(world, (uint32_t)(tick % SAVE_TICKS));
}

void world_finish(struct world *world)
{
    for (uint32_t rest = 0; rest < SAVE_TICKS; rest++)
        save(world, rest);
    post_save(world, KEY_SAVES, "finish", "", POST_FINISH);
}

void world_ask_stats(struct world *world)
{
    if (world->runtime != NULL)
        (void)post(world, KEY_STATS, "stats", "",
                   (struct errand){ .kind = POST_STATS });
}

bool world_write(const struct world *world, const char *path)
{
    FILE *file = fopen(path, "w");

    if (file == NULL)
        return false;
    for (uint32_t i = 1; i <= world->top; i++)
        if (world->players[i].is_online)
            fprintf(file, "%u %llu\n", i,
                    (unsigned long long)world->players[i].n);
    return fclose(file) == 0;
}

/* ---- the socket */

void world_receive(struct world *world)
{
    struct letter *letters = world->inbox;

    while (world->n_letters < INBOX_MAX) {
        struct letter *letter = &letters[world->n_letters];
        socklen_t from_len = sizeof(letter->from);
        ssize_t len =
            recvfrom(world->socket, &letter->message, sizeof(letter->message),
                     MSG_DONTWAIT | MSG_TRUNC, (struct sockaddr *)&letter->from,
                     &from_len);

        if (len < 0)
            return;
        if (len == sizeof(letter->message))
            world->n_letters++;
    }
}

bool world_open(struct world *world, tide_runtime *runtime, uint16_t port)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons(port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(address);
    int size = RECEIVE_BUFFER;

    world->runtime = runtime;
    world->players = calloc(PLAYERS_MAX + 1, sizeof(*world->players));
    world->inbox = calloc(INBOX_MAX, sizeof(*world->inbox));
    world->socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (world->players == NULL || world->inbox == NULL || world->socket < 0)
        return false;
    if (setsockopt(world->socket, SOL_SOCKET, SO_RCVBUFFORCE, &size,
                   sizeof(size)) != 0) /* needs a privilege */
        (void)setsockopt(world->socket, SOL_SOCKET, SO_RCVBUF, &size,
                         sizeof(size));
    if (bind(world->socket, (struct sockaddr *)&address, len) != 0 ||
        getsockname(world->socket, (struct sockaddr *)&address, &len) != 0)
        return false;
    printf("listening on %u\n", ntohs(address.sin_port));
    return true;
}

void world_close(struct world *world)
{
    if (world->socket >= 0)
        close(world->socket);
    free(world->players);
    free(world->inbox);
}
