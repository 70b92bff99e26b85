/* operation.c - see operation.h: what acquires, statements and commands have in
 * common, from the call to the answer. */
#include "host/operation.h"

#include "pool/stats.h"
#include "pool/why.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void tide_how_init_sized(tide_how *how, size_t size)
{
    memset(how, 0, size);
    how->size = size;
}

/* ---- beginning */

static bool take_how(tide_how *own, const tide_how *how)
{
    tide_how_init(own);
    if (how == NULL)
        return true;
    if (how->size < offsetof(tide_how, timeout_ms))
        return false;
    memcpy(own, how, how->size < sizeof(*own) ? how->size : sizeof(*own));
    return true;
}

static int check_how(tide_pool *pool, const tide_how *how, tide_how *own,
                     tide_answer_fn fn)
{
    tide_runtime *runtime = pool->runtime;
    int code = host_enter(runtime);

    if (code != TIDE_OK)
        return code;
    if (runtime->is_closed)
        return host_fail(runtime, TIDE_CLOSED, "the runtime is drained");
    if (host_pool_live(pool) == NULL)
        return host_fail(runtime, TIDE_CLOSED, "pool \"%s\" is closed",
                         pool->name);
    if (fn == NULL || !take_how(own, how))
        return host_fail(runtime, TIDE_BADARG,
                         "a callback, and a tide_how from tide_how_init() "
                         "expected");
    if (own->lease == NULL)
        return TIDE_OK;
    if (own->lease->conn == NULL)
        return host_fail(runtime, TIDE_CLOSED,
                         own->lease->is_reclaimed
                             ? "this connection, acquired at %s, was taken "
                               "back: it was held longer than leak_reclaim"
                             : "the pool closed this connection, acquired at "
                               "%s",
                         own->lease->site);
    if (own->lease->from != pool)
        return host_fail(runtime, TIDE_BADARG,
                         "the lease is of another pool than \"%s\"",
                         pool->name);
    return TIDE_OK;
}

int host_operation_new(struct operation **out, size_t extra, tide_pool *pool,
                       const tide_how *how, tide_how *own, tide_answer_fn fn)
{
    struct operation *operation;
    int code = check_how(pool, how, own, fn);

    if (code != TIDE_OK)
        return code;
    operation = calloc(1, sizeof(*operation) + extra);
    if (operation == NULL)
        return TIDE_NOMEM;
    operation->runtime = pool->runtime;
    operation->from = pool;
    operation->lease = own->lease;
    operation->fn = fn;
    operation->ud = own->ud;
    operation->free_ud = own->free_ud;
    snprintf(operation->site, sizeof(operation->site), "%s",
             own->site != NULL ? own->site : "the host");
    *out = operation;
    return TIDE_OK;
}

void host_operation_begun(struct operation *operation, uint64_t *id)
{
    tide_runtime *runtime = operation->runtime;

    operation->id = ++runtime->last_call_id;
    operation->is_pending = true;
    operation->from->pending++;
    list_push_back(&runtime->operations, &operation->node);
    if (id != NULL)
        *id = operation->id;
}

/* Why an acquire, or a wait for a lane, failed just now. */
static void explain(const struct operation *operation, enum err err,
                    const struct pool_waiter *waiter, struct err_text *out)
{
    const tide_pool *from = operation->from;
    struct pool_why why;

    pool_explain(host_pool_live(from), waiter, err,
                 host_now_ns(operation->runtime), &why);
    pool_why_text(&why, from->name, out);
}

/* What a wait for a connection ends with. */
static bool is_of_a_wait(enum err err)
{
    return err == ERR_TIMEOUT || err == ERR_REFUSED || err == ERR_BUSY;
}

static bool is_explained(const struct operation *operation, enum err err)
{
    return host_pool_live(operation->from) != NULL && is_of_a_wait(err);
}

