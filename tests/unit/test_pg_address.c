/* test_pg_address.c - urls, hosts, and the lists that libpq dials. */
#include "oom.h"
#include "unit.h"

#include "pg/address.h"

#include <stdlib.h>

static struct address_book open_book(const char *url)
{
    struct address_book book = { 0 };
    struct err_text why = { 0 };

    assert_ok(address_book_open(&book, url, &why));
    return book;
}

static void assert_address(const struct address *address, const char *host,
                           const char *hostaddr, const char *port)
{
    assert_string_equal(address->host, host);
    assert_string_equal(address->hostaddr, hostaddr);
    assert_string_equal(address->port, port);
}

static void test_url_with_one_host(void **state)
{
    struct address_book book = open_book("postgres://u@db.example:6543/d");

    (void)state;
    assert_int_equal(book.count, 1);
    assert_address(&book.list[0], "db.example", "", "6543");
    assert_false(book.has_hostaddr);
    assert_true(book.is_ordered);
    assert_false(book.has_keepalives);
    assert_false(book.has_user_timeout);
    address_book_free(&book);
}

static void test_url_without_a_host_is_a_unix_socket(void **state)
{
    struct address_book book = open_book("postgres:///d");

    (void)state;
    assert_int_equal(book.count, 1);
    assert_address(&book.list[0], "", "", "5432");
    assert_false(address_needs_lookup(&book.list[0]));
    address_book_free(&book);
}

static void test_several_hosts_have_their_own_ports(void **state)
{
    struct address_book book = open_book("postgres://a:1,b,c:3/d");

    (void)state;
    assert_int_equal(book.count, 3);
    assert_address(&book.list[0], "a", "", "1");
    assert_address(&book.list[1], "b", "", "5432");
    assert_address(&book.list[2], "c", "", "3");
    address_book_free(&book);
}

static void test_one_port_is_for_all_hosts(void **state)
{
    struct address_book book =
        open_book("host=a,/run/pg hostaddr=10.0.0.1, port=7 dbname=d");

    (void)state;
    assert_int_equal(book.count, 2);
    assert_address(&book.list[0], "a", "10.0.0.1", "7");
    assert_address(&book.list[1], "/run/pg", "", "7");
    assert_true(book.has_hostaddr);
    address_book_free(&book);
}

static void test_addresses_may_come_without_names(void **state)
{
    struct address_book book = open_book("hostaddr=10.0.0.1,::1 port=1,2");

    (void)state;
    assert_int_equal(book.count, 2);
    assert_address(&book.list[0], "", "10.0.0.1", "1");
    assert_address(&book.list[1], "", "::1", "2");
    assert_false(address_needs_lookup(&book.list[1]));
    address_book_free(&book);
}

static void test_environment_counts_where_the_url_is_silent(void **state)
{
    struct address_book book;

    (void)state;
    setenv("PGHOST", "env.example", 1);
    setenv("PGPORT", "99", 1);
    book = open_book("postgres:///d");
    unsetenv("PGHOST");
    unsetenv("PGPORT");

    assert_address(&book.list[0], "env.example", "", "99");
    address_book_free(&book);
}

static void test_options_that_matter_are_read(void **state)
{
    struct address_book book =
        open_book("host=a,b target_session_attrs=prefer-standby "
                  "keepalives_idle=1 tcp_user_timeout=5");

    (void)state;
    assert_false(book.is_ordered);
    assert_true(book.has_keepalives);
    assert_true(book.has_user_timeout);
    address_book_free(&book);
}

static void test_unreadable_urls_are_refused_with_a_reason(void **state)
{
    static const char *const urls[] = {
        "",
        "nonsense",
        "postgres://a/d?nosuch=1",
        "host=a,b port=1,2,3",
        "host=a hostaddr=1.1.1.1,2.2.2.2",
        "service=no-such-service-here",
        "host=a sslmode",
    };

    (void)state;
    for (size_t i = 1; i < ARRAY_LEN(urls); i++) {
        struct address_book book = { 0 };
        struct err_text why = { 0 };

        assert_err(address_book_open(&book, urls[i], &why), ERR_BADARG);
        assert_true(strlen(why.text) > 0);
        assert_null(book.url);
    }
}

static void test_too_many_hosts_are_refused(void **state)
{
    struct address_book book = { 0 };
    struct err_text why = { 0 };

    (void)state;
    assert_err(
        address_book_open(
            &book, "host=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", &why),
        ERR_BADARG);
    assert_string_equal(why.text, "the url names 17 hosts, 16 are the most");
}

