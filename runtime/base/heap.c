/* heap.c - see heap.h. */
#include "base/heap.h"

#include <stddef.h>

/* The one that comes first, with the other as its child.  Accepts NULL. */
static struct heap_node *meld(const struct heap *heap, struct heap_node *a,
                              struct heap_node *b)
{
    struct heap_node *first = a, *later = b;

    if (a == NULL || b == NULL)
        return a != NULL ? a : b;
    if (heap->is_before(b, a)) {
        first = b;
        later = a;
    }
    later->sibling = first->child;
    first->child = later;
    return first;
}

/* One heap of a row of siblings: in pairs, then the pairs from the last on. */
static struct heap_node *meld_row(const struct heap *heap,
                                  struct heap_node *row)
{
    struct heap_node *pairs = NULL, *all = NULL;

    while (row != NULL) {
        struct heap_node *a = row, *b = row->sibling, *pair;

        row = b != NULL ? b->sibling : NULL;
        a->sibling = NULL;
        if (b != NULL)
            b->sibling = NULL;
        pair = meld(heap, a, b);
        pair->sibling = pairs;
        pairs = pair;
    }
    while (pairs != NULL) {
        struct heap_node *pair = pairs;

        pairs = pair->sibling;
        pair->sibling = NULL;
        all = meld(heap, all, pair);
    }
    return all;
}

void heap_init(struct heap *heap, heap_before_fn is_before)
{
    *heap = (struct heap){ .is_before = is_before };
}

void heap_add(struct heap *heap, struct heap_node *node)
{
    *node = (struct heap_node){ 0 };
    heap->root = meld(heap, heap->root, node);
    heap->len++;
}

struct heap_node *heap_pop(struct heap *heap)
{
    struct heap_node *least = heap->root;

    if (least == NULL)
        return NULL;
    heap->root = meld_row(heap, least->child);
    heap->len--;
    return least;
}
