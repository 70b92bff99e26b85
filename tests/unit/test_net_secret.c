/* test_net_secret.c - secret.h: random bytes, and SHA-256 by its examples. */
#include "net/secret.h"
#include "unit.h"

#include <string.h>

static void assert_hash(const char *text, const char *wanted)
{
    uint8_t hash[SECRET_HASH_LEN];
    char hex[2 * SECRET_HASH_LEN + 1] = { 0 };

    assert_int_equal(secret_hash(hash, text, strlen(text)), ERR_OK);
    secret_put_hex(hex, hash, sizeof(hash));
    assert_string_equal(hex, wanted);
}

/* The standard's own examples. */
static void test_hash_is_sha_256(void **state)
{
    (void)state;
    assert_hash("", "e3b0c44298fc1c149afbf4c8996fb924"
                    "27ae41e4649b934ca495991b7852b855");
    assert_hash("abc", "ba7816bf8f01cfea414140de5dae2223"
                       "b00361a396177a9cb410ff61f20015ad");
}

static void test_random_fills_all_bytes_and_is_never_the_same(void **state)
{
    enum { LEN = 300 }; /* of which each byte is 0 by chance */
    uint8_t first[LEN] = { 0 }, second[LEN] = { 0 };
    int zeros = 0;

    (void)state;
    assert_int_equal(secret_random(first, LEN), ERR_OK);
    assert_int_equal(secret_random(second, LEN), ERR_OK);

    assert_memory_not_equal(first, second, LEN);
    for (int i = 0; i < LEN; i++)
        zeros += first[i] == 0 && second[i] == 0;
    assert_true(zeros < 4);
    assert_int_equal(secret_random(first, 0), ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash_is_sha_256),
        cmocka_unit_test(test_random_fills_all_bytes_and_is_never_the_same),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
