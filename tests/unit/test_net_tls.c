/* test_net_tls.c - TLS on streams: who is trusted, what is carried, how it
 * ends. */
#include "oom.h"
#include "stream_line.h"

#include <stdio.h>
#include <stdlib.h>

static char dir[64]; /* of the certificates */

static const char *file(const char *name)
{
    static char paths[8][128];
    static unsigned at;
    char *path = paths[at++ % ARRAY_LEN(paths)];

    snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
    return path;
}

static struct tls_pair pair(const char *name)
{
    char certificate[64], key[64];

    snprintf(certificate, sizeof(certificate), "%s.pem", name);
    snprintf(key, sizeof(key), "%s.key", name);
    return (struct tls_pair){ file(certificate), file(key) };
}

static int make_certificates(void **state)
{
    char command[128];

    (void)state;
    make_dir(dir);
    snprintf(command, sizeof(command), "sh tests/certificates.sh %s", dir);
    return system(command);
}

static int drop_certificates(void **state)
{
    (void)state;
    drop_dir(dir);
    return 0;
}

/* ---- lines */

/* The server shows first, and second where that is not NULL. */
static void begin(struct line *line, const char *first, const char *second,
                  const struct tls_client *client, const char *host)
{
    struct tls_pair pairs[2] = { pair(first) };
    struct err_text why = { 0 };

    *line = (struct line){ .loop = make_loop(), .host = host };
    if (second != NULL)
        pairs[1] = pair(second);
    assert_ok(tls_context_new_server(&line->server_tls, pairs,
                                     second != NULL ? 2 : 1, &why));
    if (client != NULL)
        assert_ok(tls_context_new_client(&line->client_tls, client, &why));
    line->client.is_in_order = true;
    line->server.is_in_order = true;
    line_dial_tcp(line);
}

static void open_up(struct line *line)
{
    struct tls_client client = { .ca = file("ca.pem") };

    begin(line, "good", NULL, &client, "localhost");
    wait_for(line->loop, line->client.opens == 1 && line->server.opens == 1);
}

static void end(struct line *line)
{
    tls_context_free(line->server_tls);
    tls_context_free(line->client_tls);
    line_close(line);
}

static void test_stream_carries_bytes_both_ways_inside_of_tls(void **state)
{
    struct line line;

    (void)state;
    open_up(&line);
    line_say(&line.client, "ping");
    wait_for(line.loop, line_has(&line.server, 4));
    assert_buf(stream_in(line.server.stream), "ping");
    line_say(&line.server, "pong!");
    wait_for(line.loop, line_has(&line.client, 5));
    assert_buf(stream_in(line.client.stream), "pong!");
    assert_int_equal(stream_unsent(line.client.stream), 0);

    stream_close(line.client.stream);
    line.client.stream = NULL;
    wait_for(line.loop, line.server.ends == 1);
    assert_string_equal(line.server.text.text, "");
    end(&line);
}

static void test_stream_sends_in_tls_what_was_written_before(void **state)
{
    struct tls_client client = { .ca = file("ca.pem") };
    struct line line;

    (void)state;
    begin(&line, "good", NULL, &client, "localhost");
    line_say(&line.client, "early");
    wait_for(line.loop, line.server.data_calls > 0);

    assert_buf(stream_in(line.server.stream), "early");
    end(&line);
}

static void
test_stream_in_tls_keeps_what_a_paused_peer_does_not_take(void **state)
{
    enum { SIZE = 16 * 1024 * 1024 };
    struct line line;

    (void)state;
    open_up(&line);
    line.server.does_consume = true;
    stream_pause(line.server.stream);
    line_say_many(&line.client, SIZE);
    loop_turn(line.loop, 20);
    loop_turn(line.loop, 20);
    assert_true(stream_unsent(line.client.stream) > 0);
    assert_int_equal(line.server.data_calls, 0);

    stream_resume(line.server.stream);
    wait_for(line.loop, line.server.got == SIZE);
    assert_true(line.server.is_in_order);
    assert_int_equal(line.client.drains, 1);
    end(&line);
}

static void test_stream_in_tls_can_end_one_side(void **state)
{
    struct line line;

    (void)state;
    open_up(&line);
    line_say(&line.client, "last");
    stream_shutdown(line.client.stream);
    wait_for(line.loop, line.server.ends == 1);
    assert_string_equal(line.server.text.text, "");
    assert_buf(stream_in(line.server.stream), "last");
    line_say(&line.server, "answer");
    wait_for(line.loop, line_has(&line.client, 6));
    end(&line);
}

