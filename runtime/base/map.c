/* map.c - see map.h. */
#include "base/map.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_SLOTS = 8, WORD = sizeof(uint64_t) };

/* Odd, with about half their bits set and no pattern in them. */
static const uint64_t MULTIPLIER_A = 0xd1b54a32d192ed03ULL;
static const uint64_t MULTIPLIER_B = 0xaef17502108ef2d9ULL;

/*
 * Eight bytes a step, because keys are often whole SQL statements.  The word
 * is scrambled before it meets the state, so that a difference in one word
 * is not undone by a similar one in the next.
 */
static uint64_t add_word(uint64_t state, uint64_t word)
{
    word *= MULTIPLIER_A;
    word ^= word >> 32;
    state = (state ^ word) * MULTIPLIER_B;
    return state ^ (state >> 29);
}

uint64_t map_hash(const char *key, size_t key_len)
{
    uint64_t state = (uint64_t)key_len * MULTIPLIER_A;
    uint64_t word = 0;

    for (; key_len >= WORD; key += WORD, key_len -= WORD) {
        memcpy(&word, key, WORD);
        state = add_word(state, word);
    }
    word = 0;
    if (key_len > 0)
        memcpy(&word, key, key_len);
    state = add_word(state, word) * MULTIPLIER_A;
    return state ^ (state >> 32);
}

static size_t slot_count(const struct map *map)
{
    return map->slots != NULL ? map->mask + 1 : 0;
}

static enum err resize(struct map *map, size_t count)
{
    struct map_node **slots = calloc(count, sizeof(struct map_node *));
    size_t mask = count - 1;

    if (slots == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < slot_count(map); i++) {
        struct map_node *node = map->slots[i];

        while (node != NULL) {
            struct map_node *next = node->next;

            node->next = slots[node->hash & mask];
            slots[node->hash & mask] = node;
            node = next;
        }
    }
    free(map->slots);
    map->slots = slots;
    map->mask = mask;
    return ERR_OK;
}

struct map_node *map_get(const struct map *map, const char *key, size_t key_len)
{
    uint64_t hash;
    struct map_node *node;

    if (map->len == 0)
        return NULL;
    hash = map_hash(key, key_len);
    for (node = map->slots[hash & map->mask]; node != NULL; node = node->next) {
        if (node->hash == hash && node->key_len == key_len &&
            (key_len == 0 || memcmp(node->key, key, key_len) == 0))
            break;
    }
    return node;
}

enum err map_put(struct map *map, struct map_node *node)
{
    size_t count = slot_count(map);
    enum err err = ERR_OK;

    assert(map_get(map, node->key, node->key_len) == NULL);
    if (count == 0)
        err = resize(map, FIRST_SLOTS);
    else if (map->len >= count / 4 * 3)
        err = resize(map, count * 2);
    /* A table that cannot grow still works, with longer chains. */
    if (err != ERR_OK && count == 0)
        return err;
    node->hash = map_hash(node->key, node->key_len);
    node->next = map->slots[node->hash & map->mask];
    map->slots[node->hash & map->mask] = node;
    map->len++;
    return ERR_OK;
}

void map_remove(struct map *map, struct map_node *node)
{
    struct map_node **link;

    assert(map->len > 0);
    link = &map->slots[node->hash & map->mask];
    while (*link != node) {
        assert(*link != NULL); /* node is not in this map */
        link = &(*link)->next;
    }
    *link = node->next;
    node->next = NULL;
    map->len--;
}

void map_free(struct map *map)
{
    free(map->slots);
    *map = (struct map){ 0 };
}
