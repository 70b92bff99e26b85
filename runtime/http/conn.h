/* conn.h - the insides of the server: its connections, shared by conn.c,
 * request.c, server.c, reply.c and access.c. */
#ifndef TIDEPOOL_HTTP_CONN_H
#define TIDEPOOL_HTTP_CONN_H

#include "http/access.h"
#include "http/parse.h"
#include "http/request.h"
#include "http/server_inside.h"
#include "net/address.h"
#include "net/deadline.h"

/* Which also says what its one deadline is for. */
enum http_state {
    HTTP_GREETING,  /* the TLS handshake */
    HTTP_IDLE,      /* between requests */
    HTTP_HEAD,      /* part of a head is there */
    HTTP_BODY,      /* part of a body is due */
    HTTP_HANDLING,  /* the request is lent; no deadline of ours */
    HTTP_STREAMING, /* the same, and part of the reply is out */
    HTTP_SENDING,   /* replied; the kernel has not taken all of it */
    HTTP_DROPPING,  /* all of it; the rest of the body is read and dropped */
    HTTP_ENDING,    /* as SENDING, and it was the last reply */
    HTTP_LINGERING, /* our side is shut; drops what still comes */
    HTTP_GONE,      /* closed while the request is lent */
    HTTP_CLOSED,    /* its memory goes at the end of the turn */
    HTTP_STATES
};

/* Owned by its server; by its request while HTTP_GONE. */
struct http_conn {
    struct loop *loop;
    struct http_server *server; /* NULL once that is closed */
    struct stream *stream;      /* NULL once closed */
    struct list_node node;      /* on server->conns, or gone while GONE */
    enum http_state state;
    struct http_parse parse;
    struct http_request request;
    struct deadline deadline;
    struct loop_job advance_job; /* the next request of what was read */
    struct loop_job free_job;
    uint64_t since_ns;                /* when what it waits for began */
    struct list *line;                /* where waited_for_node is */
    struct list_node waited_for_node; /* on server->fresh or kept */
    size_t held;                      /* bytes of its buffers, as counted */
    size_t unsent;                    /* when the deadline of sending began */
    bool is_advancing;                /* advance() is on the stack */
    bool is_paused;                   /* reads no more: too much is waiting */
    bool has_ended;                   /* the client ended its side */
    bool is_known;                    /* it was answered before */
    bool lingers; /* more may come that must not become a reset */
    char remote[ADDRESS_TEXT_MAX]; /* outlives the stream, as the request may */

    /* of a body that the handler reads */
    struct deadline body_deadline; /* armed while it waits for more */
    bool is_late;                  /* that has passed */
    bool drops;                    /* replied; the rest goes nowhere */
    size_t dropped;                /* bytes of it */

    /* of the reply, as far as there is one */
    int status; /* 0: its head is not out */
    uint64_t body_bytes;

    /* of a reply between its begin and its end */
    size_t length_at; /* where its length goes */
    size_t body_at;
    bool has_body;
    bool is_chunked;    /* while STREAMING */
    struct buf nowhere; /* the body for a client that is gone */
};

/* Takes stream over, or closes it. */
void http_conn_open(struct http_server *server, struct stream *stream);
/* How long it may stay in its state; 0: no limit. */
uint64_t http_conn_timeout_ns(const struct http_conn *conn);
/* Cuts it; a request that is lent stays until it is replied to. */
void http_conn_close(struct http_conn *conn);
/* It is idle or greets, and the server drains: it is closed soon. */
void http_conn_last_call(struct http_conn *conn);
/* Somebody has its request. */
bool http_conn_is_lent(const struct http_conn *conn);
/* A part of the reply was put out. */
void http_conn_streams(struct http_conn *conn);
/* The reply to the request was put out, or had nowhere to go. */
void http_conn_replied(struct http_conn *conn);
/* Reads no more than it has room for, and reads on when it has. */
void http_conn_hold_back(struct http_conn *conn);

/* ---- request.c */

void http_request_init(struct http_conn *conn);
void http_request_deinit(struct http_conn *conn);
/* The client waits to be told to send the body. */
void http_conn_continue(struct http_conn *conn);
/* More of the body is there, for whom it may concern. */
void http_request_arrived(struct http_conn *conn);
/* A reply begins, the last of the body's readers is gone: decides whether the
 * connection can be kept, which takes an end of the body that is near. */
void http_request_settle(struct http_conn *conn);
/* Drops what is there of the body that was left; false when it is more than is
 * worth it, or wrong. */
bool http_request_drop(struct http_conn *conn, struct buf *in);

/* ---- access.c */

/* The reply was put out, or the client is gone. */
void http_access_tell(struct http_conn *conn);
/* A refusal was put out, to a request that nobody was asked to handle. */
void http_access_tell_refusal(struct http_conn *conn, int status);

/* Answers by itself, without a request, and closes. */
void http_conn_refuse(struct http_conn *conn, enum http_refusal refusal);
/* Puts the reply of the server itself to status out. */
void http_reply_refusal(struct http_conn *conn, int status);

#endif
