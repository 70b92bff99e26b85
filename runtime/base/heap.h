/* heap.h - intrusive pairing heap: the least of many, without allocation.
 * Adding takes constant time, taking the least that of a few comparisons on
 * average. */
#ifndef TIDEPOOL_BASE_HEAP_H
#define TIDEPOOL_BASE_HEAP_H

#include <stdbool.h>
#include <stdint.h>

struct heap_node {
    struct heap_node *child;   /* the first that comes later than it */
    struct heap_node *sibling; /* the next child of the same parent */
};

typedef bool (*heap_before_fn)(const struct heap_node *a,
                               const struct heap_node *b);

/* Owns nothing: whoever embeds the nodes owns them. */
struct heap {
    struct heap_node *root;
    heap_before_fn is_before;
    uint32_t len;
};

void heap_init(struct heap *heap, heap_before_fn is_before);
void heap_add(struct heap *heap, struct heap_node *node);
/* NULL when it is empty. */
struct heap_node *heap_pop(struct heap *heap);

#endif
