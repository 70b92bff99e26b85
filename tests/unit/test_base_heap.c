/* test_base_heap.c - the heap gives its nodes in order. */
#include "unit.h"

#include "base/heap.h"
#include "base/list.h"

enum { MANY = 2000 };

struct item {
    unsigned number;
    struct heap_node node;
};

static struct item *item_at(const struct heap_node *node)
{
    return container_of(node, struct item, node);
}

static bool is_before(const struct heap_node *a, const struct heap_node *b)
{
    return item_at(a)->number < item_at(b)->number;
}

static void test_an_empty_heap_gives_nothing(void **state)
{
    struct heap heap;
    (void)state;

    heap_init(&heap, is_before);

    assert_null(heap_pop(&heap));
    assert_int_equal(heap.len, 0);
}

/* Some are taken between, so that it has every shape. */
static void test_the_least_comes_first_in_whatever_order_they_came(void **state)
{
    static struct item items[MANY];
    unsigned taken = 0, last = 0, number = 1;
    struct heap heap;
    (void)state;

    heap_init(&heap, is_before);
    for (unsigned i = 0; i < MANY; i++) {
        number = number * 1103515245 + 12345;
        items[i].number = number % 1000;
        heap_add(&heap, &items[i].node);
        if (i % 3 != 2)
            continue;
        last = item_at(heap_pop(&heap))->number;
        taken++;
        for (struct heap_node *child = heap.root->child; child != NULL;
             child = child->sibling)
            assert_true(item_at(child)->number >= last);
    }
    assert_int_equal(heap.len, MANY - taken);
    last = 0;
    for (; taken < MANY; taken++) {
        struct item *item = item_at(heap_pop(&heap));

        assert_true(item->number >= last);
        last = item->number;
    }

    assert_null(heap_pop(&heap));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_heap_gives_nothing),
        cmocka_unit_test(
            test_the_least_comes_first_in_whatever_order_they_came),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
