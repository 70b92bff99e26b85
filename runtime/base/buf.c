/* buf.c - see buf.h. */
#include "base/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_SIZE = 256 };

static size_t consumed(const struct buf *buf)
{
    return (size_t)(buf->data - buf->base);
}

/* Gives the consumed bytes in front of data back to the room at the end. */
static void compact(struct buf *buf)
{
    if (buf->len > 0)
        memmove(buf->base, buf->data, buf->len);
    buf->cap += consumed(buf);
    buf->data = buf->base;
}

static enum err grow(struct buf *buf, size_t need)
{
    size_t size = buf->cap < FIRST_SIZE ? FIRST_SIZE : buf->cap;
    char *base;

    /* At least twice as much, so that appends are O(1); but for one large
     * piece, which often is the last, no more than it takes. */
    if (size < need)
        size = size <= SIZE_MAX / 2 && 2 * size > need ? 2 * size : need;
    base = realloc(buf->base, size);
    if (base == NULL)
        return ERR_NOMEM;
    buf->base = base;
    buf->data = base;
    buf->cap = size;
    return ERR_OK;
}

void buf_free(struct buf *buf)
{
    free(buf->base);
    *buf = (struct buf){ 0 };
}

void buf_clear(struct buf *buf)
{
    buf->len = 0;
    buf->failed = 0;
    if (buf->base != NULL)
        compact(buf);
}

enum err buf_reserve(struct buf *buf, size_t size)
{
    if (buf->failed)
        return ERR_NOMEM;
    if (buf->cap - buf->len >= size)
        return ERR_OK;
    if (size > SIZE_MAX - buf->len)
        goto fail;
    /*
     * Moving the bytes pays only when no more of them are moved than were
     * consumed since the last move; else growing is what keeps appends O(1).
     */
    if (buf->base != NULL) {
        int pays = consumed(buf) >= buf->len;

        compact(buf);
        if (pays && buf->cap - buf->len >= size)
            return ERR_OK;
    }
    if (grow(buf, buf->len + size) == ERR_OK)
        return ERR_OK;

fail:
    buf->failed = 1;
    return ERR_NOMEM;
}

void buf_added(struct buf *buf, size_t size)
{
    assert(size <= buf->cap - buf->len);
    buf->len += size;
}

void buf_consume(struct buf *buf, size_t size)
{
    assert(size <= buf->len);
    if (size == 0)
        return;
    buf->data += size;
    buf->len -= size;
    buf->cap -= size;
    if (buf->len == 0)
        compact(buf);
}

void buf_put(struct buf *buf, const void *bytes, size_t size)
{
    if (size == 0 || buf_reserve(buf, size) != ERR_OK)
        return;
    memcpy(buf->data + buf->len, bytes, size);
    buf->len += size;
}

void buf_put_str(struct buf *buf, const char *text)
{
    buf_put(buf, text, strlen(text));
}

void buf_put_char(struct buf *buf, char c)
{
    buf_put(buf, &c, 1);
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    size_t room = FIRST_SIZE / 2;
    int written;
    va_list args;

    /* One try for what is short, a second one when it was not. */
    for (;;) {
        if (buf_reserve(buf, room) != ERR_OK)
            return;
        va_start(args, format);
        written = vsnprintf(buf->data + buf->len, room, format, args);
        va_end(args);
        if (written < 0) {
            buf->failed = 1;
            return;
        }
        if ((size_t)written < room)
            break;
        room = (size_t)written + 1;
    }
    buf->len += (size_t)written;
}
