/* load_conn.c - one connection of a load test: connects, sends, reads replies,
 * and connects again when it was lost.  See load_inside.h. */
#include "http/load_inside.h"

#include <assert.h>

static const uint64_t RETRY_NS = 100000000; /* after a failed connect */
static const uint64_t LATE_NS = 1000000;

static void set_state(struct load_conn *conn, enum load_state next)
{
    struct load *load = conn->load;

    if (conn->state == LOAD_IDLE)
        list_remove(&load->idle, &conn->node);
    if (conn->state == LOAD_BUSY)
        load->stats.in_flight--;
    conn->state = next;
    if (next == LOAD_IDLE)
        list_push_front(&load->idle, &conn->node);
    if (next == LOAD_BUSY &&
        ++load->stats.in_flight > load->stats.peak_in_flight)
        load->stats.peak_in_flight = load->stats.in_flight;
}

/* One timer for all of a connection's requests: it is not moved with each, but
 * looks when it fires. */
static void expire_at(struct load_conn *conn, uint64_t at_ns)
{
    bool is_sooner = at_ns < conn->expires_ns;

    conn->expires_ns = at_ns;
    if (is_sooner || !deadline_is_armed(&conn->deadline))
        deadline_start(conn->load->loop, &conn->deadline, at_ns);
}

static void drop_stream(struct load_conn *conn)
{
    stream_close(conn->stream);
    conn->stream = NULL;
}

static void note_tried(struct load_conn *conn)
{
    if (conn->was_tried)
        return;
    conn->was_tried = true;
    load_tried(conn->load);
}

static void pause_conn(struct load_conn *conn)
{
    drop_stream(conn);
    set_state(conn, LOAD_PAUSED);
    expire_at(conn, loop_now_ns(conn->load->loop) + RETRY_NS);
    note_tried(conn);
}

/* A server may listen on some of its name's addresses only: until one has
 * answered, all are tried. */
static bool dial_another(struct load_conn *conn)
{
    struct load *load = conn->load;
    bool is_known = load->stats.connects > 0 && conn->at == load->at;

    if (is_known || ++conn->dials >= load->n_addresses) {
        conn->dials = 0;
        return false;
    }
    if (conn->at == load->at)
        load->at = (load->at + 1) % load->n_addresses;
    load_conn_open(conn);
    return true;
}

/* The request in flight, or the attempt to connect, came to nothing. */
static void fail(struct load_conn *conn, enum load_error error, const char *why)
{
    struct load *load = conn->load;
    bool was_opening = conn->state == LOAD_OPENING;

    if (was_opening && dial_another(conn))
        return;
    load_count(load, error, why);
    if (was_opening) {
        pause_conn(conn);
        return;
    }
    load_conn_open(conn);
    load_settled(load);
}

/* A whole reply. */
static void take_answer(struct load_conn *conn)
{
    struct load *load = conn->load;
    struct load_stats *stats = &load->stats;
    uint64_t now = loop_now_ns(load->loop);
    int status = conn->answer->status;

    stats->answered++;
    stats->status = status;
    stats->by_status[status < LOAD_STATUSES ? status : LOAD_STATUSES - 1]++;
    hist_record(&stats->latency, now - conn->due_ns);
    hist_record(&stats->service, now - conn->sent_ns);
    if (conn->answer->keeps_alive)
        set_state(conn, LOAD_IDLE);
    else
        load_conn_open(conn);
    load_settled(load);
    load_pump(load);
}

/* ---- what the stream tells */

/* Somebody is there: what goes wrong now does so at each address. */
static void on_greeting(struct stream *stream, void *ud)
{
    struct load_conn *conn = ud;

    (void)stream;
    conn->dials = conn->load->n_addresses;
}

static void on_open(struct stream *stream, void *ud)
{
    struct load_conn *conn = ud;

    (void)stream;
    conn->dials = 0;
    conn->load->stats.connects++;
    set_state(conn, LOAD_IDLE);
    note_tried(conn);
    load_pump(conn->load);
}

