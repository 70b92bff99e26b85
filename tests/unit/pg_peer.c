/* pg_peer.c - see pg_peer.h: the server's side. */
#include "pg_peer.h"

#include "turns.h"
#include "unit.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <strings.h>

enum {
    STARTUP = 196608,
    CANCEL = 80877102,
    INT4 = 23,
    TEXT = 25,
    HEAD_LEN = 5 /* a type and a length */
};

static void drop(struct peer_conn *conn)
{
    struct stream *stream = conn->stream;

    conn->stream = NULL;
    if (stream != NULL)
        stream_close(stream);
}

/* ---- writing */

static void put_int(struct buf *out, uint32_t number, int bytes)
{
    for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8)
        buf_put_char(out, (char)(number >> shift & 0xFF));
}

static void put_text(struct buf *out, const char *text)
{
    buf_put(out, text, strlen(text) + 1);
}

static void say(struct peer_conn *conn, char type, const struct buf *body)
{
    struct buf *out = stream_out(conn->stream);

    buf_put_char(out, type);
    put_int(out, (uint32_t)body->len + 4, 4);
    buf_put(out, body->data, body->len);
    stream_flush(conn->stream);
}

static void say_bytes(struct peer_conn *conn, char type, const char *bytes,
                      size_t len)
{
    struct buf body = { 0 };

    buf_put(&body, bytes, len);
    say(conn, type, &body);
    buf_free(&body);
}

static void say_empty(struct peer_conn *conn, char type)
{
    say_bytes(conn, type, "", 0);
}

static void say_tag(struct peer_conn *conn, const char *tag)
{
    const char *garbles = conn->peer->garbles;
    bool is_garbled = garbles != NULL && strcmp(conn->sql, garbles) == 0;

    if (is_garbled)
        conn->peer->garbles = NULL;
    say_bytes(conn, is_garbled ? '?' : 'C', tag, strlen(tag) + 1);
}

static void say_ready(struct peer_conn *conn)
{
    conn->is_failed = false;
    say_bytes(conn, 'Z', &conn->tx, 1);
}

static void say_error(struct peer_conn *conn, const char *severity,
                      const char *sqlstate, const char *where)
{
    const char *const texts[] = { severity, severity, sqlstate,
                                  "the peer's words", where };
    const char fields[] = { 'S', 'V', 'C', 'M', 'R' };
    struct buf body = { 0 };

    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (texts[i] == NULL)
            continue;
        buf_put_char(&body, fields[i]);
        put_text(&body, texts[i]);
    }
    buf_put_char(&body, '\0');
    say(conn, 'E', &body);
    buf_free(&body);
}

static void refuse(struct peer_conn *conn, const char *sqlstate,
                   const char *where)
{
    say_error(conn, "ERROR", sqlstate, where);
    conn->is_failed = true;
    if (conn->tx == 'T')
        conn->tx = 'E';
}

static void say_row(struct peer_conn *conn, const char *text)
{
    struct buf body = { 0 };

    put_int(&body, 1, 2);
    put_int(&body, (uint32_t)strlen(text), 4);
    buf_put_str(&body, text);
    say(conn, 'D', &body);
    buf_free(&body);
}

static void say_columns(struct peer_conn *conn, uint32_t count)
{
    struct buf body = { 0 };

    put_int(&body, count, 2);
    for (uint32_t i = 0; i < count; i++) {
        put_text(&body, "sql");
        put_int(&body, 0, 4);
        put_int(&body, 0, 2);
        put_int(&body, TEXT, 4);
        put_int(&body, UINT32_MAX, 2);
        put_int(&body, UINT32_MAX, 4);
        put_int(&body, 0, 2);
    }
    say(conn, 'T', &body);
    buf_free(&body);
}

static void say_params(struct peer_conn *conn, const char *sql)
{
    struct buf body = { 0 };
    uint32_t count = 0;

    for (const char *at = strchr(sql, '$'); at != NULL;
         at = strchr(at + 1, '$'))
        count++;
    put_int(&body, count, 2);
    for (uint32_t i = 0; i < count; i++)
        put_int(&body, INT4, 4);
    say(conn, 't', &body);
    buf_free(&body);
}

/* ---- statements */

