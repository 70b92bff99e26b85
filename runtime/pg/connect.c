/*
 * connect.c - opens a link: when the names are looked up, libpq goes from
 * address to address, with TLS, passwords and all, each step in a thread; and
 * what an attempt tells of the servers.
 */
#include "pg/connect.h"
#include "net/watch.h"
#include "pg/heed.h"

#include "pool/driver.h"
#include "pool/ghost.h"
#include "pool/pool.h"

#include <stdlib.h>
#include <string.h>

/* ---- what an attempt says of the servers */

void connect_host_failed(struct pg_link *link, unsigned index)
{
    if (link->pg->book.count > 1) /* of one alone the pool knows by itself */
        pool_address_failed(link->pg->clock.pool, index, link_now(link));
}

/* Hosts of which no entry comes at or behind the place at were passed over. */
static void learn_passed_over(struct pg_link *link, unsigned at)
{
    const struct dial_list *dial = &link->connecting->dial;

    for (unsigned i = 0; i < at; i++) {
        bool is_last = true;

        for (unsigned j = i + 1; j < dial->count && is_last; j++)
            is_last = dial->owners[j] != dial->owners[i];
        if (is_last && dial->owners[i] != dial->owners[at])
            connect_host_failed(link, dial->owners[i]);
    }
}

/* Keeps which entry libpq is at: while it takes a step nobody may ask it. */
static void note_entry(struct pg_link *link)
{
    link->connecting->at =
        dial_list_find(&link->connecting->dial, PQhost(link->pq),
                       PQhostaddr(link->pq), PQport(link->pq));
}

static void learn_success(struct pg_link *link)
{
    const struct dial_list *dial = &link->connecting->dial;
    unsigned at = link->connecting->at;

    if (link->pg->book.count == 1 || at == dial->count)
        return;
    if (link->pg->book.is_ordered)
        learn_passed_over(link, at);
    pool_address_answered(link->pg->clock.pool, dial->owners[at]);
}

static void learn_failure(struct pg_link *link)
{
    const struct dial_list *dial = &link->connecting->dial;

    for (unsigned i = 0; i < dial->count; i++)
        if (i == 0 || dial->owners[i] != dial->owners[i - 1])
            connect_host_failed(link, dial->owners[i]);
}

/* It hung at one of them. */
static void learn_timeout(struct pg_link *link)
{
    const struct connecting *connecting = link->connecting;
    unsigned at;

    for (unsigned i = 0; i < link->pg->book.count; i++)
        if (connecting->lookups[i] != NULL)
            connect_host_failed(link, i);
    if (link->pq == NULL)
        return;
    at = connecting->at;
    if (at == connecting->dial.count)
        return;
    if (link->pg->book.is_ordered)
        learn_passed_over(link, at);
    connect_host_failed(link, connecting->dial.owners[at]);
}

static void end(struct pg_link *link)
{
    struct connecting *connecting = link->connecting;

    deadline_stop(link->pg->loop, &link->deadline);
    for (unsigned i = 0; i < POOL_ADDRESSES_MAX; i++)
        resolve_cancel(connecting->lookups[i]);
    dial_list_free(&connecting->dial);
    free(connecting);
    link->connecting = NULL;
}

void connect_abort(struct pg_link *link, enum close_reason reason)
{
    if (link->connecting == NULL)
        return;
    if (reason == CLOSE_CONNECT_TIMEOUT)
        learn_timeout(link);
    handshake_abandon(link->connecting->handshake);
    end(link);
}

/* ---- how it ends */