static void test_only_names_need_a_lookup(void **state)
{
    static const char *const known[] = { "", "/run/pg", "@abstract", "10.0.0.1",
                                         "::1" };
    struct address address = { "db.example", "", "1" };

    (void)state;
    assert_true(address_needs_lookup(&address));
    address.hostaddr = "10.0.0.1";
    assert_false(address_needs_lookup(&address));
    address.hostaddr = "";
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        address.host = known[i];
        assert_false(address_needs_lookup(&address));
    }
}

static void test_found_addresses_are_texts_without_twins(void **state)
{
    struct addrinfo hints = { .ai_flags = AI_NUMERICHOST };
    struct addrinfo *found;
    struct address_ips ips;

    (void)state;
    /* without a socket type each address comes once for each */
    assert_int_equal(getaddrinfo("127.0.0.1", NULL, &hints, &found), 0);
    assert_non_null(found->ai_next);
    address_ips_read(&ips, found);
    freeaddrinfo(found);

    assert_int_equal(ips.count, 1);
    assert_string_equal(ips.text[0], "127.0.0.1");
}

static void test_dial_list_has_an_entry_for_each_address(void **state)
{
    struct address_book book = open_book("postgres://a:1,b:2/d");
    struct dial_list list = { 0 };
    const struct address_ips two = { 2, { "10.0.0.1", "10.0.0.2" } };
    const struct address_ips one = { 1, { "10.0.0.3" } };

    (void)state;
    dial_list_add(&list, &book, 0, &two);
    dial_list_add(&list, &book, 1, &one);
    assert_ok(dial_list_end(&list));

    assert_string_equal(list.host.data, "a,a,b");
    assert_string_equal(list.hostaddr.data, "10.0.0.1,10.0.0.2,10.0.0.3");
    assert_string_equal(list.port.data, "1,1,2");
    assert_int_equal(list.count, 3);
    assert_int_equal(list.owners[1], 0);
    assert_int_equal(list.owners[2], 1);
    dial_list_free(&list);
    address_book_free(&book);
}

static void test_dial_list_finds_where_libpq_is(void **state)
{
    struct address_book book = open_book("host=a,/run/pg,a port=1,2,3");
    struct dial_list list = { 0 };
    const struct address_ips ip = { 1, { "10.0.0.1" } };

    (void)state;
    dial_list_add(&list, &book, 0, &ip);
    dial_list_add(&list, &book, 1, NULL);
    dial_list_add(&list, &book, 2, &ip);
    assert_ok(dial_list_end(&list));

    assert_int_equal(dial_list_find(&list, "a", "10.0.0.1", "1"), 0);
    assert_int_equal(dial_list_find(&list, "/run/pg", "", "2"), 1);
    assert_int_equal(dial_list_find(&list, "a", "10.0.0.1", "3"), 2);
    assert_int_equal(dial_list_find(&list, "a", "10.0.0.9", "1"), 3);
    assert_int_equal(dial_list_find(&list, "", "", ""), 3);
    dial_list_free(&list);
    address_book_free(&book);
}

static void test_open_survives_any_failing_allocation(void **state)
{
    struct err_text why;

    (void)state;
    for (unsigned n = 1;; n++) {
        struct address_book book = { 0 };
        enum err err;

        oom_fail_at(n);
        err = address_book_open(&book, "postgres://a,b/d", &why);
        oom_off();
        address_book_free(&book);
        if (!oom_happened())
            break;
        assert_err(err, ERR_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_url_with_one_host),
        cmocka_unit_test(test_url_without_a_host_is_a_unix_socket),
        cmocka_unit_test(test_several_hosts_have_their_own_ports),
        cmocka_unit_test(test_one_port_is_for_all_hosts),
        cmocka_unit_test(test_addresses_may_come_without_names),
        cmocka_unit_test(test_environment_counts_where_the_url_is_silent),
        cmocka_unit_test(test_options_that_matter_are_read),
        cmocka_unit_test(test_unreadable_urls_are_refused_with_a_reason),
        cmocka_unit_test(test_too_many_hosts_are_refused),
        cmocka_unit_test(test_only_names_need_a_lookup),
        cmocka_unit_test(test_found_addresses_are_texts_without_twins),
        cmocka_unit_test(test_dial_list_has_an_entry_for_each_address),
        cmocka_unit_test(test_dial_list_finds_where_libpq_is),
        cmocka_unit_test(test_open_survives_any_failing_allocation),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
