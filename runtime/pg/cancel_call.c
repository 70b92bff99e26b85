/* cancel_call.c - see cancel_call.h. */
#include "pg/cancel_call.h"

#include "net/watch.h"

#include <stdio.h>
#include <stdlib.h>

enum { WORDS_MAX = 256 };

#ifdef LIBPQ_HAS_ASYNC_CANCEL

struct cancel_call {
    PGcancelConn *handle;
    struct loop *loop;
    struct watch *watch;
    struct loop_job job;
    cancel_call_fn fn;
    void *ud;
    char words[WORDS_MAX];
};

struct cancel_call *cancel_call_new(PGconn *pq)
{
    struct cancel_call *call = calloc(1, sizeof(*call));

    if (call == NULL)
        return NULL;
    call->handle = PQcancelCreate(pq);
    if (call->handle != NULL)
        return call;
    free(call);
    return NULL;
}

static void end(struct loop_job *job)
{
    struct cancel_call *call = container_of(job, struct cancel_call, job);

    call->fn(call->ud, call->words);
}

static void end_later(struct cancel_call *call, const char *words)
{
    snprintf(call->words, sizeof(call->words), "%s", words);
    call->job.fn = end;
    loop_defer(call->loop, LOOP_RUN, &call->job);
}

static void on_ready(struct watch *watch, int events, void *ud);

/* As with connecting, a watch lasts from one call to the next. */
static void step(struct cancel_call *call, PostgresPollingStatusType status)
{
    enum err err;

    if (status == PGRES_POLLING_OK) {
        end_later(call, "");
        return;
    }
    if (status == PGRES_POLLING_FAILED) {
        end_later(call, PQcancelErrorMessage(call->handle));
        return;
    }
    err = watch_open(&call->watch, call->loop, PQcancelSocket(call->handle),
                     on_ready, call);
    if (err != ERR_OK)
        end_later(call, err_sentence(err));
    else
        watch_want(call->watch,
                   status == PGRES_POLLING_READING ? WATCH_READ : WATCH_WRITE);
}

static void on_ready(struct watch *watch, int events, void *ud)
{
    struct cancel_call *call = ud;

    (void)events;
    watch_close(watch);
    call->watch = NULL;
    step(call, PQcancelPoll(call->handle));
}

void cancel_call_begin(struct cancel_call *call, struct loop *loop,
                       cancel_call_fn fn, void *ud)
{
    bool is_begun = PQcancelStart(call->handle) == 1;

    call->loop = loop;
    call->fn = fn;
    call->ud = ud;
    step(call, is_begun ? PGRES_POLLING_WRITING : PGRES_POLLING_FAILED);
}

void cancel_call_free(struct cancel_call *call)
{
    if (call == NULL)
        return;
    if (call->loop != NULL)
        loop_cancel(call->loop, LOOP_RUN, &call->job);
    watch_close(call->watch);
    PQcancelFinish(call->handle);
    free(call);
}

#else

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* The thread's part: freed by whoever is done with it last. */
struct errand {
    atomic_int holders;
    PGcancel *handle;
    int event; /* told when words are there */
    char words[WORDS_MAX];
};

struct cancel_call {
    struct errand *errand;
    struct loop *loop;
    struct watch *watch;
    struct loop_job job; /* ends it when it could not begin */
    cancel_call_fn fn;
    void *ud;
};

static void drop_errand(struct errand *errand)
{
    if (atomic_fetch_sub(&errand->holders, 1) != 1)
        return;
    PQfreeCancel(errand->handle);
    if (errand->event >= 0)
        close(errand->event);
    free(errand);
}

static struct errand *new_errand(PGconn *pq)
{
    struct errand *errand = calloc(1, sizeof(*errand));

    if (errand == NULL)
        return NULL;
    atomic_init(&errand->holders, 1);
    errand->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    errand->handle = PQgetCancel(pq);
    if (errand->event >= 0 && errand->handle != NULL)
        return errand;
    drop_errand(errand);
    return NULL;
}

struct cancel_call *cancel_call_new(PGconn *pq)
{
    struct cancel_call *call = calloc(1, sizeof(*call));

    if (call == NULL)
        return NULL;
    call->errand = new_errand(pq);
    if (call->errand != NULL)
        return call;
    free(call);
    return NULL;
}

static void *run(void *ud)
{
    struct errand *errand = ud;

    if (PQcancel(errand->handle, errand->words, WORDS_MAX) == 1)
        errand->words[0] = '\0';
    (void)eventfd_write(errand->event, 1); /* can only fail when it is full */
    drop_errand(errand);
    return NULL;
}

/* Signals are for the threads of the host. */
static bool start_thread(struct errand *errand)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    bool is_started;

    if (pthread_attr_init(&attributes) != 0)
        return false;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    atomic_fetch_add(&errand->holders, 1);
    is_started = pthread_create(&thread, &attributes, run, errand) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (!is_started)
        drop_errand(errand);
    return is_started;
}

static void on_told(struct watch *watch, int events, void *ud)
{
    struct cancel_call *call = ud;
    eventfd_t told;

    (void)events;
    if (eventfd_read(call->errand->event, &told) != 0)
        return;
    watch_close(watch);
    call->watch = NULL;
    call->fn(call->ud, call->errand->words);
}

static void on_not_begun(struct loop_job *job)
{
    struct cancel_call *call = container_of(job, struct cancel_call, job);

    call->fn(call->ud, "no thread could be started");
}

void cancel_call_begin(struct cancel_call *call, struct loop *loop,
                       cancel_call_fn fn, void *ud)
{
    call->loop = loop;
    call->fn = fn;
    call->ud = ud;
    if (watch_open(&call->watch, loop, call->errand->event, on_told, call) ==
            ERR_OK &&
        start_thread(call->errand)) {
        watch_want(call->watch, WATCH_READ);
        return;
    }
    call->job.fn = on_not_begun;
    loop_defer(loop, LOOP_RUN, &call->job);
}

void cancel_call_free(struct cancel_call *call)
{
    if (call == NULL)
        return;
    if (call->loop != NULL)
        loop_cancel(call->loop, LOOP_RUN, &call->job);
    watch_close(call->watch);
    drop_errand(call->errand);
    free(call);
}

#endif
