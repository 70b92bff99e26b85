/* stream_line.h - two streams joined by a listener, and what each was told. */
#ifndef TIDEPOOL_UNIT_STREAM_LINE_H
#define TIDEPOOL_UNIT_STREAM_LINE_H

#include "net/stream.h"
#include "turns.h"
#include "unit.h"

enum event { NONE, ON_OPEN, ON_DATA, ON_END, ON_DRAINED };

/* One end of a connection, and what it was told. */
struct end {
    struct stream *stream;
    unsigned opens, data_calls, ends, drains;
    struct err_text text;
    enum event closes_on;
    bool does_consume;
    size_t got;       /* bytes consumed */
    bool is_in_order; /* they were 0, 1, 2... 255, 0... */
};

/* A listener, a client that dialled it and the stream that was accepted. */
struct line {
    struct loop *loop;
    struct listener *listener;
    struct end client;
    struct end server;
    unsigned accepts;
    char dir[64];
    /* set before line_dial_tcp(): both ends speak TLS, or one */
    struct tls_context *server_tls, *client_tls;
    const char *host; /* that the client expects */
};

/* Tell a struct end, closing its stream where closes_on says so. */
extern const struct stream_events line_events;

/* Begin to connect line->client, with a listener of line->loop. */
void line_dial_tcp(struct line *line);
void line_dial_unix(struct line *line);
/* Both ends are there and nothing has been said yet. */
void line_open(struct line *line, void (*dial)(struct line *line));
/* Checks that nothing is left. */
void line_close(struct line *line);

void line_say(struct end *end, const char *text);
/* size bytes 0, 1, 2... 255, 0... */
void line_say_many(struct end *end, size_t size);
/* Whether len bytes wait in the stream's input. */
bool line_has(const struct end *end, size_t len);

#endif
