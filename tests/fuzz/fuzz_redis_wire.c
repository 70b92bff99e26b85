/*
 * fuzz_redis_wire.c - a pool whose server says anything: every request ends
 * once, and nothing is left.
 *
 * Input: a byte: its first bit has the greeting answered by the first line
 * instead of as it should be, the others say how many bytes come at once; the
 * rest is what the server sends after commands.
 */
#include "fuzz.h"

#include "redis/request.h"
#include "redis_peer.h"
#include "turns.h"
#include "unit.h"

enum { CALLS = 3 };

static struct world world;

/* One command, a pipeline, a transaction: none that may be sent again. */
static void ask(struct call *calls)
{
    call_start(&world, &calls[0], "INCR a");
    call_init(&calls[1]);
    call_add(&calls[1], "INCR b");
    call_add(&calls[1], "LPUSH c d e");
    FUZZ_CHECK(call_send(&world, &calls[1]) == ERR_OK);
    call_init(&calls[2]);
    redis_request_set_multi(&calls[2].request);
    call_add(&calls[2], "INCR f");
    call_add(&calls[2], "INCR g");
    FUZZ_CHECK(call_send(&world, &calls[2]) == ERR_OK);
}

static bool is_over(const struct call *calls)
{
    for (int i = 0; i < CALLS; i++)
        if (calls[i].calls == 0)
            return false;
    return true;
}

/* To whichever connections there are, and then cuts them. */
static void answer(struct fuzz_input *input, size_t piece,
                   const struct call *calls)
{
    struct peer *peer = &world.peer;

    while (input->left > 0 && !is_over(calls)) {
        size_t len = piece < input->left ? piece : input->left;

        for (unsigned i = 0; i < peer->n_conns; i++) {
            if (peer->conns[i].stream == NULL)
                continue;
            buf_put(stream_out(peer->conns[i].stream), input->at, len);
            stream_flush(peer->conns[i].stream);
        }
        input->at += len;
        input->left -= len;
        for (int i = 0; i < 3; i++)
            loop_turn(world.loop, 0);
    }
    for (unsigned i = 0; i < peer->n_conns; i++)
        if (peer->conns[i].stream != NULL)
            peer_cut(peer, i);
}

FUZZ_TARGET(redis_wire)
{
    struct fuzz_input input = { bytes, size };
    unsigned how = fuzz_byte(&input);
    size_t piece = (how >> 1) + 1U, len;
    struct call calls[CALLS];
    char *greeting = NULL;

    world_init(&world);
    world.settings.max_connections = 1;
    if ((how & 1) != 0)
        world.peer.ping = greeting = fuzz_line(&input, &len);
    world_open(&world);
    ask(calls);
    if ((how & 1) == 0)
        wait_for(world.loop,
                 world.peer.n_conns > 0 && world.peer.conns[0].n_commands > 0);
    else
        for (int i = 0; i < 8; i++)
            loop_turn(world.loop, 0);
    answer(&input, piece, calls);
    if (!is_over(calls))
        world_close_pool(&world, 0);
    for (int i = 0; i < CALLS; i++)
        call_wait(&world, &calls[i]);
    world_free(&world);
    free(greeting);
    return 0;
}
