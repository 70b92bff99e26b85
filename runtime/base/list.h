/* list.h - intrusive doubly linked list that knows its length. */
#ifndef TIDEPOOL_BASE_LIST_H
#define TIDEPOOL_BASE_LIST_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define container_of(pointer, type, member) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* Zero-initialised nodes are on no list. */
struct list_node {
    struct list_node *next;
    struct list_node *prev;
};

/* Owns nothing: whoever embeds the nodes owns them. */
struct list {
    struct list_node head;
    uint32_t len;
};

static inline void list_init(struct list *list)
{
    list->head.next = &list->head;
    list->head.prev = &list->head;
    list->len = 0;
}

static inline bool list_is_linked(const struct list_node *node)
{
    return node->next != NULL;
}

static inline void list_insert_between(struct list *list,
                                       struct list_node *node,
                                       struct list_node *prev,
                                       struct list_node *next)
{
    assert(!list_is_linked(node));
    node->prev = prev;
    node->next = next;
    prev->next = node;
    next->prev = node;
    list->len++;
}

static inline void list_push_front(struct list *list, struct list_node *node)
{
    list_insert_between(list, node, &list->head, list->head.next);
}

static inline void list_push_back(struct list *list, struct list_node *node)
{
    list_insert_between(list, node, list->head.prev, &list->head);
}

static inline void list_remove(struct list *list, struct list_node *node)
{
    assert(list_is_linked(node) && list->len > 0);
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = NULL;
    node->prev = NULL;
    list->len--;
}

/* The first or last node, or NULL when the list is empty. */
static inline struct list_node *list_first(const struct list *list)
{
    return list->len > 0 ? list->head.next : NULL;
}

static inline struct list_node *list_last(const struct list *list)
{
    return list->len > 0 ? list->head.prev : NULL;
}

static inline struct list_node *list_pop_front(struct list *list)
{
    struct list_node *node = list_first(list);

    if (node != NULL)
        list_remove(list, node);
    return node;
}

/* Walks the list; the loop's body must not remove any node. */
#define list_each(node, list)                                               \
    for (struct list_node *node = (list)->head.next; node != &(list)->head; \
         node = node->next)

#endif
