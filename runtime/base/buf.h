/* buf.h - growable byte buffer: append at the end, consume at the front. */
#ifndef TIDEPOOL_BASE_BUF_H
#define TIDEPOOL_BASE_BUF_H

#include "base/err.h"

#include <stddef.h>

/*
 * Owned by whoever embeds it; all zero is a valid empty buffer.  An append
 * that finds no memory marks the buffer failed and later appends do nothing,
 * so a writer checks once at its end with buf_failed().
 */
struct buf {
    char *data; /* first byte not yet consumed; NULL when never used */
    size_t len; /* bytes from data on */
    size_t cap; /* bytes from data to the end of the allocation */
    char *base; /* the allocation */
    int failed;
};

void buf_free(struct buf *buf);  /* back to all zero */
void buf_clear(struct buf *buf); /* keeps the allocation, clears failed */

/* Makes room for size more bytes at data + len; no memory marks it failed. */
enum err buf_reserve(struct buf *buf, size_t size) MUST_CHECK;
/* Says that size bytes were written into the room made by buf_reserve(). */
void buf_added(struct buf *buf, size_t size);
void buf_consume(struct buf *buf, size_t size); /* at most len */

void buf_put(struct buf *buf, const void *bytes, size_t size);
void buf_put_str(struct buf *buf, const char *text);
void buf_put_char(struct buf *buf, char c);
void buf_printf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);

/* The size of the allocation. */
static inline size_t buf_held(const struct buf *buf)
{
    return buf->cap + (size_t)(buf->data - buf->base);
}

static inline int buf_failed(const struct buf *buf)
{
    return buf->failed;
}

#endif
