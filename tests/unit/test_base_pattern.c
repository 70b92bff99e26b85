/* test_base_pattern.c - that patterns end, and never leave their texts; what
 * they match is held against LuaJIT's own in tests/live/string_spec.lua. */
#include "base/pattern.h"

#include "unit.h"

#include <stdlib.h>
#include <string.h>

/* Copies of exactly that size, so that a sanitizer sees a byte too far. */
struct texts {
    char *subject, *text;
};

static struct pattern make(struct texts *texts, const char *subject,
                           size_t subject_len, const char *text,
                           size_t text_len)
{
    struct pattern pattern = { .max_steps = 100000 };

    texts->subject = malloc(subject_len + 1);
    texts->text = malloc(text_len + 1);
    assert_non_null(texts->subject);
    assert_non_null(texts->text);
    memcpy(texts->subject, subject, subject_len);
    memcpy(texts->text, text, text_len);
    texts->subject = realloc(texts->subject, subject_len > 0 ? subject_len : 1);
    texts->text = realloc(texts->text, text_len > 0 ? text_len : 1);
    pattern.subject = texts->subject;
    pattern.subject_end = texts->subject + subject_len;
    pattern.text = texts->text;
    pattern.text_end = texts->text + text_len;
    return pattern;
}

static void drop(struct texts *texts)
{
    free(texts->subject);
    free(texts->text);
}

static void test_captures_are_places_of_the_subject(void **state)
{
    struct texts texts;
    struct pattern pattern =
        make(&texts, "key = value", 11, "(%w+) = ()(%w+)", 15);
    const char *end;
    const char *at = pattern_find(&pattern, pattern.subject, false, &end);

    (void)state;
    assert_ptr_equal(at, pattern.subject);
    assert_ptr_equal(end, pattern.subject_end);
    assert_int_equal(pattern.n_captures, 3);
    assert_memory_equal(pattern.captures[0].at, "key", 3);
    assert_int_equal(pattern.captures[0].len, 3);
    assert_true(pattern.captures[1].len == PATTERN_POSITION);
    assert_int_equal(pattern.captures[1].at - pattern.subject, 6);
    assert_int_equal(pattern.captures[2].len, 5);
    drop(&texts);
}

static void test_steps_bound_what_would_take_for_ever(void **state)
{
    static const char *const texts_of[] = { ".-.-.-.-.-.-b", ".*.*.*.*.*.*b",
                                            "(.-)(.-)(.-)(.-)%1%2%3b",
                                            "a*a*a*a*a*a*a*b" };
    char subject[4096];

    (void)state;
    memset(subject, 'a', sizeof(subject));
    for (size_t i = 0; i < ARRAY_LEN(texts_of); i++) {
        struct texts texts;
        struct pattern pattern = make(&texts, subject, sizeof(subject),
                                      texts_of[i], strlen(texts_of[i]));
        const char *end;

        assert_null(pattern_find(&pattern, pattern.subject, false, &end));
        assert_true(pattern.is_stopped);
        assert_null(pattern.error);
        assert_true(pattern.steps <= pattern.max_steps + 1);
        drop(&texts);
    }
}

static bool is_over(void *ud)
{
    return ++*(unsigned *)ud == 3;
}

static void test_is_over_is_asked_now_and_then(void **state)
{
    char subject[4096];
    struct texts texts;
    struct pattern pattern;
    unsigned asked = 0;
    const char *end;

    (void)state;
    memset(subject, 'a', sizeof(subject));
    pattern = make(&texts, subject, sizeof(subject), ".-.-.-.-b", 9);
    pattern.max_steps = 0;
    pattern.is_over = is_over;
    pattern.ud = &asked;
    assert_null(pattern_find(&pattern, pattern.subject, false, &end));
    assert_true(pattern.is_stopped);
    assert_int_equal(asked, 3);
    drop(&texts);
}

static void test_wrong_patterns_have_a_sentence(void **state)
{
    static const char *const wrong[] = { "%",   "[",  "[^",   "[%",  "[a",
                                         "a)",  "%1", "%b",   "%ba", "%f",
                                         "%fa", "%0", "(a)%0" };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct texts texts;
        struct pattern pattern =
            make(&texts, "abc", 3, wrong[i], strlen(wrong[i]));
        const char *end;

        if (pattern_find(&pattern, pattern.subject, false, &end) != NULL ||
            pattern.error == NULL)
            fail_msg("%s was taken", wrong[i]);
        drop(&texts);
    }
}

/* Any bytes are a pattern: none reads beyond its end. */
static void test_any_bytes_stay_within_their_texts(void **state)
{
    static const char letters[] = "ab%[]()^$*+-?.fbwdz1 \0";
    unsigned seed = 1;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        char subject[8], text[8];
        size_t lens[2];
        struct texts texts;
        struct pattern pattern;
        const char *end;

        for (int i = 0; i < 2; i++) {
            seed = seed * 1103515245 + 12345;
            lens[i] = (seed >> 16) % sizeof(subject);
        }
        for (size_t i = 0; i < sizeof(text); i++) {
            seed = seed * 1103515245 + 12345;
            text[i] = letters[(seed >> 16) % sizeof(letters)];
            subject[i] = letters[(seed >> 20) % sizeof(letters)];
        }
        pattern = make(&texts, subject, lens[0], text, lens[1]);
        (void)pattern_find(&pattern, pattern.subject, false, &end);
        drop(&texts);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_captures_are_places_of_the_subject),
        cmocka_unit_test(test_steps_bound_what_would_take_for_ever),
        cmocka_unit_test(test_is_over_is_asked_now_and_then),
        cmocka_unit_test(test_wrong_patterns_have_a_sentence),
        cmocka_unit_test(test_any_bytes_stay_within_their_texts),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
