/* json_check.h - what JSON is, by RFC 8259 to the letter: a second opinion on
 * what the runtime writes and reads. */
#ifndef TIDEPOOL_FUZZ_JSON_CHECK_H
#define TIDEPOOL_FUZZ_JSON_CHECK_H

#include <stdbool.h>
#include <stddef.h>

/* Whether text is one value, nested at most 900 deep, in UTF-8, without halves
 * of surrogate pairs.  *leaves: how many of its values are no arrays, those in
 * objects not counted; may be NULL. */
bool json_check(const char *text, size_t len, size_t *leaves);

/* Whether text is UTF-8 (RFC 3629). */
bool utf8_check(const char *text, size_t len);

#endif
