/*
 * class.h - what callers are there for: who is served next, and who is shed
 * first, when not all can be served in time.
 *
 * While several classes wait, each gets connections in proportion to its share
 * (settings share_NAME), by stride scheduling (Waldspurger and Weihl, 1995);
 * within a class it is first come, first served.  While waits stand (codel.h),
 * the classes with the lowest shed_NAME are shed first.
 */
#ifndef TIDEPOOL_POOL_CLASS_H
#define TIDEPOOL_POOL_CLASS_H

#include "base/list.h"
#include "pool/settings.h"

/* The one that all zero means is the first.  XX(name, word) */
/* clang-format off */
#define POOL_CLASS_MAP(XX)                                                     \
    XX(NORMAL,   "normal")                                                     \
    XX(CRITICAL, "critical")                                                   \
    XX(BATCH,    "batch")
/* clang-format on */

enum pool_class {
#define XX(name, word) CLASS_##name,
    POOL_CLASS_MAP(XX)
#undef XX
        POOL_CLASSES
};

const char *pool_class_name(enum pool_class class);
/* POOL_CLASSES when there is none of that name. */
enum pool_class pool_class_named(const char *name);

/* Those who wait, by class; embedded beside the line of all.  Zero but for
 * classes_init(). */
struct classes {
    struct list lines[POOL_CLASSES];
    uint64_t turns[POOL_CLASSES]; /* the least is next */
    uint64_t turn;                /* of who was served last */
};

void classes_init(struct classes *classes);
void classes_join(struct classes *classes, enum pool_class class,
                  struct list_node *node, bool is_first);
void classes_leave(struct classes *classes, enum pool_class class,
                   struct list_node *node);
/* The class whose turn it is; POOL_CLASSES when nobody waits. */
enum pool_class classes_next(const struct classes *classes);
/* One of class was served. */
void classes_served(struct classes *classes, enum pool_class class,
                    const struct pool_settings *settings);
/* The class that is shed as the rank-th, from 0. */
enum pool_class class_to_shed(const struct pool_settings *settings,
                              unsigned rank);

#endif
