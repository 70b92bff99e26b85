/* greeting.h - what a new connection says first, all at once, and whether the
 * server will have it. */
#ifndef TIDEPOOL_REDIS_GREETING_H
#define TIDEPOOL_REDIS_GREETING_H

#include "redis/internal.h"

/* A user or a password is known. */
bool redis_greeting_has_login(const struct redis_pool *redis);
/* HELLO or AUTH, SELECT, CLIENT SETNAME and PING, as far as they are needed. */
enum err redis_greeting_put(struct redis_request *own,
                            const struct redis_pool *redis) MUST_CHECK;
enum err redis_greeting_put_select(struct redis_request *own,
                                   unsigned db) MUST_CHECK;
/* Reads its replies; words gets the server's sentence. */
bool redis_greeting_is_refused(const struct redis_request *own,
                               const struct redis_pool *redis,
                               struct err_text *words);

#endif
