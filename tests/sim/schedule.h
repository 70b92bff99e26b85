/*
 * schedule.h - what happens in one run: a list of actions, made of a seed.
 *
 * Everything that chance decides is in the list, so that any action may be
 * left out and the rest still means the same: a failure is made small by
 * leaving out what it does not need.
 */
#ifndef TIDEPOOL_SIM_SCHEDULE_H
#define TIDEPOOL_SIM_SCHEDULE_H

#include "pool/class.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ACTIONS_MAX = 96, WORKERS_MAX = 3 };

static const uint64_t US = 1000;
static const uint64_t MS = 1000000;
static const uint64_t SECOND = 1000000000;

/* clang-format off */
#define ACTION_MAP(XX)                                                       \
    XX(LEASE,     "lease")     /* somebody wants one, holds it for ns */     \
    XX(STATEMENT, "statement") /* the server needs ns for it */              \
    XX(CANCEL,    "cancel")    /* target gives up, wherever it is */         \
    XX(FATE,      "fate")      /* what becomes of the next count ops */      \
    XX(LOSE,      "lose")      /* a connection breaks, and it is seen */     \
    XX(MUTE,      "mute")      /* a connection is silent from here on */     \
    XX(DOWN,      "down")      /* the server is away for ns */               \
    XX(SET,       "set")       /* a setting: see knobs */                    \
    XX(WISH,      "wish")      /* the same by a policy, through rails */     \
    XX(PAUSE,     "pause")                                                   \
    XX(RESUME,    "resume")                                                  \
    XX(DRAIN,     "drain")                                                   \
    XX(OUTDATE,   "outdate")   /* the server says that it has changed */     \
    XX(HOOKS,     "hooks")     /* how: the bits of those that are set */     \
    XX(JUMP,      "jump")      /* the process stands still for ns */         \
    XX(CLOSE,     "close")     /* leases have ns to come back */             \
    XX(KILL,      "kill")      /* the worker dies, and another comes */
/* clang-format on */

enum action_kind {
#define XX(name, word) ACTION_##name,
    ACTION_MAP(XX)
#undef XX
        ACTION_KINDS
};

/* What a driver is asked for, and lanes of theirs.  XX(name, word) */
/* clang-format off */
#define OP_MAP(XX)                                                           \
    XX(OPEN, "open") XX(TEST, "test") XX(RESET, "reset")                     \
    XX(CANCEL, "cancel") XX(HOOK, "hook") XX(CLOSE, "close")                 \
    XX(SETUP, "setup")
/* clang-format on */

enum op {
#define XX(name, word) OP_##name,
    OP_MAP(XX)
#undef XX
        OPS,
    OP_NONE = OPS
};

/* How an op ends.  OTHER: open finds no memory, a reset takes the baseline with
 * it, a cancel leaves a transaction, a hook leaves one or says no, the server
 * may have what was closed. */
enum fate { FATE_WELL, FATE_BADLY, FATE_NEVER, FATE_OTHER, FATE_THIRD, FATES };

/* How a lease comes back. */
enum end {
    END_CLEAN,
    END_DIRTY,
    END_BUSY,
    END_SPENT,
    END_BROKEN,
    END_DISCARD,
    ENDS
};

/* What the holder of a lease does inside the call that gives it. */
enum inside {
    INSIDE_NOTHING,
    INSIDE_RELEASE, /* at once */
    INSIDE_CANCEL,  /* target */
    INSIDE_AGAIN,   /* asks for another */
    INSIDE_SET,     /* max_connections, to count */
    INSIDES
};

/* How the server answers a statement. */
enum answer { ANSWER_ROWS, ANSWER_ERROR, ANSWER_WRITES, ANSWERS };

struct action {
    uint64_t at_ns; /* from the start */
    enum action_kind kind;
    unsigned id;       /* its place in the whole list */
    unsigned target;   /* id of an earlier one; LOSE, MUTE: which connection */
    unsigned worker;   /* taken modulo those that are there */
    uint64_t ns;       /* see the kinds */
    uint64_t limit_ns; /* LEASE, STATEMENT: deadline; 0: as the settings say */
    unsigned what;     /* FATE: enum op; LEASE: enum inside; SET: a knob;
                          STATEMENT: 1 for a write */
    unsigned how;      /* FATE: enum fate; LEASE: enum end; STATEMENT: enum
                          answer; CANCEL: 1 when the server goes on */
    unsigned count;    /* FATE: so many; SET: the value's place in the knob */
    enum pool_class class;
    bool is_reclaimable; /* LEASE */
};

struct schedule {
    uint64_t seed;    /* also of the pools' jitter */
    unsigned workers; /* over 1: they share a budget */
    bool has_flow;    /* lanes without groups, as Redis has them */
    bool ticks_last;  /* of what is due at the same time */
    bool is_hasty;    /* hosts have no time: pools leave things to ticks */
    unsigned count;
    struct action actions[ACTIONS_MAX];
};

/* A setting, and the values that it is given, as in pool_setting_table. */
struct knob {
    const char *name;
    double values[6];
};

enum { KNOBS = 24, KNOB_VALUES = 6 };
extern const struct knob knobs[KNOBS];

void schedule_make(struct schedule *out, uint64_t seed);
/* One line, without its end, as text. */
void action_text(const struct action *action, char *text, size_t size);

#endif
