/* known.c - see known.h. */
#include "pg/known.h"

#include <stdlib.h>
#include <string.h>

enum { KNOWNS_MAX = 4096, LOOKS_MAX = 16 };

/* ---- what statements name */

struct look {
    const struct names *names;
    bool is_volatile;
    bool is_unknown;
};

static void look_at(void *ud, const char *word, size_t len, bool is_called)
{
    struct look *look = ud;

    if (look->is_volatile)
        return;
    switch (names_find(look->names, word, len)) {
    case NAME_UNKNOWN: look->is_unknown |= is_called; break;
    case NAME_VOLATILE: look->is_volatile = true; break;
    case NAME_HARMLESS: break;
    }
}

/* A quoted name may hold anything, words are not enough to find it. */
static bool has_odd_name(const struct known *known)
{
    const char *end = known->sql + known->node.key_len;
    const char *at = known->sql;

    if (strstr(at, "U&\"") != NULL || strstr(at, "u&\"") != NULL)
        return true;
    while ((at = memchr(at, '"', (size_t)(end - at))) != NULL) {
        size_t len = strspn(at + 1, "abcdefghijklmnopqrstuvwxyz_0123456789$"
                                    "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
        const char *close = at + 1 + len;

        if (close >= end || *close != '"')
            return true;
        at = close + 1;
    }
    return false;
}

enum known_calls known_check(struct knowns *knowns, struct known *known)
{
    struct names *names = &knowns->names;
    struct look look = { .names = names };

    if (names->version == 0 || names->is_stale)
        return CALLS_UNLISTED;
    if (known->version != names->version) {
        session_words(known->sql, known->node.key_len, look_at, &look);
        known->version = names->version;
        known->calls = CALLS_HARMLESS;
        if (look.is_volatile || has_odd_name(known))
            known->calls = CALLS_VOLATILE;
        else if (look.is_unknown && names->version == known->born)
            known->calls = CALLS_UNKNOWN;
    }
    if (known->calls == CALLS_UNKNOWN)
        names->is_wanted = true;
    return known->calls;
}

/* ---- statements */

void knowns_init(struct knowns *knowns)
{
    *knowns = (struct knowns){ .map = { .slots = NULL } };
    list_init(&knowns->recent);
}

static struct known *known_at(struct list_node *node)
{
    return container_of(node, struct known, order);
}

static void known_free(struct known *known)
{
    free(known->types);
    free(known);
}

void knowns_free(struct knowns *knowns)
{
    struct list_node *node;

    while ((node = list_pop_front(&knowns->recent)) != NULL)
        known_free(known_at(node));
    map_free(&knowns->map);
    names_free(&knowns->names);
}

/* Forgets one that was not used for long and is not used now. */
static void make_room(struct knowns *knowns)
{
    for (int i = 0; i < LOOKS_MAX && knowns->recent.len >= KNOWNS_MAX; i++) {
        struct known *known = known_at(list_last(&knowns->recent));

        list_remove(&knowns->recent, &known->order);
        if (known->users > 0) {
            list_push_front(&knowns->recent, &known->order);
            continue;
        }
        map_remove(&knowns->map, &known->node);
        known_free(known);
    }
}

static struct known *add(struct knowns *knowns, const char *sql, size_t len)
{
    struct known *known = calloc(1, sizeof(*known) + len + 1);

    if (known == NULL)
        return NULL;
    memcpy(known->sql, sql, len);
    known->node.key = known->sql;
    known->node.key_len = len;
    known->verb = SESSION_OTHER;
    if (session_traits(sql, len) == 0 && memchr(sql, '\0', len) == NULL)
        known->verb = session_verb(sql, len);
    make_room(knowns);
    if (map_put(&knowns->map, &known->node) != ERR_OK) {
        free(known);
        return NULL;
    }
    list_push_front(&knowns->recent, &known->order);
    return known;
}

struct known *knowns_use(struct knowns *knowns, const char *sql, size_t len)
{
    struct map_node *node = map_get(&knowns->map, sql, len);
    struct known *known;

    known = node != NULL ? container_of(node, struct known, node)
                         : add(knowns, sql, len);
    if (known == NULL)
        return NULL;
    if (list_first(&knowns->recent) != &known->order) {
        list_remove(&knowns->recent, &known->order);
        list_push_front(&knowns->recent, &known->order);
    }
    known->users++;
    return known;
}

void known_unuse(struct known *known)
{
    if (known == NULL)
        return;
    assert(known->users > 0);
    known->users--;
}

void known_describe(struct knowns *knowns, struct known *known,
                    unsigned n_params, const Oid *types)
{
    if (known->is_described)
        return;
    if (n_params > 0) {
        known->types = malloc(n_params * sizeof(*types));
        if (known->types == NULL)
            return;
        memcpy(known->types, types, n_params * sizeof(*types));
    }
    known->n_params = n_params;
    known->is_described = true;
    known->born = knowns->names.version;
    known->version = 0;
}
