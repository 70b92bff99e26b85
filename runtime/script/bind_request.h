/* bind_request.h - requests as Lua values, each handled in a task of its own.
 */
#ifndef TIDEPOOL_SCRIPT_BIND_REQUEST_H
#define TIDEPOOL_SCRIPT_BIND_REQUEST_H

#include "http/reply.h"
#include "script/task.h"

enum { REPLY_HEADERS_MAX = 64 };

/* A userdata, kept until the reply; what scripts still hold then is empty. */
struct script_request {
    struct vm *vm;
    struct http_request *request; /* NULL once answered */
    struct task *task;
    struct origin *origin;  /* see request_origin() */
    uint64_t origin_number; /* 0: it never had one */
    bool cancel_when_gone;
    bool is_streaming;     /* its reply is sent piece by piece */
    bool ends_with_server; /* so its task is cancelled when that drains */
    bool is_gone;          /* the client is, while it is streaming */
    struct list writers;   /* tasks parked in write(), by wait_node */
    struct task *reader;   /* parked in read() */
    size_t read_most;      /* bytes that it wants */
    int self_ref;
};

/* Runs the function of the registry with the request: what it gives, status,
 * headers and body, is the reply, unless one was streamed.  is_logged: it will
 * be named in the access log, so it gets its id at once. */
void request_hand_out(struct vm *vm, int handler_ref,
                      struct http_request *request, bool is_logged);

/* Its id and its trace; NULL when it was answered without having any, or there
 * is no memory. */
struct origin *request_origin(struct script_request *box);

/* The request at 1; raises when it was answered. */
struct script_request *check_request(lua_State *L);
/* The request at 1, answered or not. */
struct script_request *request_at(lua_State *L);

/* The reply follows: nothing is told of the request from here on. */
void request_release(struct script_request *box);

/* Reads a table of headers into reply; headers has REPLY_HEADERS_MAX + 1, the
 * last for tell_id().  What is read stays on the stack.  What would break the
 * reply is logged and left out. */
void reply_headers(lua_State *L, struct vm *vm, int table,
                   struct http_header *headers, struct http_reply *reply);
/* Adds X-Request-Id, where the request has an id that somebody knows of: its
 * client gave it, or it was asked for. */
void tell_id(struct script_request *box, const struct http_request *request,
             struct http_header *headers, struct http_reply *reply);

/* ---- bind_stream.c */

/* Methods of requests, for the metatable on top. */
void bind_stream(lua_State *L, struct vm *vm);
/* The client is gone: those who write are told. */
void stream_client_gone(struct script_request *box);
/* The reply is over, whoever still writes. */
void stream_end(struct script_request *box, enum http_end end);

/* ---- bind_origin.c */

/* Methods of requests, for the metatable on top. */
void bind_request_origin(lua_State *L, struct vm *vm);

/* ---- bind_body.c */

/* Methods of requests, for the metatable on top. */
void bind_body(lua_State *L, struct vm *vm);
/* The client is gone, or the request was answered: who reads is told. */
void body_end(struct script_request *box);

#endif
