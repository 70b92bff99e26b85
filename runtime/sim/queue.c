/* queue.c - see queue.h: a binary heap. */
#include "sim/queue.h"

#include <stdlib.h>

static bool is_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->number < b->number;
}

static void swap(struct sim_event *a, struct sim_event *b)
{
    struct sim_event kept = *a;

    *a = *b;
    *b = kept;
}

void sim_queue_put(struct sim_queue *queue, uint64_t at_ns,
                   void (*fn)(void *ud, uint64_t now_ns), void *ud)
{
    size_t at = queue->count;

    if (queue->count == queue->room) {
        size_t room = queue->room > 0 ? queue->room * 2 : 1024;
        struct sim_event *heap = realloc(queue->heap, room * sizeof(*heap));

        if (heap == NULL) {
            queue->has_failed = true;
            return;
        }
        queue->heap = heap;
        queue->room = room;
    }
    queue->heap[queue->count++] =
        (struct sim_event){ at_ns, ++queue->numbers, fn, ud };
    for (; at > 0 && is_before(&queue->heap[at], &queue->heap[(at - 1) / 2]);
         at = (at - 1) / 2)
        swap(&queue->heap[at], &queue->heap[(at - 1) / 2]);
}

bool sim_queue_take(struct sim_queue *queue, struct sim_event *out)
{
    size_t at = 0;

    if (queue->count == 0)
        return false;
    *out = queue->heap[0];
    queue->heap[0] = queue->heap[--queue->count];
    for (;;) {
        size_t child = 2 * at + 1;

        if (child >= queue->count)
            return true;
        if (child + 1 < queue->count &&
            is_before(&queue->heap[child + 1], &queue->heap[child]))
            child++;
        if (!is_before(&queue->heap[child], &queue->heap[at]))
            return true;
        swap(&queue->heap[child], &queue->heap[at]);
        at = child;
    }
}

void sim_queue_free(struct sim_queue *queue)
{
    free(queue->heap);
    *queue = (struct sim_queue){ 0 };
}
