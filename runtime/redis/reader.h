/* reader.h - bytes of a connection to replies: hiredis' reader, with a bound:
 * that would make room for whatever number of elements a server announces. */
#ifndef TIDEPOOL_REDIS_READER_H
#define TIDEPOOL_REDIS_READER_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct redisReply; /* hiredis */
struct redis_reader;

/* A reply may announce so many elements, with those of all arrays inside of it:
 * 8 bytes each are had at once, and each is visited when the reply is given
 * back. NULL: no memory. */
struct redis_reader *redis_reader_new(size_t elements_max);
/* NULL is let be. */
void redis_reader_free(struct redis_reader *reader);
/* Copies them.  ERR_NOMEM, with a text. */
enum err redis_reader_feed(struct redis_reader *reader, const void *bytes,
                           size_t len, struct err_text *text);
/* The next reply, which the caller frees, or NULL: more bytes are needed.
 * ERR_PROTOCOL, with a text: there is no telling where the next would begin. */
enum err redis_reader_next(struct redis_reader *reader,
                           struct redisReply **reply, struct err_text *text);
/* Whether what was fed has been taken, to the last byte. */
bool redis_reader_is_empty(const struct redis_reader *reader);

#endif
