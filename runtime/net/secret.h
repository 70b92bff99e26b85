/* secret.h - what secrets are made of and kept as: random bytes, SHA-256. */
#ifndef TIDEPOOL_NET_SECRET_H
#define TIDEPOOL_NET_SECRET_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { SECRET_HASH_LEN = 32 };

/* Fills bytes with the kernel's random ones.  ERR_INTERNAL: it gave none. */
enum err secret_random(uint8_t *bytes, size_t len) MUST_CHECK;

/* SHA-256 (FIPS 180-4) of a text.  ERR_NOMEM. */
enum err secret_hash(uint8_t hash[SECRET_HASH_LEN], const void *text,
                     size_t len) MUST_CHECK;

/* Writes 2 * len digits "0" to "f", and no end. */
void secret_put_hex(char *out, const uint8_t *bytes, size_t len);

#endif
