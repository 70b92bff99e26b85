/* turns.h - turns a loop until something is true, for tests. */
#ifndef TIDEPOOL_UNIT_TURNS_H
#define TIDEPOOL_UNIT_TURNS_H

#include "net/loop.h"

enum { PATIENCE_S = 30, NS_PER_MS = 1000000 };

/* A loop of our own, or the test fails. */
struct loop *make_loop(void);
/* Turns until nothing of ours is open, checks that, frees the loop. */
void drop_loop(struct loop *loop);

/* A directory of our own under the system's temporary one; and its end, with
 * the files in it. */
void make_dir(char dir[64]);
void drop_dir(const char *dir);

/* Turns the loop until condition is true; fails after PATIENCE_S. */
#define wait_for(loop, condition)                                           \
    do {                                                                    \
        uint64_t give_up_ns =                                               \
            loop_now_ns(loop) + PATIENCE_S * (uint64_t)1000 * NS_PER_MS;    \
        bool has_come;                                                      \
                                                                            \
        while (!(has_come = (condition)) && loop_now_ns(loop) < give_up_ns) \
            loop_turn((loop), 20);                                          \
        if (!has_come)                                                      \
            fail_msg("%s did not come true", #condition);                   \
    } while (0)

#endif
