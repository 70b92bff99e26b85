/* test_redis_url.c - what urls say, and what is said of wrong ones. */
#include "unit.h"

#include <hiredis/hiredis.h>

#include "oom.h"
#include "redis/url.h"

static struct redis_target parsed(const char *url)
{
    struct redis_target target = { 0 };
    struct err_text why = { 0 };
    enum err err = redis_target_parse(&target, url, &why);

    if (err != ERR_OK)
        fail_msg("%s: %s", url, why.text);
    return target;
}

static void test_host_port_and_database_are_read(void **state)
{
    struct redis_target target = parsed("redis://cache.example:7000/3");

    (void)state;
    assert_string_equal(target.host, "cache.example");
    assert_string_equal(target.port, "7000");
    assert_int_equal(target.db, 3);
    assert_null(target.user);
    assert_null(target.password);
    assert_null(target.path);
    redis_target_free(&target);
}

static void test_what_is_left_out_has_its_default(void **state)
{
    static const char *const urls[] = { "redis://", "redis:///",
                                        "redis://:", "redis://:@/",
                                        "redis://?" };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        struct redis_target target = parsed(urls[i]);

        assert_string_equal(target.host, "127.0.0.1");
        assert_string_equal(target.port, "6379");
        assert_int_equal(target.db, 0);
        assert_null(target.user);
        assert_null(target.password);
        redis_target_free(&target);
    }
}

static void test_user_and_password_are_decoded(void **state)
{
    struct redis_target target = parsed("redis://ann%40x:p%3a%2F%25@h/1?db=2");

    (void)state;
    assert_string_equal(target.user, "ann@x");
    assert_string_equal(target.password, "p:/%");
    assert_string_equal(target.host, "h");
    assert_int_equal(target.db, 2);
    redis_target_free(&target);
}

static void test_password_may_come_alone_and_hold_an_at_sign(void **state)
{
    struct redis_target target = parsed("redis://:se@cret@h:1");

    (void)state;
    assert_null(target.user);
    assert_string_equal(target.password, "se@cret");
    assert_string_equal(target.host, "h");
    redis_target_free(&target);
}

static void test_user_may_come_without_password(void **state)
{
    struct redis_target target = parsed("redis://ann@h");

    (void)state;
    assert_string_equal(target.user, "ann");
    assert_null(target.password);
    redis_target_free(&target);
}

static void test_ipv6_address_stands_in_brackets(void **state)
{
    struct redis_target with = parsed("redis://:x@[::1]:7001/1");
    struct redis_target without = parsed("redis://[fe80::2]");

    (void)state;
    assert_string_equal(with.host, "::1");
    assert_string_equal(with.port, "7001");
    assert_string_equal(without.host, "fe80::2");
    assert_string_equal(without.port, "6379");
    redis_target_free(&with);
    redis_target_free(&without);
}

static void test_unix_socket_has_path_and_database(void **state)
{
    struct redis_target plain = parsed("unix:///run/redis.sock?db=4");
    struct redis_target other =
        parsed("redis+unix://ann:x%20y@/tmp/a%20b.sock");

    (void)state;
    assert_string_equal(plain.path, "/run/redis.sock");
    assert_null(plain.host);
    assert_int_equal(plain.db, 4);
    assert_string_equal(other.path, "/tmp/a b.sock");
    assert_string_equal(other.user, "ann");
    assert_string_equal(other.password, "x y");
    redis_target_free(&plain);
    redis_target_free(&other);
}

static void test_parameters_name_database_client_and_protocol(void **state)
{
    struct redis_target plain = parsed("redis://h");
    struct redis_target all =
        parsed("redis://h/1?protocol=2&client_name=a%20b&db=3");

    (void)state;
    assert_null(plain.client_name);
    assert_int_equal(plain.protocol, 2);
    assert_string_equal(all.client_name, "a b");
    assert_int_equal(all.protocol, 2);
    assert_int_equal(all.db, 3);
    redis_target_free(&plain);
    redis_target_free(&all);
#ifdef REDIS_REPLY_MAP
    all = parsed("unix:///s?protocol=3");
    assert_int_equal(all.protocol, 3);
    redis_target_free(&all);
#endif
}

