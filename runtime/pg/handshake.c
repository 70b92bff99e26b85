/* handshake.c - see handshake.h. */
#include "pg/handshake.h"

#include <assert.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/work.h"
#include "pg/part.h"
#include "pg/words.h"
#include "pool/ghost.h"

/* What a server says while it lets in is a warning or two. */
enum { NOTICES_MAX = 4, PARAMS_MAX = 16 };
enum { HEAR_OUT_READS = 4 }; /* of what it says to one that has gone */

struct notice {
    enum log_level level;
    bool is_last_word; /* why the connection is about to be lost */
    struct err_text text;
};

struct handshake {
    struct pg_link *link; /* NULL: abandoned */
    struct loop *loop;
    PGconn *pq;
    const char *const *keywords; /* of the first step; else NULL */
    const char *values[PARAMS_MAX];
    char *texts; /* of values */
    size_t texts_size;
    handshake_fn fn;
    PostgresPollingStatusType status;
    struct notice notices[NOTICES_MAX];
    unsigned n_notices;
};

/* ---- notices */

static const char *field(const PGresult *notice, int code)
{
    const char *text = PQresultErrorField(notice, code);

    return text != NULL ? text : "";
}

static enum log_level level_of(const char *severity)
{
    if (strcmp(severity, "WARNING") == 0)
        return LOG_WARN;
    return strcmp(severity, "DEBUG") == 0 ? LOG_DEBUG : LOG_INFO;
}

/* A FATAL between statements, or a warning of a crash, is a last word. */
static void read_notice(const PGresult *result, struct notice *notice)
{
    const char *message = field(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *sqlstate = field(result, PG_DIAG_SQLSTATE);

    if (message[0] == '\0')
        message = PQresultErrorMessage(result);
    *notice = (struct notice){ .level = level_of(field(
                                   result, PG_DIAG_SEVERITY_NONLOCALIZED)) };
    err_text_set(&notice->text, "%.*s", (int)strcspn(message, "\n"), message);
    if (strlen(sqlstate) == SQLSTATE_LEN)
        memcpy(notice->text.sqlstate, sqlstate, SQLSTATE_LEN);
    notice->is_last_word =
        link_is_fatal(result) || strncmp(sqlstate, "57P", 3) == 0;
}

static void take_notice(struct pg_link *link, const struct notice *notice)
{
    if (notice->is_last_word)
        link->last_words = notice->text;
    log_event(link->pg->log, notice->level, "notice",
              LOG_STR("pool", link->pg->name), LOG_INT("conn", link->conn.id),
              LOG_STR("text", notice->text.text),
              LOG_STR("sqlstate", notice->text.sqlstate));
}

static void on_notice(void *ud, const PGresult *result)
{
    struct notice notice;

    read_notice(result, &notice);
    take_notice(ud, &notice);
}

/* In a step's thread. */
static void on_early_notice(void *ud, const PGresult *result)
{
    struct handshake *handshake = ud;

    if (handshake->n_notices < NOTICES_MAX)
        read_notice(result, &handshake->notices[handshake->n_notices++]);
}

void handshake_hear_notices(struct pg_link *link)
{
    PQsetNoticeReceiver(link->pq, on_notice, link);
}

/* ---- a step */

static void start(struct handshake *handshake)
{
    PGconn *pq =
        PQconnectStartParams(handshake->keywords, handshake->values, 1);

    handshake->pq = pq;
    if (pq == NULL)
        return;
    PQsetErrorVerbosity(pq, PQERRORS_VERBOSE);
    handshake->status = PQstatus(pq) == CONNECTION_BAD ? PGRES_POLLING_FAILED
                                                       : PGRES_POLLING_WRITING;
}

static void on_run(void *ud)
{
    struct handshake *handshake = ud;

    if (handshake->keywords != NULL)
        start(handshake);
    else
        handshake->status = PQconnectPoll(handshake->pq);
}

/* What the server says yet is heard: else it would log that it could not. */
static void hear_out(int fd)
{
    struct pollfd item = { .fd = fd, .events = POLLIN };
    char bytes[4096];
    ssize_t got = 1;

    shutdown(fd, SHUT_WR);
    for (int i = 0; i < HEAR_OUT_READS && got > 0; i++)
        got = poll(&item, 1, PART_PATIENCE_MS) == 1
                  ? recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT)
                  : 0;
    close(fd);
}

