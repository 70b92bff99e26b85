/* cancel.c - see cancel.h. */
#include "pg/cancel.h"

#include "pg/cancel_call.h"
#include "pg/link.h"
#include "pg/phase.h"

#include <stdlib.h>

enum { CANCELS_MAX = 8 }; /* at once */

/* Then it is given up, and with it the link, if that is still there. */
static const uint64_t CANCEL_LIMIT_NS = 5 * (uint64_t)1000000000;

/* Freed when it is over, which may be after the link has gone. */
struct link_cancel {
    struct list_node node; /* on pg->cancels while it waits */
    struct pg_pool *pg;
    struct pg_link *link; /* NULL: nobody waits for it */
    struct cancel_call *call;
    struct deadline deadline;
};

static void begin(struct link_cancel *cancel);

static void begin_next(struct pg_pool *pg)
{
    while (pg->cancels_running < CANCELS_MAX && pg->cancels.len > 0) {
        struct list_node *node = list_pop_front(&pg->cancels);

        pg->cancels_running++;
        begin(container_of(node, struct link_cancel, node));
    }
}

static void free_cancel(struct link_cancel *cancel)
{
    cancel_call_free(cancel->call);
    free(cancel);
}

/* words is "" when all is well.  The link that is returned, or NULL, has yet to
 * be told. */
static struct pg_link *end(struct link_cancel *cancel, const char *words)
{
    struct pg_link *link = cancel->link;
    struct pg_pool *pg = cancel->pg;
    struct err_text text = { 0 };

    err_text_set(&text, "%s", words);
    if (text.text[0] != '\0')
        log_event(pg->log, LOG_WARN, "cancel failed", LOG_STR("pool", pg->name),
                  LOG_STR("error", text.text));
    deadline_stop(pg->loop, &cancel->deadline);
    free_cancel(cancel);
    pg->cancels_running--;
    begin_next(pg);
    if (link != NULL)
        link->cancel = NULL;
    else
        pg_pool_settle(pg);
    return link;
}

static void on_done(void *ud, const char *words)
{
    struct pg_link *link = end(ud, words);

    if (link != NULL)
        link_settle(link);
}

/* It may reach the server at any time from now on: nothing else may run. */
static void on_deadline(struct deadline *deadline)
{
    struct link_cancel *cancel =
        container_of(deadline, struct link_cancel, deadline);
    struct pg_link *link = end(cancel, "the server did not answer in time");

    if (link == NULL)
        return;
    if (link->phase != LINK_BROKEN)
        link_break(link);
    link_settle(link);
}

static void begin(struct link_cancel *cancel)
{
    struct loop *loop = cancel->pg->loop;

    cancel->deadline.fn = on_deadline;
    deadline_start(loop, &cancel->deadline,
                   loop_now_ns(loop) + CANCEL_LIMIT_NS);
    cancel_call_begin(cancel->call, loop, on_done, cancel);
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
    cancel->call = cancel_call_new(link->pq);
    if (cancel->call == NULL) {
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
    if (link->cancel != NULL)
        link->cancel->link = NULL;
    link->cancel = NULL;
}
