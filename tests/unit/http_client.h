/* http_client.h - a server and clients of it on one loop, for tests. */
#ifndef TIDEPOOL_UNIT_HTTP_CLIENT_H
#define TIDEPOOL_UNIT_HTTP_CLIENT_H

#include "base/buf.h"
#include "http/limits.h"
#include "turns.h"
#include "unit.h"

enum { HELD_MAX = 16 };

/*
 * Answers at once with "METHOD TARGET" and, after a colon, the body; but holds
 * the requests whose path begins with "/hold" until the test replies.
 */
struct rig {
    struct loop *loop;
    struct http_server *server;
    struct http_limits limits;
    struct http_request *held[HELD_MAX];
    unsigned n_held;
    unsigned gone; /* calls of on_gone */
    bool drained;
    char dir[64]; /* of the unix socket; empty: none */
    /* Called instead of all that, when it is set. */
    void (*on_request)(struct rig *rig, struct http_request *request);
};

/* Limits may be changed between the two. */
void rig_init(struct rig *rig);
void rig_open(struct rig *rig); /* on 127.0.0.1 */
/* On a unix socket, where no timers of the kernel's TCP take part. */
void rig_open_unix(struct rig *rig);
void rig_close(struct rig *rig); /* checks that nothing is left */

/* Replies to the index-th held request. */
void rig_reply(struct rig *rig, unsigned index, const char *body);
void rig_on_drained(void *ud);

struct client {
    struct rig *rig;
    struct stream *stream;
    struct buf got; /* not yet taken by client_read() */
    bool has_ended;
};

struct answer {
    int status;
    char head[2000]; /* status line and headers, each line with its CRLF */
    char body[2000]; /* its beginning */
    size_t body_len;
};

void client_open(struct client *client, struct rig *rig);
void client_close(struct client *client);
void client_send(struct client *client, const char *text);
void client_send_bytes(struct client *client, const void *bytes, size_t len);

/* Takes one whole answer off what came; false when it is not there yet.  Lets
 * a reply to HEAD have a length and no body. */
bool client_read(struct client *client, bool is_head, struct answer *answer);
/* Waits for it. */
struct answer client_wait(struct client *client);
/* Sends and waits. */
struct answer client_ask(struct client *client, const char *text);
/* Waits until the server has ended the connection; nothing else may come. */
void client_wait_end(struct client *client);

#endif
