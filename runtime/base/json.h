/* json.h - what every writer of JSON shares: strings, and what is UTF-8. */
#ifndef TIDEPOOL_BASE_JSON_H
#define TIDEPOOL_BASE_JSON_H

#include "base/buf.h"

/*
 * The length of the UTF-8 sequence at the start of text, 0 when it is not one
 * (table 3-7 of the Unicode standard).  text ends in a zero, which is no
 * continuation byte, so nothing beyond it is read.
 */
size_t utf8_len(const char *text);

/* Appends text as a JSON string with its quotes; bytes that are not UTF-8
 * become U+FFFD each.  text[len] is a zero. */
void json_put_string(struct buf *out, const char *text, size_t len);

#endif
