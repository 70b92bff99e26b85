/*
 * cancel.c - see cancel.h.
 *
 * libpq 17 can cancel without blocking.  Before it, a call that may hang takes
 * one of the threads, of which there are four unless UV_THREADPOOL_SIZE says
 * otherwise.
 */
#include "pg/cancel.h"

#include "net/watch.h"
#include "net/work.h"
#include "pg/link.h"

#include <stdlib.h>

#ifdef LIBPQ_HAS_ASYNC_CANCEL
enum { CANCELS_MAX = 16 }; /* at once */
typedef PGcancelConn cancel_handle;
#else
enum { CANCELS_MAX = 2 };
typedef PGcancel cancel_handle;
#endif

enum { WORDS_MAX = 256 };

/* Freed when it is over, which may be after the link has gone. */
struct link_cancel {
    struct list_node node; /* on pg->cancels while it waits */
    struct pg_pool *pg;
    struct pg_link *link; /* NULL: nobody waits for it */
    cancel_handle *handle;
    struct watch *watch;   /* of its socket, where we have that */
    struct loop_job job;   /* ends it when it could not begin */
    char words[WORDS_MAX]; /* why it failed; "" when it did not */
};

static void begin(struct link_cancel *cancel);
static void close_handle(struct link_cancel *cancel);

static void begin_next(struct pg_pool *pg)
{
    while (pg->cancels_running < CANCELS_MAX && pg->cancels.len > 0) {
        struct list_node *node = list_pop_front(&pg->cancels);

        pg->cancels_running++;
        begin(container_of(node, struct link_cancel, node));
    }
}

static void end(struct link_cancel *cancel)
{
    struct pg_link *link = cancel->link;
    struct pg_pool *pg = cancel->pg;
    struct err_text text = { 0 };

    err_text_set(&text, "%s", cancel->words);
    if (text.text[0] != '\0')
        log_event(pg->log, LOG_WARN, "cancel failed", LOG_STR("pool", pg->name),
                  LOG_STR("error", text.text));
    close_handle(cancel);
    free(cancel);
    pg->cancels_running--;
    begin_next(pg);
    if (link == NULL) {
        pg_pool_settle(pg);
        return;
    }
    link->cancel = NULL;
    link_settle(link);
}

static void end_job(struct loop_job *job)
{
    end(container_of(job, struct link_cancel, job));
}

/* From inside link_cancel_start() nobody may be told. */
static void end_later(struct link_cancel *cancel, const char *words)
{
    snprintf(cancel->words, sizeof(cancel->words), "%s", words);
    cancel->job.fn = end_job;
    loop_defer(cancel->pg->loop, LOOP_RUN, &cancel->job);
}

#ifdef LIBPQ_HAS_ASYNC_CANCEL

static cancel_handle *open_handle(const struct pg_link *link)
{
    return PQcancelCreate(link->pq);
}

static void close_handle(struct link_cancel *cancel)
{
    watch_close(cancel->watch);
    PQcancelFinish(cancel->handle);
}

static void on_ready(struct watch *watch, int events, void *ud);

/* As with connecting, a watch lasts from one call to the next. */
static void step(struct link_cancel *cancel, PostgresPollingStatusType status)
{
    enum err err;

    if (status == PGRES_POLLING_OK) {
        end_later(cancel, "");
        return;
    }
    if (status == PGRES_POLLING_FAILED) {
        end_later(cancel, PQcancelErrorMessage(cancel->handle));
        return;
    }
    err = watch_open(&cancel->watch, cancel->pg->loop,
                     PQcancelSocket(cancel->handle), on_ready, cancel);
    if (err != ERR_OK)
        end_later(cancel, err_sentence(err));
    else
        watch_want(cancel->watch,
                   status == PGRES_POLLING_READING ? WATCH_READ : WATCH_WRITE);
}

static void on_ready(struct watch *watch, int events, void *ud)
{
    struct link_cancel *cancel = ud;

    (void)events;
    watch_close(watch);
    cancel->watch = NULL;
    step(cancel, PQcancelPoll(cancel->handle));
}

static void begin(struct link_cancel *cancel)
{
    bool is_begun = PQcancelStart(cancel->handle) == 1;

    step(cancel, is_begun ? PGRES_POLLING_WRITING : PGRES_POLLING_FAILED);
}

#else

static cancel_handle *open_handle(const struct pg_link *link)
{
    return PQgetCancel(link->pq);
}

static void close_handle(struct link_cancel *cancel)
{
    PQfreeCancel(cancel->handle);
}

/* On another thread. */
static void run(void *ud)
{
    struct link_cancel *cancel = ud;

    if (PQcancel(cancel->handle, cancel->words, sizeof(cancel->words)) == 1)
        cancel->words[0] = '\0';
}

static void on_done(void *ud)
{
    end(ud);
}

static void begin(struct link_cancel *cancel)
{
    enum err err = work_start(cancel->pg->loop, run, on_done, cancel);

    if (err != ERR_OK)
        end_later(cancel, err_sentence(err));
}

#endif

void link_cancel_start(struct pg_link *link)
{
    struct pg_pool *pg = link->pg;
    struct link_cancel *cancel;

    if (link->cancel != NULL)
        return;
    cancel = calloc(1, sizeof(*cancel));
    if (cancel == NULL)
        return;
    cancel->pg = pg;
    cancel->link = link;
    cancel->handle = open_handle(link);
    if (cancel->handle == NULL) {
        free(cancel);
        return;
    }
    link->cancel = cancel;
    list_push_back(&pg->cancels, &cancel->node);
    begin_next(pg);
}

bool link_cancel_drop(struct pg_link *link)
{
    struct link_cancel *cancel = link->cancel;

    if (cancel == NULL)
        return true;
    if (!list_is_linked(&cancel->node))
        return false;
    list_remove(&link->pg->cancels, &cancel->node);
    link->cancel = NULL;
    close_handle(cancel);
    free(cancel);
    return true;
}

void link_cancel_detach(struct pg_link *link)
{
    if (link->cancel != NULL)
        link->cancel->link = NULL;
    link->cancel = NULL;
}
