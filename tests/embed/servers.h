/* servers.h - a Postgres and a Redis of the test's own, held by a runtime of
 * their own. */
#ifndef TIDEPOOL_EMBED_SERVERS_H
#define TIDEPOOL_EMBED_SERVERS_H

#include "embed.h"

/* Of a cmocka group: starts both, or fails; stops both, and takes their
 * directory away. */
int servers_start(void **state);
int servers_stop(void **state);

/* Until servers_stop(). */
const char *postgres_url(void);
const char *redis_url(void);

/* name is "postgres" or "redis"; returns when it is gone, or answers again. */
void server_kill(const char *name);
void server_restart(const char *name);

#endif