static void test_stream_in_tls_tells_a_cut_from_an_end(void **state)
{
    struct line line;

    (void)state;
    open_up(&line);
    line_say(&line.server, "unread bytes would make the end a reset");
    wait_for(line.loop, line.client.data_calls > 0);
    line_say(&line.client, "never sent, so that the end is none");
    stream_close(line.client.stream);
    line.client.stream = NULL;

    wait_for(line.loop, line.server.ends == 1);
    assert_non_null(strstr(line.server.text.text, "cut without a word"));
    end(&line);
}

/* ---- who is trusted */

static const struct {
    const char *shown, *also, *host;
    const char *why; /* NULL: it is trusted */
    bool has_system_roots, is_insecure;
} servers[] = {
    { .shown = "good", .host = "localhost" },
    { .shown = "good", .host = "127.0.0.1" },
    { .shown = "good", .host = "::1", .why = "IP address mismatch" },
    { .shown = "good", .host = "127.0.0.2", .why = "IP address mismatch" },
    { .shown = "good", .host = "example.org", .why = "ostname mismatch" },
    { .shown = "other", .host = "localhost", .why = "ostname mismatch" },
    { .shown = "expired", .host = "localhost", .why = "has expired" },
    { .shown = "self", .host = "localhost", .why = "self" },
    { .shown = "good",
      .host = "localhost",
      .has_system_roots = true,
      .why = "unable to get local issuer certificate" },
    { .shown = "self", .host = "localhost", .is_insecure = true },
    { .shown = "expired", .host = "elsewhere", .is_insecure = true },
    /* by name */
    { .shown = "good", .also = "other", .host = "localhost" },
    { .shown = "good", .also = "other", .host = "other.example" },
    { .shown = "good", .also = "other", .host = "a.wild.example" },
    { .shown = "good",
      .also = "other",
      .host = "a.b.wild.example",
      .why = "ostname mismatch" },
    { .shown = "other", .also = "good", .host = "localhost" },
    { .shown = "other",
      .also = "good",
      .host = "nobody.example",
      .why = "ostname mismatch" },
};

static void test_client_trusts_a_server_that_is_who_it_dialled(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(servers); i++) {
        struct tls_client client = {
            .ca = servers[i].has_system_roots ? NULL : file("ca.pem"),
            .is_insecure = servers[i].is_insecure,
        };
        struct line line;

        begin(&line, servers[i].shown, servers[i].also, &client,
              servers[i].host);
        wait_for(line.loop, line.client.opens + line.client.ends == 1);
        if (servers[i].why == NULL) {
            assert_string_equal(line.client.text.text, "");
            assert_int_equal(line.client.opens, 1);
        } else {
            assert_int_equal(line.client.opens, 0);
            assert_non_null(strstr(line.client.text.text, "not trusted"));
            if (strstr(line.client.text.text, servers[i].why) == NULL)
                fail_msg("row %zu: %s", i, line.client.text.text);
            wait_for(line.loop, line.server.ends == 1);
        }
        end(&line);
    }
}

static void test_a_peer_without_tls_ends_with_a_reason(void **state)
{
    struct line line;

    (void)state;
    begin(&line, "good", NULL, NULL, NULL);
    line_say(&line.client, "GET / HTTP/1.1\r\n\r\n");
    wait_for(line.loop, line.server.ends == 1);

    assert_int_equal(line.server.opens, 0);
    assert_non_null(strstr(line.server.text.text, "no TLS with 127.0.0.1:"));
    assert_non_null(strstr(line.server.text.text, "http request"));
    end(&line);
}

static void test_a_peer_that_leaves_in_the_handshake_is_told_of(void **state)
{
    struct line line;

    (void)state;
    begin(&line, "good", NULL, NULL, NULL);
    wait_for(line.loop, line.client.opens == 1 && line.accepts == 1);
    stream_close(line.client.stream);
    line.client.stream = NULL;
    wait_for(line.loop, line.server.ends == 1);

    assert_non_null(strstr(line.server.text.text, "left in the TLS handshake"));
    end(&line);
}

/* ---- files */

