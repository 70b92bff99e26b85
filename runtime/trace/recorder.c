/* recorder.c - see recorder.h. */
#include "trace/recorder.h"

#include "base/buf.h"
#include "net/deadline.h"
#include "net/work.h"
#include "pool/flight.h"
#include "pool/pool.h"
#include "trace/trace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

enum {
    TEXT_ENOUGH = 256 * 1024,   /* is written at once */
    TEXT_MOST = 4 * 1024 * 1024 /* that waits for the disk */
};

static const uint64_t WRITE_NS = 1000000000;

struct recorded {
    struct recorder *recorder;
    struct pool *pool; /* NULL: closed */
    unsigned index;    /* among the recorder's */
    const char *kind;
    char name[TRACE_NAME_MAX];
};

/* What the writing thread has, and nobody else while it is busy. */
struct writing {
    gzFile file;
    char *path;
    char *old_path;
    uint64_t max_bytes;
    struct buf text;
    struct buf head; /* of a file that begins */
    uint64_t rotations;
    int error;
};

struct recorder {
    struct loop *loop;
    struct deadline deadline;
    struct recorded *pools[TRACE_POOLS_MAX];
    unsigned n_pools;
    uint64_t zero_ns; /* on the pools' clock, of the head's began_us */
    uint64_t began_us;
    struct buf text; /* not written yet */
    uint64_t lines, lost, lost_told;
    bool is_busy; /* writing is the other thread's */
    bool is_done; /* freed by who was busy */
    struct writing writing;
    struct recorder_stats seen; /* of writing, when it was last ours */
};

/* ---- on the other thread, or on ours when nothing runs there */

static void note_failure(struct writing *writing)
{
    writing->error = errno != 0 ? errno : EIO;
}

static void put(struct writing *writing, const struct buf *text)
{
    errno = 0;
    if (writing->file != NULL && text->len > 0 &&
        gzwrite(writing->file, text->data, (unsigned)text->len) == 0)
        note_failure(writing);
}

static void open_file(struct writing *writing)
{
    errno = 0;
    writing->file = gzopen(writing->path, "wbe1");
    if (writing->file == NULL)
        note_failure(writing);
    else
        put(writing, &writing->head);
}

static void close_file(struct writing *writing)
{
    errno = 0;
    if (writing->file != NULL && gzclose(writing->file) != Z_OK)
        note_failure(writing);
    writing->file = NULL;
}

static void rotate(struct writing *writing)
{
    close_file(writing);
    if (rename(writing->path, writing->old_path) != 0)
        note_failure(writing);
    writing->rotations++;
    open_file(writing);
}

static void write_text(void *ud)
{
    struct writing *writing = ud;

    if (writing->file != NULL &&
        (uint64_t)gzoffset(writing->file) >= writing->max_bytes)
        rotate(writing);
    put(writing, &writing->text);
    buf_clear(&writing->text);
    errno = 0; /* what was written can be read, also if we are killed */
    if (writing->file != NULL && gzflush(writing->file, Z_SYNC_FLUSH) != Z_OK)
        note_failure(writing);
}

/* ---- on the loop */

static void make_head(struct recorder *recorder, struct buf *head)
{
    char line[TRACE_HEAD_MAX];

    buf_clear(head);
    buf_put(head, line, trace_begin(line, recorder->began_us));
    for (unsigned i = 0; i < recorder->n_pools; i++) {
        const struct recorded *one = recorder->pools[i];

        buf_put(
            head, line,
            trace_pool(line, i, one->name, one->kind,
                       one->pool != NULL ? pool_settings(one->pool) : NULL));
    }
    buf_put(head, line, trace_columns(line));
}

static void put_lost(struct recorder *recorder)
{
    char line[TRACE_LINE_MAX];

    if (recorder->lost == recorder->lost_told)
        return;
    buf_put(&recorder->text, line,
            trace_lost(line, recorder->lost - recorder->lost_told));
    recorder->lost_told = recorder->lost;
}

static void see(struct recorder *recorder)
{
    recorder->seen.rotations = recorder->writing.rotations;
    recorder->seen.error = recorder->writing.error;
}

/* Gives what was collected to the other thread, for an empty buffer. */
static void swap(struct recorder *recorder)
{
    struct buf text = recorder->writing.text;

    put_lost(recorder);
    recorder->writing.text = recorder->text;
    recorder->text = text;
}

static void free_all(struct recorder *recorder)
{
    for (unsigned i = 0; i < recorder->n_pools; i++)
        free(recorder->pools[i]);
    buf_free(&recorder->text);
    buf_free(&recorder->writing.text);
    buf_free(&recorder->writing.head);
    free(recorder->writing.path);
    free(recorder->writing.old_path);
    free(recorder);
}

/* The pools may be gone: a file that begins now has the last head. */
static void finish(struct recorder *recorder)
{
    swap(recorder);
    write_text(&recorder->writing);
    close_file(&recorder->writing);
    free_all(recorder);
}