/* In a thread, if there is one: of a link that is gone. */
static void on_finish(void *ud)
{
    struct handshake *handshake = ud;
    int fd = part_copy_socket(handshake->pq);

    PQfinish(handshake->pq);
    if (fd >= 0)
        hear_out(fd);
}

static void handshake_free(void *ud)
{
    struct handshake *handshake = ud;

    if (handshake->texts != NULL)
        explicit_bzero(handshake->texts, handshake->texts_size);
    free(handshake->texts);
    free(handshake);
}

static void on_done(void *ud)
{
    struct handshake *handshake = ud;
    PostgresPollingStatusType status = handshake->status;
    struct pg_link *link = handshake->link;
    handshake_fn fn = handshake->fn;

    if (link == NULL) {
        if (work_start(handshake->loop, on_finish, handshake_free, handshake) ==
            ERR_OK)
            return;
        on_finish(handshake);
        handshake_free(handshake);
        return;
    }
    link->pq = handshake->pq;
    if (link->pq != NULL)
        handshake_hear_notices(link);
    for (unsigned i = 0; i < handshake->n_notices; i++)
        take_notice(link, &handshake->notices[i]);
    handshake_free(handshake);
    fn(link, status);
}

static struct handshake *handshake_new(struct pg_link *link, handshake_fn fn)
{
    struct handshake *handshake = calloc(1, sizeof(*handshake));

    if (handshake == NULL)
        return NULL;
    handshake->link = link;
    handshake->loop = link->pg->loop;
    handshake->pq = link->pq;
    handshake->fn = fn;
    return handshake;
}

static enum err copy_values(struct handshake *handshake,
                            const char *const *keywords,
                            const char *const *values)
{
    size_t size = 1;
    char *at;

    for (size_t i = 0; keywords[i] != NULL; i++)
        size += values[i] != NULL ? strlen(values[i]) + 1 : 0;
    at = malloc(size);
    if (at == NULL)
        return ERR_NOMEM;
    handshake->keywords = keywords;
    handshake->texts = at;
    handshake->texts_size = size;
    for (size_t i = 0; keywords[i] != NULL; i++) {
        assert(i < PARAMS_MAX);
        if (values[i] == NULL)
            continue;
        handshake->values[i] = at;
        at = stpcpy(at, values[i]) + 1;
    }
    return ERR_OK;
}

enum err handshake_start(struct handshake **out, struct pg_link *link,
                         const char *const *keywords, const char *const *values,
                         handshake_fn fn)
{
    struct handshake *handshake = handshake_new(link, fn);
    enum err err;

    if (handshake == NULL)
        return ERR_NOMEM;
    err = copy_values(handshake, keywords, values);
    if (err == ERR_OK)
        err = work_start(link->pg->loop, on_run, on_done, handshake);
    if (err != ERR_OK) {
        handshake_free(handshake);
        return err;
    }
    *out = handshake;
    return ERR_OK;
}

enum err handshake_step(struct handshake **out, struct pg_link *link,
                        handshake_fn fn)
{
    struct handshake *handshake = handshake_new(link, fn);
    enum err err;

    if (handshake == NULL)
        return ERR_NOMEM;
    PQsetNoticeReceiver(link->pq, on_early_notice, handshake);
    err = work_start(link->pg->loop, on_run, on_done, handshake);
    if (err != ERR_OK) {
        handshake_hear_notices(link);
        handshake_free(handshake);
        return err;
    }
    *out = handshake;
    return ERR_OK;
}

void handshake_abandon(struct handshake *handshake)
{
    if (handshake == NULL)
        return;
    /* its server's process stays for as long as that takes */
    pool_conn_unsure(&handshake->link->conn);
    handshake->link->pq = NULL;
    handshake->link = NULL;
}