static struct peer_stmt *stmt_named(struct peer_conn *conn, const char *name,
                                    bool is_new)
{
    for (size_t i = 0; i < ARRAY_LEN(conn->stmts); i++) {
        struct peer_stmt *stmt = &conn->stmts[i];

        if (stmt->sql[0] != '\0' && strcmp(stmt->name, name) == 0)
            return stmt;
    }
    for (size_t i = 0; is_new && i < ARRAY_LEN(conn->stmts); i++)
        if (conn->stmts[i].sql[0] == '\0')
            return &conn->stmts[i];
    return NULL;
}

/* The list of functions, of which the peer has none. */
static bool is_names(const char *sql)
{
    return strncmp(sql, "SELECT name,", 12) == 0;
}

static bool gives_rows(const char *sql)
{
    static const char *const none[] = { "begin",   "rollback",   "ROLLBACK",
                                        "set",     "commit",     "copy",
                                        "DISCARD", "DEALLOCATE", "SET",
                                        "RESET" };

    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        if (strncmp(sql, none[i], strlen(none[i])) == 0)
            return false;
    return true;
}

static void deallocate(struct peer_conn *conn, const char *name)
{
    struct peer_stmt *stmt = stmt_named(conn, name, false);

    if (stmt == NULL) {
        refuse(conn, "26000", "FetchPreparedStatement");
        return;
    }
    stmt->sql[0] = '\0';
    say_tag(conn, "DEALLOCATE");
}

static void execute(struct peer_conn *conn, const char *sql)
{
    if (strcmp(sql, "begin") == 0) {
        conn->tx = 'T';
        say_tag(conn, "BEGIN");
    } else if (strcmp(sql, "rollback") == 0 || strcmp(sql, "ROLLBACK") == 0) {
        conn->tx = 'I';
        say_tag(conn, "ROLLBACK");
    } else if (strncmp(sql, "ROLLBACK TO ", 12) == 0) {
        refuse(conn, "3B001", NULL);
    } else if (is_names(sql) || (conn->peer->is_pooler &&
                                 strstr(sql, "pg_backend_pid()") != NULL)) {
        say_tag(conn, "SELECT 0");
    } else if (strncasecmp(sql, "set", 3) == 0 ||
               strncmp(sql, "RESET", 5) == 0) {
        say_tag(conn, "SET");
    } else if (strcmp(sql, "DISCARD ALL") == 0) {
        memset(conn->stmts, 0, sizeof(conn->stmts));
        say_tag(conn, "DISCARD ALL");
    } else if (strncmp(sql, "DEALLOCATE ", 11) == 0) {
        deallocate(conn, sql + 11);
    } else if (strcmp(sql, "copy in") == 0) {
        say_bytes(conn, 'G', "\0\0\0", 3);
        conn->is_copying = true;
    } else if (strcmp(sql, "copy out") == 0) {
        say_bytes(conn, 'H', "\0\0\0", 3);
        say_bytes(conn, 'd', "1\n", 2);
        conn->is_holding = true;
    } else {
        say_row(conn, sql);
        say_tag(conn, "SELECT 1");
    }
}

/* ---- messages */

static void note(struct peer_conn *conn, char type, const char *text)
{
    size_t len = strlen(conn->heard);

    snprintf(conn->heard + len, sizeof(conn->heard) - len, "%c%s%.60s ", type,
             text[0] != '\0' ? ":" : "", text);
}

static void on_parse(struct peer_conn *conn, const char *body)
{
    const char *sql = body + strlen(body) + 1;
    const char *sqlstate = conn->peer->fail_parse;
    struct peer_stmt *stmt;

    note(conn, 'P', sql);
    conn->peer->fail_parse = NULL;
    if (sqlstate == NULL && strcmp(sql, "bad") == 0)
        sqlstate = "42601";
    if (sqlstate != NULL) {
        refuse(conn, sqlstate, NULL);
        return;
    }
    stmt = stmt_named(conn, body, true);
    assert_non_null(stmt);
    snprintf(stmt->name, sizeof(stmt->name), "%.60s", body);
    snprintf(stmt->sql, sizeof(stmt->sql), "%.120s", sql);
    say_empty(conn, '1');
}