/* Takes "28P01: " out of "FATAL:  28P01: password ...", if it is there. */
static void take_sqlstate(char *line, struct err_text *text)
{
    static const char code_chars[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    char *at = line;

    while ((at = strstr(at, ":  ")) != NULL) {
        char *code = at + 3;
        char *rest = code + SQLSTATE_LEN;

        if (strspn(code, code_chars) == SQLSTATE_LEN &&
            strncmp(rest, ": ", 2) == 0) {
            memcpy(text->sqlstate, code, SQLSTATE_LEN);
            memmove(code, rest + 2, strlen(rest + 2) + 1);
            return;
        }
        at = code;
    }
}

/* A line that libpq adds: a guess at the reason, or where in its source the
 * server was. */
static bool is_aside(const char *line)
{
    return line[0] == '\t' || line[0] == '\0' ||
           strncmp(line, "LOCATION:", 9) == 0;
}

/*
 * libpq keeps no SQLSTATE of a failed connect but prints it when it is told to
 * be verbose.  There is a line for each server that it tried.
 */
static void read_error(const struct pg_link *link, struct err_text *text)
{
    char words[2 * ERR_TEXT_MAX];
    char *rest = words;
    char *line;
    struct buf out = { 0 };

    snprintf(words, sizeof(words), "%s", PQerrorMessage(link->pq));
    while ((line = strsep(&rest, "\n")) != NULL) {
        if (is_aside(line))
            continue;
        take_sqlstate(line, text);
        buf_printf(&out, "%s%s", out.len > 0 ? "; " : "", line);
    }
    err_text_set(text, "%.*s", (int)out.len, out.len > 0 ? out.data : "");
    buf_free(&out);
}

/* The link is gone afterwards. */
static void fail(struct pg_link *link, const struct err_text *why)
{
    struct err_text text = *why;

    learn_failure(link);
    end(link);
    pool_conn_failed(&link->conn, &text, link_now(link));
}

static void fail_by_libpq(struct pg_link *link)
{
    struct err_text text = { 0 };

    read_error(link, &text);
    link_heed(link, &text, false);
    fail(link, &text);
}

static void fail_by_memory(struct pg_link *link)
{
    struct err_text text = { 0 };

    err_text_set(&text, "%s", err_sentence(ERR_NOMEM));
    fail(link, &text);
}

static void succeed(struct pg_link *link)
{
    PQsetErrorVerbosity(link->pq, PQERRORS_DEFAULT);
    if (PQsetnonblocking(link->pq, 1) != 0 || link_begin(link) != ERR_OK) {
        fail_by_memory(link);
        return;
    }
    note_entry(link);
    learn_success(link);
    end(link);
    pool_conn_backend(&link->conn, PQbackendPID(link->pq));
    pool_conn_opened(&link->conn, link_now(link));
}

/* ---- libpq's steps */

static enum wait_phase phase_of(ConnStatusType status)
{
    switch (status) {
    case CONNECTION_NEEDED:
    case CONNECTION_STARTED: return WAIT_TCP;
    case CONNECTION_MADE:
    case CONNECTION_SSL_STARTUP:
    case CONNECTION_GSS_STARTUP: return WAIT_TLS;
    case CONNECTION_AWAITING_RESPONSE: return WAIT_AUTH;
    default: return WAIT_INIT;
    }
}

static void on_ready(struct watch *watch, int events, void *ud);

/* libpq may close its socket and open another with the same number in any
 * call, so a watch lasts from one call to the next. */
static enum err await(struct pg_link *link, PostgresPollingStatusType status)
{
    enum err err = watch_open(&link->watch, link->pg->loop, PQsocket(link->pq),
                              on_ready, link);

    note_entry(link);
    if (err != ERR_OK)
        return err;
    watch_want(link->watch,
               status == PGRES_POLLING_READING ? WATCH_READ : WATCH_WRITE);
    pool_conn_phase(&link->conn, phase_of(PQstatus(link->pq)), link_now(link));
    return ERR_OK;
}

static void on_step(struct pg_link *link, PostgresPollingStatusType status)
{
    link->connecting->handshake = NULL;
    if (link->pq == NULL) {
        fail_by_memory(link);
        return;
    }
    switch (status) {
    case PGRES_POLLING_OK: succeed(link); return;
    case PGRES_POLLING_READING:
    case PGRES_POLLING_WRITING:
        if (await(link, status) != ERR_OK)
            fail_by_memory(link);
        return;
    default: fail_by_libpq(link);
    }
}

static void on_ready(struct watch *watch, int events, void *ud)
{
    struct pg_link *link = ud;

    (void)events;
    watch_close(watch);
    link->watch = NULL;
    if (handshake_step(&link->connecting->handshake, link, on_step) != ERR_OK)
        fail_by_memory(link);
}

/* Ours come before the url, which overrides them, or behind it. */
static enum err start(struct pg_link *link)
{
    static const char *const keywords[] = {
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_count",
        "tcp_user_timeout",
        "dbname",
        "user",
        "password",
        "host",
        "hostaddr",
        "port",
        "client_encoding",
        "fallback_application_name",
        NULL,
    };
    const struct pg_pool *pg = link->pg;
    const struct dial_list *dial = &link->connecting->dial;
    bool has_keepalives = pg->book.has_keepalives;
    const char *const values[] = {
        has_keepalives ? NULL : "10",
        has_keepalives ? NULL : "5",
        has_keepalives ? NULL : "3",
        pg->book.has_user_timeout ? NULL : "10000",
        pg->book.url,
        pg->login.user, /* NULL is passed over */
        pg->login.password,
        dial->host.data,
        dial->hostaddr.data,
        dial->port.data,
        "UTF8",
        pg->application_name,
        NULL,
    };

    pool_conn_phase(&link->conn, WAIT_TCP, link_now(link));
    return handshake_start(&link->connecting->handshake, link, keywords, values,
                           on_step);
}

static unsigned wanted_count(const struct connecting *connecting)
{
    unsigned count = 0;

    for (unsigned i = 0; i < POOL_ADDRESSES_MAX; i++)
        count += connecting->is_wanted[i];
    return count;
}

static void on_share_over(struct deadline *deadline);

static void start_share(struct pg_link *link)
{
    const struct pool_settings *settings = pool_settings(link->pg->clock.pool);

    if (wanted_count(link->connecting) < 2 || link->pg->book.has_hostaddr)
        return;
    link->deadline.fn = on_share_over;
    deadline_start(link->pg->loop, &link->deadline,
                   link_now(link) +
                       settings->connect_timeout_ns / link->pg->book.count);
}

/* One host must not use up the time of all: goes on without the one that libpq
 * hangs at. */
static void on_share_over(struct deadline *deadline)
{
    struct pg_link *link = container_of(deadline, struct pg_link, deadline);
    struct connecting *connecting = link->connecting;
    unsigned at = connecting->at;

    if (at == connecting->dial.count) { /* the threads are busy */
        start_share(link);
        return;
    }
    if (wanted_count(connecting) < 2)
        return;
    connect_host_failed(link, connecting->dial.owners[at]);
    connecting->is_wanted[connecting->dial.owners[at]] = false;
    watch_close(link->watch);
    link->watch = NULL;
    handshake_abandon(connecting->handshake);
    connecting->handshake = NULL;
    PQfinish(link->pq); /* accepts NULL */
    link->pq = NULL;
    dial_list_free(&connecting->dial);
    connect_dial(link);
}

void connect_dial(struct pg_link *link)
{
    struct connecting *connecting = link->connecting;
    const struct address_book *book = &link->pg->book;

    deadline_stop(link->pg->loop, &link->deadline);
    connecting->is_dialled = true;
    for (unsigned i = 0; i < book->count; i++)
        if (connecting->is_wanted[i] && connecting->lookups[i] == NULL)
            dial_list_add(&connecting->dial, book, i, &connecting->ips[i]);
    if (connecting->dial.count == 0) {
        fail(link, &connecting->why);
        return;
    }
    connecting->at = connecting->dial.count;
    if (dial_list_end(&connecting->dial) == ERR_OK && start(link) == ERR_OK)
        start_share(link);
    else
        fail_by_memory(link);
}

static void begin(struct loop_job *job)
{
    lookup_begin(container_of(job, struct pg_link, job));
}

struct conn *connect_open(void *driver)
{
    struct pg_pool *pg = driver;
    struct pg_link *link = calloc(1, sizeof(*link));
    struct connecting *connecting = calloc(1, sizeof(*connecting));

    if (link == NULL || connecting == NULL) {
        free(link);
        free(connecting);
        return NULL;
    }
    link->pg = pg;
    link->connecting = connecting;
    stmts_init(&link->stmts, rand_next(&pg->rand));
    link_later(link, begin);
    return &link->conn;
}
