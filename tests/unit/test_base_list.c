/* test_base_list.c - the intrusive list. */
#include "unit.h"

#include "base/list.h"

struct item {
    int number;
    struct list_node node;
};

static int number_of(const struct list_node *node)
{
    return node == NULL ? -1 : container_of(node, struct item, node)->number;
}

/* The numbers in order as one decimal number: items 1, 2, 3 give 123. */
static int read_forward(const struct list *list)
{
    int digits = 0;

    list_each (node, list)
        digits = digits * 10 + number_of(node);
    return digits;
}

static int read_backward(const struct list *list)
{
    int digits = 0;

    for (const struct list_node *node = list->head.prev; node != &list->head;
         node = node->prev)
        digits = digits * 10 + number_of(node);
    return digits;
}

static void test_new_list_is_empty(void **state)
{
    struct list list;
    (void)state;

    list_init(&list);

    assert_int_equal(list.len, 0);
    assert_null(list_first(&list));
    assert_null(list_last(&list));
    assert_null(list_pop_front(&list));
    assert_int_equal(read_forward(&list), 0);
}

static void test_push_keeps_order_at_both_ends(void **state)
{
    struct item items[] = { { .number = 1 }, { .number = 2 }, { .number = 3 } };
    struct list list;
    (void)state;

    list_init(&list);
    list_push_back(&list, &items[1].node);
    list_push_back(&list, &items[2].node);
    list_push_front(&list, &items[0].node);

    assert_int_equal(list.len, 3);
    assert_int_equal(read_forward(&list), 123);
    assert_int_equal(read_backward(&list), 321);
    assert_int_equal(number_of(list_first(&list)), 1);
    assert_int_equal(number_of(list_last(&list)), 3);
}

static void test_remove_unlinks_from_anywhere(void **state)
{
    struct item items[] = { { .number = 1 }, { .number = 2 }, { .number = 3 } };
    struct list list;
    (void)state;

    list_init(&list);
    for (size_t i = 0; i < ARRAY_LEN(items); i++)
        list_push_back(&list, &items[i].node);

    list_remove(&list, &items[1].node);
    assert_int_equal(read_forward(&list), 13);
    assert_int_equal(read_backward(&list), 31);
    list_remove(&list, &items[2].node);
    assert_int_equal(read_forward(&list), 1);
    list_remove(&list, &items[0].node);
    assert_int_equal(list.len, 0);
    assert_null(list_first(&list));
}

static void test_node_knows_whether_it_is_linked(void **state)
{
    struct item item = { 0 };
    struct list list;
    (void)state;

    list_init(&list);
    assert_false(list_is_linked(&item.node));
    list_push_back(&list, &item.node);
    assert_true(list_is_linked(&item.node));
    list_remove(&list, &item.node);
    assert_false(list_is_linked(&item.node));
    list_push_front(&list, &item.node);
    assert_true(list_is_linked(&item.node));
}

static void test_pop_front_takes_each_once_in_order(void **state)
{
    struct item items[] = { { .number = 1 }, { .number = 2 } };
    struct list list;
    (void)state;

    list_init(&list);
    list_push_back(&list, &items[0].node);
    list_push_back(&list, &items[1].node);

    assert_int_equal(number_of(list_pop_front(&list)), 1);
    assert_int_equal(number_of(list_pop_front(&list)), 2);
    assert_null(list_pop_front(&list));
    assert_int_equal(list.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_list_is_empty),
        cmocka_unit_test(test_push_keeps_order_at_both_ends),
        cmocka_unit_test(test_remove_unlinks_from_anywhere),
        cmocka_unit_test(test_node_knows_whether_it_is_linked),
        cmocka_unit_test(test_pop_front_takes_each_once_in_order),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
