/* schedule.c - see schedule.h. */
#include "schedule.h"

#include "base/rand.h"

#include <stdio.h>
#include <string.h>

const struct knob knobs[KNOBS] = {
    { "max_connections", { 1, 2, 3, 4, 6, 8 } },
    { "min_connections", { 0, 0, 1, 2, 3, 4 } },
    { "acquire_timeout", { 0.001, 0.005, 0.02, 0.1, 1, 30 } },
    { "connect_timeout", { 0.01, 0.02, 0.1, 1, 5, 5 } },
    { "idle_timeout", { 0.01, 0.05, 0.2, 1, 10, 600 } },
    { "max_lifetime", { 0.1, 0.2, 0.5, 2, 30, 1800 } },
    { "test_before_acquire", { 0, 1, 1, 1, 1, 1 } },
    { "test_after", { 0, 0.001, 0.01, 0.1, 1, 1 } },
    { "max_waiters", { 0, 1, 2, 4, 16, 10000 } },
    { "connect_rate", { 0, 1, 10, 50, 200, 1000 } },
    { "concurrency", { 0, 0, 1, 2, 3, 5 } },
    { "codel_target", { 0, 0, 0.001, 0.005, 0.02, 0.1 } },
    { "codel_interval", { 0.001, 0.005, 0.02, 0.1, 0.1, 0.5 } },
    { "share_critical", { 1, 2, 8, 8, 8, 16 } },
    { "share_batch", { 1, 1, 1, 2, 4, 8 } },
    { "shed_normal", { 1, 1, 2, 2, 3, 3 } },
    { "lanes", { 1, 1, 2, 3, 4, 8 } },
    { "group_max", { 1, 2, 4, 8, 8, 8 } },
    { "group_target", { 0.00001, 0.0005, 0.002, 0.01, 0.1, 1 } },
    { "stall_timeout", { 0.01, 0.05, 0.2, 1, 2, 2 } },
    { "leak_threshold", { 0, 0.001, 0.01, 0.1, 1, 30 } },
    { "leak_reclaim", { 0, 0.005, 0.02, 0.1, 0.5, 2 } },
    { "acquire_slow_threshold", { 0, 0.001, 0.01, 0.1, 1, 2 } },
    { "statement_timeout", { 0.001, 0.005, 0.02, 0.1, 1, 30 } },
};

static uint64_t pick(struct rand *rand, uint64_t bound)
{
    return rand_below(rand, bound);
}

/* Mostly short, sometimes long: a power of ten, and something below it. */
static uint64_t span(struct rand *rand, uint64_t least_ns, unsigned decades)
{
    uint64_t ns = least_ns;

    for (uint64_t i = pick(rand, decades + 1); i > 0; i--)
        ns *= 10;
    return ns / 2 + pick(rand, ns);
}

/* ---- what comes, and how often: of 100 */

static enum action_kind pick_kind(struct rand *rand)
{
    static const struct {
        enum action_kind kind;
        unsigned weight;
    } weights[] = {
        { ACTION_LEASE, 36 },  { ACTION_STATEMENT, 18 }, { ACTION_CANCEL, 7 },
        { ACTION_FATE, 13 },   { ACTION_LOSE, 2 },       { ACTION_MUTE, 2 },
        { ACTION_DOWN, 1 },    { ACTION_SET, 11 },       { ACTION_WISH, 1 },
        { ACTION_PAUSE, 1 },   { ACTION_RESUME, 1 },     { ACTION_DRAIN, 1 },
        { ACTION_OUTDATE, 1 }, { ACTION_HOOKS, 2 },      { ACTION_JUMP, 1 },
        { ACTION_CLOSE, 1 },   { ACTION_KILL, 1 },
    };
    uint64_t at = pick(rand, 100);
    size_t i = 0;

    while (at >= weights[i].weight)
        at -= weights[i++].weight;
    return weights[i].kind;
}

static void make_lease(struct rand *rand, struct action *action)
{
    static const enum end ends[] = { END_CLEAN,  END_CLEAN, END_CLEAN,
                                     END_CLEAN,  END_DIRTY, END_DIRTY,
                                     END_BUSY,   END_SPENT, END_BROKEN,
                                     END_DISCARD };

    action->ns = pick(rand, 8) == 0 ? 0 : span(rand, 10 * US, 4);
    action->how = ends[pick(rand, sizeof(ends) / sizeof(ends[0]))];
    action->is_reclaimable = pick(rand, 2) == 0;
    if (pick(rand, 3) == 0)
        action->what = (unsigned)pick(rand, INSIDES);
    action->count = (unsigned)pick(rand, KNOB_VALUES);
}

static void make_statement(struct rand *rand, struct action *action)
{
    action->ns = span(rand, US, 4);
    action->what = pick(rand, 3) == 0;
    action->count = 1;
    if (pick(rand, 4) == 0) /* a burst of them */
        action->count = 1 + (unsigned)pick(rand, 8);
    if (pick(rand, 8) == 0)
        action->how = 1 + (unsigned)pick(rand, ANSWERS - 1);
}

static void make_fate(struct rand *rand, struct action *action)
{
    action->what = (unsigned)pick(rand, OPS);
    action->how = (unsigned)pick(rand, FATES);
    action->count = 1 + (unsigned)pick(rand, 3);
    action->ns = pick(rand, 2) == 0 ? 0 : span(rand, 100 * US, 4);
}

