/* test_base_map.c - the hash map. */
#include "oom.h"
#include "unit.h"

#include "base/map.h"
#include "base/rand.h"

#include <stdio.h>

enum { ENTRIES = 2000 };

struct entry {
    struct map_node node;
    char key[32];
    bool is_in;
};

static void set_key(struct entry *entry, const char *text)
{
    entry->node.key = text;
    entry->node.key_len = strlen(text);
}

static void set_number(struct entry *entry, unsigned number)
{
    snprintf(entry->key, sizeof(entry->key), "SELECT %u", number);
    set_key(entry, entry->key);
}

static void assert_holds(const struct map *map, struct entry *entry)
{
    const struct map_node *node =
        map_get(map, entry->node.key, entry->node.key_len);

    assert_ptr_equal(node, entry->is_in ? &entry->node : NULL);
}

static void test_zero_map_is_empty_and_can_be_freed(void **state)
{
    struct map map = { 0 };
    (void)state;

    assert_null(map_get(&map, "key", 3));
    assert_null(map_get(&map, "", 0));
    map_free(&map);
    map_free(&map);
}

static void test_get_finds_what_was_put(void **state)
{
    struct entry a = { 0 };
    struct entry b = { 0 };
    struct map map = { 0 };
    (void)state;

    set_key(&a, "users");
    set_key(&b, "orders");
    assert_ok(map_put(&map, &a.node));
    assert_ok(map_put(&map, &b.node));

    assert_ptr_equal(map_get(&map, "users", 5), &a.node);
    assert_ptr_equal(map_get(&map, "orders", 6), &b.node);
    assert_null(map_get(&map, "user", 4));
    assert_null(map_get(&map, "users ", 6));
    assert_int_equal(map.len, 2);
    map_free(&map);
}

static void test_keys_are_bytes_and_may_be_empty(void **state)
{
    struct entry entries[3] = { 0 };
    struct map map = { 0 };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
        entries[i].node.key = "\0\0";
        entries[i].node.key_len = i;
        assert_ok(map_put(&map, &entries[i].node));
    }

    for (size_t i = 0; i < ARRAY_LEN(entries); i++)
        assert_ptr_equal(map_get(&map, "\0\0", i), &entries[i].node);
    assert_ptr_equal(map_get(&map, NULL, 0), &entries[0].node);
    map_free(&map);
}

static void test_remove_takes_one_and_leaves_the_rest(void **state)
{
    static struct entry entries[ENTRIES];
    struct map map = { 0 };
    struct rand rand = { 4 };
    size_t left = 0;
    (void)state;

    memset(entries, 0, sizeof(entries));
    for (unsigned i = 0; i < ENTRIES; i++)
        set_number(&entries[i], i);
    for (int round = 0; round < 50000; round++) {
        struct entry *entry = &entries[rand_below(&rand, ENTRIES)];

        if (entry->is_in)
            map_remove(&map, &entry->node);
        else
            assert_ok(map_put(&map, &entry->node));
        entry->is_in = !entry->is_in;
        assert_holds(&map, entry);
        assert_holds(&map, &entries[rand_below(&rand, ENTRIES)]);
    }

    for (int i = 0; i < ENTRIES; i++) {
        assert_holds(&map, &entries[i]);
        left += entries[i].is_in;
    }
    assert_int_equal(map.len, left);
    map_free(&map);
}

static void test_map_grows_at_three_quarters_full(void **state)
{
    static struct entry entries[ENTRIES];
    struct map map = { 0 };
    (void)state;

    memset(entries, 0, sizeof(entries));
    for (unsigned i = 0; i < ENTRIES; i++) {
        set_number(&entries[i], i);
        assert_ok(map_put(&map, &entries[i].node));
        assert_true(map.len * 4 <= (map.mask + 1) * 3);
    }

    assert_int_equal(map.mask + 1, 4096);
    map_free(&map);
}

static unsigned longest_chain(const struct map *map)
{
    unsigned longest = 0;

    for (size_t i = 0; i <= map->mask; i++) {
        const struct map_node *node = map->slots[i];
        unsigned length = 0;

        for (; node != NULL; node = node->next)
            length++;
        if (length > longest)
            longest = length;
    }
    return longest;
}

/* At this load chance alone gives 5 or 6; 10 is one in ten million. */
static void test_hash_spreads_similar_keys(void **state)
{
    static struct entry entries[ENTRIES];
    struct map map = { 0 };
    (void)state;

    memset(entries, 0, sizeof(entries));
    for (unsigned i = 0; i < ENTRIES; i++) {
        set_number(&entries[i], i * 64);
        assert_ok(map_put(&map, &entries[i].node));
    }

    assert_true(longest_chain(&map) < 10);
    map_free(&map);
}

static unsigned bits_in(uint64_t word)
{
    return (unsigned)__builtin_popcountll(word);
}

static void test_hash_changes_half_its_bits_with_any_bit(void **state)
{
    char key[24] = "SELECT n FROM t";
    (void)state;

    for (size_t len = 1; len <= sizeof(key); len++) {
        uint64_t hash = map_hash(key, len);

        for (size_t bit = 0; bit < len * 8; bit++) {
            unsigned changed;

            key[bit / 8] = (char)(key[bit / 8] ^ 1 << bit % 8);
            changed = bits_in(hash ^ map_hash(key, len));
            key[bit / 8] = (char)(key[bit / 8] ^ 1 << bit % 8);
            assert_in_range(changed, 10, 54);
        }
    }
}

static void test_put_without_memory_fails_on_an_empty_map(void **state)
{
    struct entry entry = { 0 };
    struct map map = { 0 };
    (void)state;

    set_key(&entry, "key");
    oom_fail_at(1);
    assert_err(map_put(&map, &entry.node), ERR_NOMEM);
    oom_off();

    assert_int_equal(map.len, 0);
    assert_null(map_get(&map, "key", 3));
    assert_ok(map_put(&map, &entry.node));
    map_free(&map);
}

static void test_map_that_cannot_grow_still_takes_nodes(void **state)
{
    static struct entry entries[ENTRIES];
    struct map map = { 0 };
    (void)state;

    memset(entries, 0, sizeof(entries));
    for (unsigned i = 0; i < 100; i++) {
        set_number(&entries[i], i);
        oom_fail_at(i > 0);
        assert_ok(map_put(&map, &entries[i].node));
        oom_off();
        entries[i].is_in = true;
    }

    assert_int_equal(map.mask + 1, 8);
    for (unsigned i = 0; i < 100; i++)
        assert_holds(&map, &entries[i]);
    map_free(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zero_map_is_empty_and_can_be_freed),
        cmocka_unit_test(test_get_finds_what_was_put),
        cmocka_unit_test(test_keys_are_bytes_and_may_be_empty),
        cmocka_unit_test(test_remove_takes_one_and_leaves_the_rest),
        cmocka_unit_test(test_map_grows_at_three_quarters_full),
        cmocka_unit_test(test_hash_spreads_similar_keys),
        cmocka_unit_test(test_hash_changes_half_its_bits_with_any_bit),
        cmocka_unit_test(test_put_without_memory_fails_on_an_empty_map),
        cmocka_unit_test(test_map_that_cannot_grow_still_takes_nodes),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
