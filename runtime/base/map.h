/* map.h - intrusive hash map from byte strings to the structs with them. */
#ifndef TIDEPOOL_BASE_MAP_H
#define TIDEPOOL_BASE_MAP_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* Embedded in the caller's struct, which owns the key's bytes while linked. */
struct map_node {
    struct map_node *next;
    const char *key;
    size_t key_len;
    uint64_t hash;
};

/* All zero is a valid empty map. */
struct map {
    struct map_node **slots;
    size_t mask; /* slots - 1; slots is a power of two */
    size_t len;
};

uint64_t map_hash(const char *key, size_t key_len);

/* The node with this key, or NULL. */
struct map_node *map_get(const struct map *map, const char *key,
                         size_t key_len);
/* Adds node, whose key and key_len are set and not yet in the map. */
enum err map_put(struct map *map, struct map_node *node) MUST_CHECK;
void map_remove(struct map *map, struct map_node *node);
void map_free(struct map *map); /* the slots; the nodes are the caller's */

#endif