/* A portal is described with its Bind, and is not noted. */
static void on_describe(struct peer_conn *conn, const char *body)
{
    const struct peer_stmt *stmt;
    const char *sql = conn->sql;
    const char *sqlstate = conn->peer->fail_describe;

    if (body[0] == 'S') {
        note(conn, 'D', "");
        conn->peer->fail_describe = NULL;
        if (sqlstate != NULL) {
            refuse(conn, sqlstate, conn->peer->fail_where);
            return;
        }
        stmt = stmt_named(conn, body + 1, false);
        assert_non_null(stmt);
        sql = stmt->sql;
        say_params(conn, sql);
        conn->is_holding = strncmp(sql, "hold parse", 10) == 0;
    }
    if (gives_rows(sql))
        say_columns(conn, is_names(sql) ? 2 : 1);
    else
        say_empty(conn, 'n');
}

static void on_bind(struct peer_conn *conn, const char *body)
{
    const char *name = body + strlen(body) + 1;
    const struct peer_stmt *stmt = stmt_named(conn, name, false);
    const char *sqlstate = conn->peer->fail_bind;

    note(conn, 'B', "");
    conn->peer->fail_bind = NULL;
    if (sqlstate != NULL) {
        refuse(conn, sqlstate, conn->peer->fail_where);
        return;
    }
    if (conn->peer->is_old && name[0] != '\0') {
        refuse(conn, "0A000", "RevalidateCachedQuery");
        return;
    }
    if (stmt == NULL) {
        refuse(conn, "26000", "FetchPreparedStatement");
        return;
    }
    snprintf(conn->sql, sizeof(conn->sql), "%s", stmt->sql);
    say_empty(conn, '2');
}

static void on_execute(struct peer_conn *conn)
{
    const char *hold = conn->peer->hold;

    note(conn, 'E', "");
    if (strcmp(conn->sql, "hold") == 0 ||
        (hold != NULL && strncmp(conn->sql, hold, strlen(hold)) == 0))
        conn->is_holding = true;
    else
        execute(conn, conn->sql);
}

static void on_close(struct peer_conn *conn, const char *body)
{
    struct peer_stmt *stmt = stmt_named(conn, body + 1, false);

    note(conn, 'C', body + 1);
    if (stmt != NULL)
        stmt->sql[0] = '\0';
    say_empty(conn, '3');
}

static void on_query(struct peer_conn *conn, const char *sql)
{
    note(conn, 'Q', sql);
    if (sql[0] == '\0')
        say_empty(conn, 'I');
    else
        execute(conn, sql);
    say_ready(conn);
}

static void hear(struct peer_conn *conn, char type, const char *body)
{
    if (conn->is_failed && type != 'S')
        return;
    switch (type) {
    case 'P': on_parse(conn, body); break;
    case 'D': on_describe(conn, body); break;
    case 'B': on_bind(conn, body); break;
    case 'E': on_execute(conn); break;
    case 'C': on_close(conn, body); break;
    case 'Q': on_query(conn, body); break;
    case 'f':
        conn->is_copying = false;
        refuse(conn, "57014", NULL);
        break;
    case 'S':
        if (conn->is_copying)
            break;
        note(conn, 'S', "");
        say_ready(conn);
        break;
    case 'X': break; /* the end of the stream follows */
    default: fail_msg("the peer heard %c", type);
    }
}

/* ---- connections */

static void greet(struct peer_conn *conn)
{
    uint32_t index = (uint32_t)(conn - conn->peer->conns);
    struct buf key = { 0 };

    conn->is_started = true;
    if (conn->peer->is_silent)
        return;
    if (conn->peer->refuse != NULL) {
        say_error(conn, "FATAL", conn->peer->refuse, "InitPostgres");
        pg_peer_cut(conn);
        return;
    }
    say_bytes(conn, 'R', "\0\0\0\0", 4);
    say_bytes(conn, 'S', "server_version\00015.0", 20);
    put_int(&key, index + 1, 4);
    put_int(&key, 4711, 4);
    say(conn, 'K', &key);
    buf_free(&key);
    conn->tx = 'I';
    say_ready(conn);
}

static void on_cancel(struct peer_conn *conn, uint32_t pid)
{
    struct peer *peer = conn->peer;
    struct peer_conn *meant = &peer->conns[pid - 1];

    peer->n_cancels++;
    conn->is_cancel = true;
    if (!peer->is_deaf && meant->stream != NULL && meant->is_holding) {
        refuse(meant, "57014", NULL);
        meant->is_holding = false;
        pg_peer_go(meant);
    }
    if (!peer->is_slow)
        pg_peer_cut(conn);
}