static void make_knob(struct rand *rand, struct action *action)
{
    action->what = pick(rand, 3) == 0 ? 0 : (unsigned)pick(rand, KNOBS);
    action->count = (unsigned)pick(rand, KNOB_VALUES);
}

static void fill(struct rand *rand, struct action *action)
{
    action->kind = pick_kind(rand);
    action->worker = (unsigned)pick(rand, WORKERS_MAX);
    action->target = action->id > 0 ? (unsigned)pick(rand, action->id) : 0;
    action->class = (enum pool_class)pick(rand, POOL_CLASSES);
    if (pick(rand, 3) == 0)
        action->limit_ns = span(rand, 100 * US, 4);
    switch (action->kind) {
    case ACTION_LEASE: make_lease(rand, action); break;
    case ACTION_STATEMENT: make_statement(rand, action); break;
    case ACTION_CANCEL: action->how = (unsigned)pick(rand, 2); break;
    case ACTION_FATE: make_fate(rand, action); break;
    case ACTION_SET:
    case ACTION_WISH: make_knob(rand, action); break;
    case ACTION_HOOKS: action->how = (unsigned)pick(rand, 8); break;
    case ACTION_DOWN: action->ns = span(rand, MS, 3); break;
    case ACTION_JUMP: action->ns = span(rand, 10 * MS, 4); break;
    case ACTION_CLOSE: action->ns = pick(rand, 2) * span(rand, MS, 3); break;
    default: break;
    }
}

/* ---- all of it */

void schedule_make(struct schedule *out, uint64_t seed)
{
    struct rand rand = { .state = seed * 0x9e3779b97f4a7c15ULL };
    unsigned settings = (unsigned)pick(&rand, 8);
    bool is_dense = pick(&rand, 2) == 0;
    uint64_t at_ns = 0;

    memset(out, 0, sizeof(*out));
    out->seed = seed;
    out->workers = pick(&rand, 8) > 0 ? 1 : 2 + (unsigned)pick(&rand, 2);
    out->has_flow = pick(&rand, 4) == 0;
    out->ticks_last = pick(&rand, 2) == 0;
    out->count = settings + 4 + (unsigned)pick(&rand, 24);
    if (pick(&rand, 32) == 0)
        out->count = ACTIONS_MAX;
    for (unsigned i = 0; i < out->count; i++) {
        struct action *action = &out->actions[i];

        action->id = i;
        if (i < settings) {
            action->kind = ACTION_SET;
            action->worker = (unsigned)pick(&rand, WORKERS_MAX);
            make_knob(&rand, action);
            continue;
        }
        if (pick(&rand, 4) > 0)
            at_ns +=
                is_dense ? span(&rand, 10 * US, 2) : span(&rand, 100 * US, 4);
        action->at_ns = at_ns;
        fill(&rand, action);
    }
    out->is_hasty = pick(&rand, 8) == 0;
}

/* ---- as text */

static const char *kind_word(enum action_kind kind)
{
    static const char *const words[] = {
#define XX(name, word) [ACTION_##name] = word,
        ACTION_MAP(XX)
#undef XX
    };

    return words[kind];
}

static void detail(const struct action *action, char *text, size_t size)
{
    static const char *const ops[] = {
#define XX(name, word) [OP_##name] = word,
        OP_MAP(XX)
#undef XX
    };
    static const char *const fates[] = { "well", "badly", "never", "otherwise",
                                         "in a third way" };
    static const char *const ends[] = { "clean", "dirty",  "busy",
                                        "spent", "broken", "discarded" };
    static const char *const insides[] = { "", ", released inside",
                                           ", cancels inside", ", asks again",
                                           ", sets max inside" };
    static const char *const answers[] = { "rows", "an error",
                                           "it writes, on a read lane" };

    switch (action->kind) {
    case ACTION_LEASE:
        snprintf(text, size, "comes back %s%s%s", ends[action->how],
                 insides[action->what],
                 action->is_reclaimable ? ", reclaimable" : "");
        break;
    case ACTION_STATEMENT:
        snprintf(text, size, "%u %s, answer: %s", action->count,
                 action->what ? "writes" : "reads", answers[action->how]);
        break;
    case ACTION_FATE:
        snprintf(text, size, "of the next %u %s: %s", action->count,
                 ops[action->what], fates[action->how]);
        break;
    case ACTION_SET:
    case ACTION_WISH:
        snprintf(text, size, "%s = %g", knobs[action->what].name,
                 knobs[action->what].values[action->count]);
        break;
    case ACTION_CANCEL:
        snprintf(text, size, "%s",
                 action->how ? "the server goes on" : "at rest");
        break;
    case ACTION_HOOKS: snprintf(text, size, "%u", action->how); break;
    default: text[0] = '\0'; break;
    }
}

void action_text(const struct action *action, char *text, size_t size)
{
    char more[128];

    detail(action, more, sizeof(more));
    snprintf(text, size,
             "%10.3f ms  #%-3u %-9s worker %u  target #%u  ns %llu  limit "
             "%llu  %s  %s",
             (double)action->at_ns / 1e6, action->id, kind_word(action->kind),
             action->worker, action->target, (unsigned long long)action->ns,
             (unsigned long long)action->limit_ns,
             pool_class_name(action->class), more);
}