int host_operation_refuse(struct operation *operation, enum err err,
                          const struct err_text *why)
{
    tide_runtime *runtime = operation->runtime;
    struct err_text text = { .text = "" };

    if (why != NULL && why->text[0] != '\0')
        text = *why;
    else if (operation->lease == NULL && is_explained(operation, err))
        explain(operation, err, NULL, &text);
    else
        err_text_set(&text, "%s", err_sentence(err));
    pool_count_error(host_pool_live(operation->from), err);
    free(operation);
    return host_fail(runtime, (int)err, "%s", text.text);
}

/* ---- the answer */

static void tell(struct loop_job *job)
{
    struct operation *operation = container_of(job, struct operation, job);
    tide_runtime *runtime = operation->runtime;
    struct told told = { .operation = operation };
    tide_answer *answer = &told.answer;

    *answer = (tide_answer){ .code = (int)operation->err,
                             .error = operation->text.text,
                             .is_unknown = operation->is_unknown,
                             .sqlstate = operation->text.sqlstate,
                             .detail = "",
                             .hint = "",
                             .table = "",
                             .column = "",
                             .constraint = "" };
    list_remove(&runtime->operations, &operation->node);
    runtime->calls_out++;
    switch (operation->kind) {
    case OPERATION_ACQUIRE: host_acquire_tell(operation, answer); break;
    case OPERATION_QUERY: host_query_tell(operation, answer); break;
    case OPERATION_REDIS: host_redis_tell(operation, answer); break;
    }
    if (operation->free_ud != NULL)
        operation->free_ud(operation->ud);
    runtime->calls_out--;
    free(operation);
}

void host_operation_end(struct operation *operation, enum err err,
                        const struct err_text *text)
{
    struct pool *pool = host_pool_live(operation->from);

    if (err != ERR_OK && pool != NULL)
        pool_count_error(pool, err);
    operation->is_pending = false;
    operation->err = err;
    if (text != NULL)
        operation->text = *text;
    if (err != ERR_OK && operation->text.text[0] == '\0')
        err_text_set(&operation->text, "%s", err_sentence(err));
    host_pool_left(operation->from);
    operation->from = NULL;
    operation->job.fn = tell;
    loop_defer(operation->runtime->vm->loop, LOOP_RUN, &operation->job);
}

void host_operation_end_refused(struct operation *operation, enum err err,
                                const struct pool_waiter *waiter)
{
    struct err_text text = { .text = "" };

    if (is_explained(operation, err))
        explain(operation, err, waiter, &text);
    host_operation_end(operation, err, &text);
}

void host_operation_end_request(struct operation *operation, enum err err,
                                bool was_sent, const struct pool_waiter *waiter,
                                const struct err_text *text)
{
    operation->is_unknown = err != ERR_OK && err != ERR_SERVER && was_sent;
    if (!was_sent && operation->lease == NULL && is_of_a_wait(err))
        host_operation_end_refused(operation, err, waiter);
    else
        host_operation_end(operation, err, text);
}

uint64_t host_how_timeout_ns(const tide_how *how)
{
    return how->timeout_ms < UINT64_MAX / 1000000 ? how->timeout_ms * 1000000
                                                  : 0;
}

/* ---- giving up */

void host_operation_cancel(struct operation *operation)
{
    switch (operation->kind) {
    case OPERATION_ACQUIRE: host_acquire_leave(operation); break;
    case OPERATION_QUERY: host_query_leave(operation); break;
    case OPERATION_REDIS: host_redis_leave(operation); break;
    }
    operation->lease = NULL;
    host_operation_end(operation, ERR_CANCELLED, NULL);
}

bool host_operations_cancel(tide_runtime *runtime, uint64_t id)
{
    list_each (node, &runtime->operations) {
        struct operation *operation =
            container_of(node, struct operation, node);

        if (operation->id != id || !operation->is_pending)
            continue;
        host_operation_cancel(operation);
        return true;
    }
    return false;
}
