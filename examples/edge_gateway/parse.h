/*
 * parse.h - one HTTP/1 request at a time, by llhttp or http_parser, whichever
 * the distribution has.
 *
 * What the gateway needs of a request is kept in fixed room; a body is read and
 * dropped.
 */
#ifndef GATEWAY_PARSE_H
#define GATEWAY_PARSE_H

#include <stdbool.h>
#include <stddef.h>

#ifdef HAVE_LLHTTP
#include <llhttp.h>
typedef llhttp_t library_parser;
#else
#include <http_parser.h>
typedef http_parser library_parser;
#endif

enum { TARGET_BYTES = 2048, NAME_BYTES = 32, LOGIN_BYTES = 512 };

struct parse {
    library_parser parser;
    bool is_begun; /* a byte of the request has come */
    bool is_done;  /* the whole request has */
    int refusal;   /* a status, when it is not to be answered otherwise; or 0 */
    size_t n_bytes;     /* of it so far */
    const char *method; /* static text; once it is done, as the next is */
    bool keep_alive;
    char target[TARGET_BYTES];
    char authorization[LOGIN_BYTES];
    char name[NAME_BYTES]; /* of the header that is read */
    bool is_value_next;
};

/* Begins a request. */
void parse_init(struct parse *parse);

/* Takes bytes up to the end of the request, and returns how many it took; all
 * of them when it is not done.  Not to be called after a refusal. */
size_t parse_take(struct parse *parse, const char *bytes, size_t len);

#endif
