/* class.c - see class.h. */
#include "pool/class.h"

#include <string.h>

static const uint64_t STRIDE = 1 << 20; /* of a share of 1 */

static const char *const names[POOL_CLASSES] = {
#define XX(name, word) [CLASS_##name] = word,
    POOL_CLASS_MAP(XX)
#undef XX
};

const char *pool_class_name(enum pool_class class)
{
    return names[class];
}

enum pool_class pool_class_named(const char *name)
{
    enum pool_class class = 0;

    while (class < POOL_CLASSES && strcmp(names[class], name) != 0)
        class ++;
    return class;
}

void classes_init(struct classes *classes)
{
    for (int class = 0; class < POOL_CLASSES; class ++)
        list_init(&classes->lines[class]);
}

/* Who has not waited gets no turns for that. */
void classes_join(struct classes *classes, enum pool_class class,
                  struct list_node *node, bool is_first)
{
    if (classes->lines[class].len == 0 && classes->turns[class] < classes->turn)
        classes->turns[class] = classes->turn;
    if (is_first)
        list_push_front(&classes->lines[class], node);
    else
        list_push_back(&classes->lines[class], node);
}

void classes_leave(struct classes *classes, enum pool_class class,
                   struct list_node *node)
{
    list_remove(&classes->lines[class], node);
}

enum pool_class classes_next(const struct classes *classes)
{
    enum pool_class next = POOL_CLASSES;

    for (enum pool_class class = 0; class < POOL_CLASSES; class ++)
        if (classes->lines[class].len > 0 &&
            (next == POOL_CLASSES ||
             classes->turns[class] < classes->turns[next]))
            next = class;
    return next;
}

static uint64_t share_of(const struct pool_settings *settings,
                         enum pool_class class)
{
    switch (class) {
    case CLASS_CRITICAL: return settings->share_critical;
    case CLASS_BATCH: return settings->share_batch;
    default: return settings->share_normal;
    }
}

void classes_served(struct classes *classes, enum pool_class class,
                    const struct pool_settings *settings)
{
    classes->turn = classes->turns[class];
    classes->turns[class] += STRIDE / share_of(settings, class);
}

static uint64_t shed_of(const struct pool_settings *settings,
                        enum pool_class class)
{
    switch (class) {
    case CLASS_CRITICAL: return settings->shed_critical;
    case CLASS_BATCH: return settings->shed_batch;
    default: return settings->shed_normal;
    }
}

/* How many classes go before this one; of equals the later one of the map. */
static unsigned rank_of(const struct pool_settings *settings,
                        enum pool_class class)
{
    unsigned rank = 0;

    for (enum pool_class other = 0; other < POOL_CLASSES; other++)
        rank += shed_of(settings, other) < shed_of(settings, class) ||
                (shed_of(settings, other) == shed_of(settings, class) &&
                 other > class);
    return rank;
}

enum pool_class class_to_shed(const struct pool_settings *settings,
                              unsigned rank)
{
    enum pool_class class = 0;

    while (rank_of(settings, class) != rank)
        class ++;
    return class;
}