static void on_data(struct stream *stream, void *ud)
{
    struct load_conn *conn = ud;
    struct buf *in = stream_in(stream);
    enum http_answer_stage stage;
    size_t before = in->len;

    if (conn->state != LOAD_BUSY) {
        fail(conn, LOAD_BAD_REPLY, "bytes that nobody had asked for");
        return;
    }
    stage = http_answer_take(conn->answer, in);
    conn->load->stats.bytes_in += before - in->len;
    if (stage == HTTP_ANSWER_BAD)
        fail(conn, LOAD_BAD_REPLY, conn->answer->why);
    else if (stage == HTTP_ANSWER_WHOLE && in->len > 0)
        fail(conn, LOAD_BAD_REPLY, "bytes after the end of the reply");
    else if (stage == HTTP_ANSWER_WHOLE)
        take_answer(conn);
}

static void on_end(struct stream *stream, const struct err_text *text, void *ud)
{
    struct load_conn *conn = ud;

    (void)stream;
    if (conn->state == LOAD_IDLE)
        load_conn_open(conn); /* servers may close what is idle */
    else if (conn->state == LOAD_OPENING)
        fail(conn, LOAD_CONNECT, text->text);
    else if (text->text[0] != '\0')
        fail(conn, LOAD_RESET, text->text);
    else if (http_answer_end(conn->answer) == HTTP_ANSWER_WHOLE)
        take_answer(conn);
    else
        fail(conn, LOAD_CLOSED, conn->answer->why);
}

static const struct stream_events events = {
    .on_greeting = on_greeting,
    .on_open = on_open,
    .on_data = on_data,
    .on_end = on_end,
};

/* ---- */

static void on_deadline(struct deadline *deadline)
{
    struct load_conn *conn = container_of(deadline, struct load_conn, deadline);
    struct load *load = conn->load;

    if (conn->state == LOAD_IDLE || conn->state == LOAD_SHUT)
        return;
    if (loop_now_ns(load->loop) < conn->expires_ns)
        deadline_start(load->loop, deadline, conn->expires_ns);
    else if (conn->state == LOAD_PAUSED)
        load_conn_open(conn);
    else if (conn->state == LOAD_OPENING)
        fail(conn, LOAD_CONNECT, "connecting took too long");
    else
        fail(conn, LOAD_TIMEOUT, "no whole reply in time");
}

static enum err dial(struct load_conn *conn)
{
    struct load *load = conn->load;
    enum err err;

    if (load->unix_path != NULL)
        return stream_connect_unix(&conn->stream, load->loop, load->unix_path,
                                   &events, conn);
    conn->at = load->at;
    err = stream_connect(&conn->stream, load->loop,
                         (const struct sockaddr *)&load->addresses[conn->at],
                         &events, conn);
    if (err == ERR_OK && load->tls != NULL)
        err = stream_start_tls(conn->stream, load->tls, load->host);
    return err;
}

void load_conn_open(struct load_conn *conn)
{
    struct load *load = conn->load;
    enum err err;

    drop_stream(conn);
    conn->deadline.fn = on_deadline;
    if (load->stats.stop_ns != 0) {
        load_conn_shut(conn);
        return;
    }
    set_state(conn, LOAD_OPENING);
    err = dial(conn);
    if (err == ERR_OK)
        expire_at(conn, loop_now_ns(load->loop) + load->options.timeout_ns);
    else
        fail(conn, LOAD_CONNECT, err_sentence(err));
}

void load_conn_send(struct load_conn *conn, uint64_t due_ns, uint64_t now_ns)
{
    struct load *load = conn->load;
    struct load_stats *stats = &load->stats;

    assert(conn->state == LOAD_IDLE);
    set_state(conn, LOAD_BUSY);
    conn->due_ns = due_ns;
    conn->sent_ns = now_ns;
    stats->sent++;
    stats->bytes_out += load->request.len;
    if (now_ns - due_ns > LATE_NS)
        stats->late++;
    if (load->options.keeps_body)
        buf_clear(&stats->body);
    http_answer_begin(conn->answer, load->options.is_head);
    buf_put(stream_out(conn->stream), load->request.data, load->request.len);
    if (buf_failed(stream_out(conn->stream))) {
        fail(conn, LOAD_RESET, err_sentence(ERR_NOMEM));
        return;
    }
    stream_flush(conn->stream);
    expire_at(conn, now_ns + load->options.timeout_ns);
}

void load_conn_shut(struct load_conn *conn)
{
    drop_stream(conn);
    set_state(conn, LOAD_SHUT);
    deadline_stop(conn->load->loop, &conn->deadline);
}