static void test_rediss_has_files_and_whom_to_trust(void **state)
{
    struct redis_target plain = parsed("redis://h");
    struct redis_target trusting = parsed("rediss://h?insecure=true");
    struct redis_target all = parsed(
        "rediss://u:p@h:7/2?cacert=/a%20b.pem&cert=c.pem&key=c.key&db=3");

    (void)state;
    assert_false(plain.is_tls);
    assert_true(trusting.is_tls && trusting.tls.is_insecure);
    assert_true(all.is_tls && !all.tls.is_insecure);
    assert_string_equal(all.tls.ca, "/a b.pem");
    assert_string_equal(all.tls.pair.certificate, "c.pem");
    assert_string_equal(all.tls.pair.key, "c.key");
    assert_int_equal(all.db, 3);
    redis_target_free(&plain);
    redis_target_free(&trusting);
    redis_target_free(&all);
}

/* url, and a part of the sentence */
static const char *const wrong[][2] = {
    { "", "begins with redis://" },
    { "localhost:6379", "begins with redis://" },
    { "postgres://h/db", "begins with redis://" },
    { "redis://h?cacert=x", "with rediss://" },
    { "unix:///s?insecure=true", "with rediss://" },
    { "rediss://h?insecure=yes", "true or false" },
    { "rediss://h?cert=x", "together" },
    { "rediss://h?key=x", "together" },
    { "rediss://h?cacert=%zz", "in cacert" },
    { "redis://h:0", "port" },
    { "redis://h:65536", "port" },
    { "redis://h:port", "port" },
    { "redis://:pass/word@h", "port" },
    { "redis://::1", "brackets" },
    { "redis://[::1", "no end" },
    { "redis://[::1]6379", "no end" },
    { "redis://h/one", "database" },
    { "redis://h/1/2", "database" },
    { "redis://h/4294967296", "database" },
    { "redis://h?db=", "database" },
    { "redis://h?timeout=3", "db=NUMBER" },
    { "redis://h?db", "db=NUMBER" },
    { "redis://h?client_name=%zz", "client_name is not followed" },
    { "redis://h?protocol=4", "protocol is 2 or 3" },
    { "redis://h?protocol=", "protocol is 2 or 3" },
#ifndef REDIS_REPLY_MAP
    { "redis://h?protocol=3", "needs hiredis 1.0 or later, and this was" },
#endif
    { "redis://:50%@h", "hexadecimal" },
    { "redis://:%00@h", "hexadecimal" },
    { "redis://:%4@h", "hexadecimal" },
    { "unix://redis.sock", "absolute" },
    { "unix://", "absolute" },
    { "unix:///a%zz", "hexadecimal" },
};

static void test_wrong_url_is_refused_with_a_sentence(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct redis_target target = { 0 };
        struct err_text why = { 0 };

        assert_err(redis_target_parse(&target, wrong[i][0], &why), ERR_BADARG);
        if (strstr(why.text, wrong[i][1]) == NULL)
            fail_msg("%s: %s", wrong[i][0], why.text);
        assert_null(strstr(why.text, "pass/"));
        assert_null(strstr(why.text, "word@"));
        assert_null(target.storage);
    }
}

static void test_socket_path_has_at_most_107_bytes(void **state)
{
    char url[7 + 109];
    struct redis_target target;
    struct err_text why;

    (void)state;
    memset(url, 'a', sizeof(url));
    memcpy(url, "unix:///", 8);
    url[7 + 107] = '\0';
    assert_ok(redis_target_parse(&target, url, &why));
    redis_target_free(&target);

    url[7 + 107] = 'a';
    url[7 + 108] = '\0';
    assert_err(redis_target_parse(&target, url, &why), ERR_BADARG);
}

static void test_parse_says_nomem(void **state)
{
    struct redis_target target;
    struct err_text why;
    enum err err;

    (void)state;
    for (unsigned n = 1;; n++) {
        oom_fail_at(n);
        err = redis_target_parse(&target, "redis://h", &why);
        oom_off();
        if (!oom_happened())
            break;
        assert_err(err, ERR_NOMEM);
    }
    assert_ok(err);
    redis_target_free(&target);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_host_port_and_database_are_read),
        cmocka_unit_test(test_what_is_left_out_has_its_default),
        cmocka_unit_test(test_user_and_password_are_decoded),
        cmocka_unit_test(test_password_may_come_alone_and_hold_an_at_sign),
        cmocka_unit_test(test_user_may_come_without_password),
        cmocka_unit_test(test_ipv6_address_stands_in_brackets),
        cmocka_unit_test(test_unix_socket_has_path_and_database),
        cmocka_unit_test(test_parameters_name_database_client_and_protocol),
        cmocka_unit_test(test_rediss_has_files_and_whom_to_trust),
        cmocka_unit_test(test_wrong_url_is_refused_with_a_sentence),
        cmocka_unit_test(test_socket_path_has_at_most_107_bytes),
        cmocka_unit_test(test_parse_says_nomem),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
