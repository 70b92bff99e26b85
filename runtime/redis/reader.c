/* reader.c - see reader.h. */
#include "redis/reader.h"

#include <stdlib.h>

#include <hiredis/hiredis.h>

/* As hiredis counts the elements of an array. */
#if HIREDIS_MAJOR > 0
typedef size_t elements_count;
#else
typedef int elements_count;
#endif

struct redis_reader {
    redisReader *hiredis;
    redisReplyObjectFunctions functions; /* hiredis', but for arrays */
    void *(*create_array)(const redisReadTask *task, elements_count count);
    size_t elements_max, announced; /* of the reply that is read */
};

static void *create_array(const redisReadTask *task, elements_count count)
{
    struct redis_reader *reader = task->privdata;

    reader->announced += (size_t)count;
    if (reader->announced > reader->elements_max)
        return NULL;
    return reader->create_array(task, count);
}

struct redis_reader *redis_reader_new(size_t elements_max)
{
    struct redis_reader *reader = calloc(1, sizeof(*reader));

    if (reader == NULL)
        return NULL;
    reader->hiredis = redisReaderCreate();
    if (reader->hiredis == NULL) {
        free(reader);
        return NULL;
    }
    reader->elements_max = elements_max;
    reader->functions = *reader->hiredis->fn;
    reader->create_array = reader->functions.createArray;
    reader->functions.createArray = create_array;
    reader->hiredis->fn = &reader->functions;
    reader->hiredis->privdata = reader;
    return reader;
}

void redis_reader_free(struct redis_reader *reader)
{
    if (reader == NULL)
        return;
    redisReaderFree(reader->hiredis);
    free(reader);
}

enum err redis_reader_feed(struct redis_reader *reader, const void *bytes,
                           size_t len, struct err_text *text)
{
    if (redisReaderFeed(reader->hiredis, bytes, len) == REDIS_OK)
        return ERR_OK;
    err_text_set(text, "no memory for a reply");
    return ERR_NOMEM;
}

static enum err refuse(const struct redis_reader *reader, struct err_text *text)
{
    if (reader->announced > reader->elements_max)
        err_text_set(text,
                     "the peer announced a reply of %zu elements or more; "
                     "expected at most %zu",
                     reader->announced, reader->elements_max);
    else
        err_text_set(text, "the peer broke the protocol: %s",
                     reader->hiredis->errstr);
    return ERR_PROTOCOL;
}

enum err redis_reader_next(struct redis_reader *reader,
                           struct redisReply **reply, struct err_text *text)
{
    void *next = NULL;

    if (redisReaderGetReply(reader->hiredis, &next) != REDIS_OK)
        return refuse(reader, text);
    if (next != NULL)
        reader->announced = 0;
    *reply = next;
    return ERR_OK;
}

bool redis_reader_is_empty(const struct redis_reader *reader)
{
    return reader->hiredis->pos == reader->hiredis->len;
}
