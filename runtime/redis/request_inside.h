/* request_inside.h - what links do with a request: bytes out, replies in.
 * Private to redis/. */
#ifndef TIDEPOOL_REDIS_REQUEST_INSIDE_H
#define TIDEPOOL_REDIS_REQUEST_INSIDE_H

#include "redis/request.h"

struct redisReply; /* hiredis */

/* Its connection was leased for it alone. */
static inline bool redis_request_owns_link(const struct redis_request *request)
{
    return request->is_blocking && !request->is_on_lease;
}

/* Adds a command as it is, with no look at the table; lens may be NULL. */
enum err redis_request_append(struct redis_request *request, unsigned n_args,
                              const char *const *args,
                              const size_t *lens) MUST_CHECK;
/* Before it is sent: ERR_BADARG when it is empty. */
enum err redis_request_seal(struct redis_request *request) MUST_CHECK;
/* How many replies its bytes will bring. */
unsigned redis_request_due(const struct redis_request *request);
/* Takes over the next of these.  ERR_PROTOCOL: it cannot be one of them. */
enum err redis_request_take(struct redis_request *request,
                            struct redisReply *reply) MUST_CHECK;
/* Forgets the replies so far, for sending it once more. */
void redis_request_rewind(struct redis_request *request);

#endif
