/*
 * front.h - the HTTP side of the gateway: connections on the host's loop, each
 * of whose requests a handler of the script answers.
 *
 * The handler "request" gets "METHOD TARGET DIGEST ADDRESS": DIGEST is the
 * SHA-256 of the bearer token in hexadecimal digits, or "-" without one, so the
 * token itself is in no log, cache or table.  It replies with a head that lacks
 * nothing but its framing, an empty line and a body:
 *
 *   200 OK\r\ncontent-type: application/json\r\n\r\n{"id":7}
 *
 * All in the loop's thread.
 */
#ifndef GATEWAY_FRONT_H
#define GATEWAY_FRONT_H

#include <stdbool.h>
#include <tidepool.h>
#include <uv.h>

struct conn;

/* Owned by the host, who keeps it in place until front_end() has returned. */
struct front {
    uv_loop_t *loop;
    tide_runtime *runtime;
    uv_tcp_t listener;
    struct conn *conns;
    unsigned n_conns;
    bool is_ending; /* each connection is closed after its answer */
};

/* Listens on host:port.  Returns 0 or a libuv error. */
int front_listen(struct front *front, uv_loop_t *loop, tide_runtime *runtime,
                 const char *host, int port);

/* That it listens on; where 0 was asked for, the system has chosen. */
int front_port(const struct front *front);

/* Takes no more connections, closes those where nothing is asked. */
void front_stop(struct front *front);

/* Turns the loop until the answers that are on their way are written,
 * timeout_ms at most, and then closes what is left. */
void front_end(struct front *front, uint64_t timeout_ms);

#endif
