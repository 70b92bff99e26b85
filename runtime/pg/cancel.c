/* cancel.c - see cancel.h. */
#include "pg/cancel.h"

#include "net/work.h"
#include "pg/link.h"

#include <stdlib.h>

/* Of the threads, four unless UV_THREADPOOL_SIZE says otherwise. */
enum { CANCELS_MAX = 2, WORDS_MAX = 256 };

/* Freed when it comes back, which may be after the link has gone. */
struct link_cancel {
    struct list_node node; /* on pg->cancels while it waits */
    struct pg_pool *pg;
    struct pg_link *link; /* NULL: nobody waits for it */
    PGcancel *handle;
    bool is_sent;
    char words[WORDS_MAX]; /* libpq's, when it was not */
};

static void free_cancel(struct link_cancel *cancel)
{
    PQfreeCancel(cancel->handle);
    free(cancel);
}

/* On another thread. */
static void run(void *ud)
{
    struct link_cancel *cancel = ud;

    cancel->is_sent =
        PQcancel(cancel->handle, cancel->words, sizeof(cancel->words)) == 1;
}

static void begin_next(struct pg_pool *pg);

static void on_done(void *ud)
{
    struct link_cancel *cancel = ud;
    struct pg_link *link = cancel->link;
    struct pg_pool *pg = cancel->pg;

    pg->cancels_running--;
    if (!cancel->is_sent)
        log_event(pg->log, LOG_WARN, "cancel failed", LOG_STR("pool", pg->name),
                  LOG_STR("error", cancel->words));
    free_cancel(cancel);
    begin_next(pg);
    if (link == NULL) {
        pg_pool_settle(pg);
        return;
    }
    link->cancel = NULL;
    link_settle(link);
}

/* Without a thread it stays undone: the pool or the request has a deadline. */
static void begin(struct link_cancel *cancel)
{
    struct pg_pool *pg = cancel->pg;

    if (work_start(pg->loop, run, on_done, cancel) == ERR_OK) {
        pg->cancels_running++;
        return;
    }
    cancel->link->cancel = NULL;
    free_cancel(cancel);
}

static void begin_next(struct pg_pool *pg)
{
    while (pg->cancels_running < CANCELS_MAX && pg->cancels.len > 0)
        begin(container_of(list_pop_front(&pg->cancels), struct link_cancel,
                           node));
}

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
    cancel->handle = PQgetCancel(link->pq);
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
    free_cancel(cancel);
    return true;
}

void link_cancel_detach(struct pg_link *link)
{
    if (link_cancel_drop(link))
        return;
    link->cancel->link = NULL;
    link->cancel = NULL;
}
