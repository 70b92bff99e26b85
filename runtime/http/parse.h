/*
 * parse.h - one request from its bytes.  The head is read by the parser that
 * the distribution has, which parse.c hides; the body, where both are lax, by
 * body.c.
 */
#ifndef TIDEPOOL_HTTP_PARSE_H
#define TIDEPOOL_HTTP_PARSE_H

#include "base/buf.h"
#include "http/header.h"
#include "http/refusal.h"

#include <stdbool.h>
#include <stdint.h>

struct http_limits;

enum http_stage {
    HTTP_STAGE_HEAD,
    HTTP_STAGE_DUE, /* a body follows: see http_parse_accept() */
    HTTP_STAGE_BODY,
    HTTP_STAGE_WHOLE,
    HTTP_STAGE_REFUSED, /* answer that and close */
};

enum http_chunk_stage {
    HTTP_CHUNK_SIZE,
    HTTP_CHUNK_DATA,
    HTTP_CHUNK_END,
    HTTP_CHUNK_TRAILER,
};

/* Embedded in the connection; what it holds is good until the next reset. */
struct http_parse {
    const struct http_limits *limits;
    enum http_stage stage;
    enum http_refusal refusal; /* while REFUSED */

    /* the request */
    struct http_text method;
    struct http_text target;
    struct http_header *headers;
    size_t n_headers;
    struct buf body;       /* or the part of it that was not yet read */
    bool keeps_alive;      /* the client will send another */
    bool is_1_1;           /* or 1.0 */
    bool expects_continue; /* and has sent nothing of the body yet */

    /* on the way there */
    struct buf head;     /* a copy, which the texts point into */
    size_t headers_room; /* of headers[] */
    size_t lines;        /* of the head, or trailers, that were checked */
    size_t line_at;      /* where the next line begins in the input */
    size_t searched;     /* up to where it was searched for its end */
    bool is_value_next;  /* the parser gave a name */
    bool is_head_over;   /* the parser has seen the empty line */
    bool is_chunked;
    enum http_chunk_stage chunk_stage;
    uint64_t left;     /* bytes of the body, or of the chunk */
    uint64_t max_body; /* bytes of all chunks that may still come */
    size_t room;       /* bytes that the body's buffer may hold */
};

void http_parse_init(struct http_parse *parse,
                     const struct http_limits *limits);
void http_parse_free(struct http_parse *parse);
/* Forgets the request: the next one follows. */
void http_parse_reset(struct http_parse *parse);

/* Takes from in what belongs to the request, as far as it is there; of the body
 * only once it was accepted. */
enum http_stage http_parse_run(struct http_parse *parse, struct buf *in);
/* DUE: goes on with the body, unless it says that it is larger: 413. */
enum http_stage http_parse_accept(struct http_parse *parse, size_t max_body);
/* BODY: takes from in as much as parse->body has room for. */
enum http_stage http_parse_body(struct http_parse *parse, struct buf *in);

/* For parse.c and body.c alone. */
enum http_stage http_parse_refuse(struct http_parse *parse,
                                  enum http_refusal refusal);
/*
 * Finds the next line of in, from parse->line_at on.  False when it is not
 * there yet, or when the request was refused: for its end, or because the bytes
 * from in's begin to its end are more than most.
 */
struct http_line_rule {
    size_t most;
    enum http_refusal too_long;
    enum http_refusal bad_end;
};
bool http_parse_line(struct http_parse *parse, const struct buf *in,
                     const struct http_line_rule *rule, struct http_text *line);

#endif