static void write_file(const char *name, const char *text)
{
    FILE *out = fopen(file(name), "w");

    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

static void test_server_names_the_file_that_is_wrong(void **state)
{
    static const struct {
        const char *certificate, *key, *why;
    } rows[] = {
        { "none.pem", "good.key", "none.pem: No such file" },
        { "good.pem", "none.key", "none.key: No such file" },
        { "empty.pem", "good.key", "empty.pem: no start line" },
        { "good.key", "good.key", "certificate " },
        { "good.pem", "good.pem", "key " },
        { "good.pem", "other.key", "not the key of its certificate" },
        { "good.pem", "locked.key", "without a passphrase" },
    };
    char command[300];

    (void)state;
    write_file("empty.pem", "");
    snprintf(command, sizeof(command),
             "openssl pkcs8 -topk8 -in %s -out %s -passout pass:secret",
             file("good.key"), file("locked.key"));
    assert_int_equal(system(command), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tls_pair one = { file(rows[i].certificate), file(rows[i].key) };
        struct tls_context *context = NULL;
        struct err_text why = { 0 };

        assert_err(tls_context_new_server(&context, &one, 1, &why), ERR_BADARG);
        assert_null(context);
        if (strstr(why.text, rows[i].why) == NULL)
            fail_msg("row %zu: %s", i, why.text);
    }
}

static void test_client_names_the_file_that_is_wrong(void **state)
{
    struct tls_client no_ca = { .ca = file("good.key") };
    struct tls_client no_pair = {
        .ca = file("ca.pem"), .pair = { file("good.pem"), file("other.key") }
    };
    struct tls_context *context;
    struct err_text why = { 0 };

    (void)state;
    assert_err(tls_context_new_client(&context, &no_ca, &why), ERR_BADARG);
    assert_non_null(strstr(why.text, "CA file "));
    assert_err(tls_context_new_client(&context, &no_pair, &why), ERR_BADARG);
    assert_non_null(strstr(why.text, "not the key of its certificate"));
}

static void test_server_tells_names_and_ends_of_its_certificates(void **state)
{
    struct tls_pair pairs[] = { pair("expired"), pair("other") };
    struct tls_context *context;
    struct err_text why;
    int64_t expired_s, other_s;
    char name[64];

    (void)state;
    assert_ok(tls_context_new_server(&context, pairs, 2, &why));
    assert_true(
        tls_context_certificate(context, 0, &expired_s, name, sizeof(name)));
    assert_string_equal(name, "localhost");
    assert_true(
        tls_context_certificate(context, 1, &other_s, name, sizeof(name)));
    assert_string_equal(name, "other.example");
    assert_false(
        tls_context_certificate(context, 2, &other_s, name, sizeof(name)));
    assert_in_range(other_s - expired_s, 31 * 86400 - 60, 31 * 86400 + 60);
    tls_context_free(context);
}

static void test_context_says_nomem(void **state)
{
    struct tls_pair one = pair("good");
    struct tls_client client = { .ca = file("ca.pem") };
    struct tls_context *context;
    struct err_text why;
    enum err err;

    (void)state;
    for (unsigned n = 1;; n++) {
        oom_fail_at(n);
        err = tls_context_new_server(&context, &one, 1, &why);
        oom_off();
        if (!oom_happened())
            break;
        assert_err(err, ERR_NOMEM);
    }
    assert_ok(err);
    tls_context_free(context);
    oom_fail_at(1);
    err = tls_context_new_client(&context, &client, &why);
    oom_off();
    assert_err(err, ERR_NOMEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream_carries_bytes_both_ways_inside_of_tls),
        cmocka_unit_test(test_stream_sends_in_tls_what_was_written_before),
        cmocka_unit_test(
            test_stream_in_tls_keeps_what_a_paused_peer_does_not_take),
        cmocka_unit_test(test_stream_in_tls_can_end_one_side),
        cmocka_unit_test(test_stream_in_tls_tells_a_cut_from_an_end),
        cmocka_unit_test(test_client_trusts_a_server_that_is_who_it_dialled),
        cmocka_unit_test(test_a_peer_without_tls_ends_with_a_reason),
        cmocka_unit_test(test_a_peer_that_leaves_in_the_handshake_is_told_of),
        cmocka_unit_test(test_server_names_the_file_that_is_wrong),
        cmocka_unit_test(test_client_names_the_file_that_is_wrong),
        cmocka_unit_test(test_server_tells_names_and_ends_of_its_certificates),
        cmocka_unit_test(test_context_says_nomem),
    };

    return cmocka_run_group_tests(tests, make_certificates, drop_certificates);
}
