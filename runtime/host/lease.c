/* lease.c - see tidepool.h: connections that a host has for itself. */
#include "host/operation.h"

#include "pool/lease.h"
#include "pool/line.h"

#include <stdlib.h>
#include <string.h>

static void give_back(tide_lease *lease)
{
    if (lease->conn != NULL)
        pool_release(lease->pool, lease->conn, host_now_ns(lease->runtime));
    free(lease);
}

/* It is lent: to the lease, which is told of in a later job. */
static void take(struct operation *operation, struct conn *conn)
{
    tide_lease *lease = operation->lease;

    lease->conn = conn;
    conn_set_holder(conn, &lease->conn, lease->site);
    conn_set_reclaimable(conn, &lease->is_reclaimed);
    host_operation_end(operation, ERR_OK, NULL);
}

static void on_acquired(struct pool_waiter *waiter, enum err err,
                        struct conn *conn)
{
    struct operation *operation =
        container_of(waiter, struct operation, waiter);

    if (err == ERR_OK)
        take(operation, conn);
    else
        host_operation_end_refused(operation, err, waiter);
}

/* A lease for what is about to be acquired. */
static tide_lease *lease_new(const struct operation *operation)
{
    tide_lease *lease = calloc(1, sizeof(*lease));

    if (lease == NULL)
        return NULL;
    lease->runtime = operation->runtime;
    lease->from = operation->from;
    lease->pool = host_pool_live(operation->from);
    memcpy(lease->site, operation->site, sizeof(lease->site));
    return lease;
}

static enum err wait_for(struct operation *operation, uint64_t timeout_ms)
{
    struct pool_waiter *waiter = &operation->waiter;

    waiter->on_done = on_acquired;
    waiter->site = operation->lease->site;
    waiter->deadline_ns = host_due_ns(operation->runtime, timeout_ms);
    return pool_wait(operation->lease->pool, waiter,
                     host_now_ns(operation->runtime));
}

int tide_acquire(tide_pool *pool, const tide_how *how, tide_answer_fn fn,
                 uint64_t *id)
{
    struct operation *operation;
    struct conn *conn;
    tide_how own;
    enum err err = ERR_OK;
    int code = host_operation_new(&operation, 0, pool, how, &own, fn);

    if (code != TIDE_OK)
        return code;
    operation->kind = OPERATION_ACQUIRE;
    operation->lease = lease_new(operation);
    if (operation->lease == NULL)
        return host_operation_refuse(operation, ERR_NOMEM, NULL);
    conn = pool_try_acquire(operation->lease->pool, false,
                            operation->lease->site, host_now_ns(pool->runtime));
    if (conn == NULL)
        err = wait_for(operation, own.timeout_ms);
    if (err != ERR_OK) {
        free(operation->lease);
        operation->lease = NULL;
        return host_operation_refuse(operation, err, NULL);
    }
    host_operation_begun(operation, id);
    if (conn != NULL)
        take(operation, conn);
    return TIDE_OK;
}

void host_acquire_leave(struct operation *operation)
{
    pool_wait_cancel(operation->lease->pool, &operation->waiter,
                     host_now_ns(operation->runtime));
    free(operation->lease);
}

void host_acquire_undo(struct operation *operation)
{
    if (operation->lease == NULL)
        return;
    give_back(operation->lease);
    operation->lease = NULL;
    operation->err = ERR_CANCELLED;
    err_text_set(&operation->text, "%s", err_sentence(ERR_CANCELLED));
}

void host_acquire_tell(struct operation *operation, tide_answer *answer)
{
    tide_lease *lease = operation->lease;

    if (operation->err == ERR_OK) {
        list_push_back(&operation->runtime->leases, &lease->node);
        answer->lease = lease;
    } else {
        free(lease);
    }
    operation->fn(operation->ud, answer);
}

int tide_release(tide_lease *lease)
{
    tide_runtime *runtime = lease->runtime;
    int code = host_check(runtime);

    if (code != TIDE_OK)
        return code;
    list_each (node, &runtime->operations) {
        struct operation *operation =
            container_of(node, struct operation, node);

        if (operation->lease == lease && operation->is_pending)
            host_operation_cancel(operation);
        else if (operation->lease == lease)
            operation->lease = NULL;
    }
    list_remove(&runtime->leases, &lease->node);
    give_back(lease);
    return TIDE_OK;
}