static void start_write(struct recorder *recorder);

static void on_written(void *ud)
{
    struct recorder *recorder = container_of(ud, struct recorder, writing);

    recorder->is_busy = false;
    see(recorder);
    if (recorder->is_done)
        finish(recorder);
    else if (recorder->text.len >= TEXT_ENOUGH)
        start_write(recorder);
}

static void start_write(struct recorder *recorder)
{
    if (recorder->is_busy || recorder->text.len == 0)
        return;
    swap(recorder);
    make_head(recorder, &recorder->writing.head);
    recorder->is_busy = true;
    if (work_start(recorder->loop, write_text, on_written,
                   &recorder->writing) == ERR_OK)
        return;
    write_text(&recorder->writing); /* no memory for a thread's work */
    on_written(&recorder->writing);
}

static void on_deadline(struct deadline *deadline)
{
    struct recorder *recorder =
        container_of(deadline, struct recorder, deadline);

    start_write(recorder);
    deadline_start(recorder->loop, deadline,
                   loop_now_ns(recorder->loop) + WRITE_NS);
}

static void on_note(void *ud, const struct flight_note *note)
{
    const struct recorded *one = ud;
    struct recorder *recorder = one->recorder;
    char line[TRACE_LINE_MAX];
    size_t len = trace_note(line, one->index, note, recorder->zero_ns);

    recorder->lines++;
    if (recorder->text.len >= TEXT_MOST ||
        buf_reserve(&recorder->text, len) != ERR_OK)
        recorder->lost++;
    else
        buf_put(&recorder->text, line, len);
    if (recorder->text.len >= TEXT_ENOUGH)
        start_write(recorder);
}

/* ---- life */

static enum err prepare(struct recorder *recorder, const char *path,
                        struct err_text *why)
{
    struct writing *writing = &recorder->writing;

    writing->path = strdup(path);
    if (writing->path == NULL || asprintf(&writing->old_path, "%s.1", path) < 0)
        return ERR_NOMEM;
    open_file(writing);
    if (writing->file != NULL)
        return ERR_OK;
    err_text_set(why, "%s: %s", path, strerror(writing->error));
    return ERR_BADARG;
}

enum err recorder_new(struct recorder **out, struct loop *loop,
                      const char *path, uint64_t max_bytes,
                      struct err_text *why)
{
    struct recorder *recorder = calloc(1, sizeof(*recorder));
    struct timespec now;
    enum err err;

    if (recorder == NULL)
        return ERR_NOMEM;
    clock_gettime(CLOCK_REALTIME, &now);
    recorder->loop = loop;
    recorder->zero_ns = loop_now_ns(loop);
    recorder->began_us =
        (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    recorder->writing.max_bytes = max_bytes;
    err = prepare(recorder, path, why);
    if (err != ERR_OK) {
        free_all(recorder);
        return err;
    }
    recorder->deadline.fn = on_deadline;
    deadline_start(loop, &recorder->deadline, recorder->zero_ns + WRITE_NS);
    *out = recorder;
    return ERR_OK;
}

enum err recorder_add(struct recorder *recorder, struct pool *pool,
                      const char *name, const char *kind)
{
    struct recorded *one = calloc(1, sizeof(*one));
    char line[TRACE_HEAD_MAX];
    unsigned index = recorder->n_pools;

    if (one == NULL)
        return ERR_NOMEM;
    if (index == TRACE_POOLS_MAX || pool_flight(pool) == NULL) {
        free(one);
        return ERR_BADARG;
    }
    *one = (struct recorded){
        .recorder = recorder, .pool = pool, .index = index, .kind = kind
    };
    snprintf(one->name, sizeof(one->name), "%s", name);
    recorder->pools[recorder->n_pools++] = one;
    if (index == 0)
        make_head(recorder, &recorder->text);
    else
        buf_put(&recorder->text, line,
                trace_pool(line, index, name, kind, pool_settings(pool)));
    flight_follow(pool_flight(pool), on_note, one);
    return ERR_OK;
}

static void forget(struct recorded *one)
{
    if (one->pool != NULL)
        flight_follow(pool_flight(one->pool), NULL, NULL);
    one->pool = NULL;
}

void recorder_forget(struct recorder *recorder, const struct pool *pool)
{
    for (unsigned i = 0; i < recorder->n_pools; i++)
        if (recorder->pools[i]->pool == pool)
            forget(recorder->pools[i]);
}

void recorder_stats(const struct recorder *recorder, struct recorder_stats *out)
{
    *out = recorder->seen;
    out->lines = recorder->lines;
    out->lost = recorder->lost;
}

void recorder_free(struct recorder *recorder)
{
    if (recorder == NULL)
        return;
    deadline_stop(recorder->loop, &recorder->deadline);
    for (unsigned i = 0; i < recorder->n_pools; i++)
        forget(recorder->pools[i]);
    recorder->is_done = true;
    if (!recorder->is_busy)
        finish(recorder);
}
