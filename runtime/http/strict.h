/*
 * strict.h - what of a request's bytes, and of a reply's headers, is let
 * through.  The parsers of both distributions read more than the standard
 * allows, and what two readers of one request understand differently is how
 * requests are smuggled; so each line passes here before a parser sees it.
 */
#ifndef TIDEPOOL_HTTP_STRICT_H
#define TIDEPOOL_HTTP_STRICT_H

#include "http/header.h"
#include "http/refusal.h"

#include <stdbool.h>
#include <stdint.h>

/* Each takes a line without its CRLF. */
enum http_refusal http_strict_request_line(struct http_text line);
bool http_strict_header_line(struct http_text line);
bool http_strict_chunk_line(struct http_text line, uint64_t *size);

/* Digits only, below 2^63. */
bool http_strict_length(struct http_text text, uint64_t *length);
bool http_strict_host(struct http_text text);
bool http_is_token(struct http_text text);

/* That of a target in absolute form; false for the other forms. */
bool http_text_authority(struct http_text target, struct http_text *authority);

/* name is in lower case; text may be in any. */
bool http_text_is(struct http_text text, const char *name);
/* Takes the next member of a list off the front of text; false at its end. */
bool http_text_next(struct http_text *list, struct http_text *member);
void http_text_trim(struct http_text *text);

/* False for a name or value that would break out of its line, and for the names
 * that are the server's own.  A reply with such a header, or with a status
 * other than 200 to 599, is sent as an empty 500. */
bool http_header_is_valid(const struct http_header *header);

#endif