static uint32_t get_int(const char *bytes)
{
    uint32_t number;

    memcpy(&number, bytes, sizeof(number));
    return ntohl(number);
}

/* True when a whole message was there. */
static bool hear_next(struct peer_conn *conn)
{
    struct buf *in = stream_in(conn->stream);
    size_t head = conn->is_started ? 1 : 0;
    char body[1024] = { 0 };
    uint32_t len;
    char type;

    if (in->len < head + 4)
        return false;
    len = get_int(in->data + head);
    if (in->len < head + len)
        return false;
    assert_in_range(len, 4, sizeof(body));
    type = in->data[0];
    memcpy(body, in->data + head + 4, len - 4);
    buf_consume(in, head + len);
    if (conn->is_started)
        hear(conn, type, body);
    else if (get_int(body) == STARTUP)
        greet(conn);
    else if (get_int(body) == CANCEL)
        on_cancel(conn, get_int(body + 4));
    return true;
}

static void hear_all(struct peer_conn *conn)
{
    while (conn->stream != NULL && !conn->is_holding && hear_next(conn))
        continue;
}

static void on_data(struct stream *stream, void *ud)
{
    struct peer_conn *conn = ud;

    (void)stream;
    conn->reads += conn->is_started;
    hear_all(conn);
}

static void on_end(struct stream *stream, const struct err_text *text, void *ud)
{
    (void)stream;
    (void)text;
    drop(ud);
}

/* What was said before a cut has been sent. */
static void on_drained(struct stream *stream, void *ud)
{
    struct peer_conn *conn = ud;

    (void)stream;
    if (conn->is_ending)
        drop(conn);
}

static void on_accept(struct listener *listener, struct stream *stream,
                      void *ud)
{
    static const struct stream_events events = {
        .on_data = on_data,
        .on_end = on_end,
        .on_drained = on_drained,
    };
    struct peer *peer = ud;
    struct peer_conn *conn = &peer->conns[peer->n_conns];

    (void)listener;
    assert_in_range(peer->n_conns, 0, PEER_CONNS_MAX - 1);
    peer->n_conns++;
    conn->peer = peer;
    conn->stream = stream;
    stream_set_events(stream, &events, conn);
}

/* ---- the test's side */

void pg_peer_open(struct peer *peer, struct loop *loop)
{
    char address[128];
    struct err_text why;

    peer->loop = loop;
    make_dir(peer->dir);
    snprintf(address, sizeof(address), "unix:%s/.s.PGSQL.5432", peer->dir);
    snprintf(peer->url, sizeof(peer->url), "host=%s user=u dbname=d",
             peer->dir);
    assert_ok(
        listener_open(&peer->listener, loop, address, on_accept, peer, &why));
}

void pg_peer_close(struct peer *peer)
{
    for (unsigned i = 0; i < peer->n_conns; i++)
        drop(&peer->conns[i]);
    listener_close(peer->listener);
    drop_dir(peer->dir);
}

void pg_peer_go(struct peer_conn *conn)
{
    if (conn->is_holding) {
        conn->is_holding = false;
        if (strcmp(conn->sql, "hold") == 0)
            execute(conn, "held");
    }
    hear_all(conn);
}

void pg_peer_cut(struct peer_conn *conn)
{
    conn->is_ending = true;
    if (conn->stream != NULL && stream_unsent(conn->stream) == 0)
        drop(conn);
}

void pg_peer_kill(struct peer_conn *conn, const char *sqlstate)
{
    say_error(conn, "FATAL", sqlstate, "ProcessInterrupts");
    pg_peer_cut(conn);
}

void pg_peer_notify(struct peer_conn *conn)
{
    struct buf body = { 0 };

    put_int(&body, 1, 4);
    put_text(&body, "channel");
    put_text(&body, "payload");
    say(conn, 'A', &body);
    buf_free(&body);
}

void pg_peer_answer_cancels(struct peer *peer)
{
    for (unsigned i = 0; i < peer->n_conns; i++)
        if (peer->conns[i].is_cancel)
            pg_peer_cut(&peer->conns[i]);
}

void pg_peer_forget(struct peer_conn *conn)
{
    conn->heard[0] = '\0';
    conn->reads = 0;
}
