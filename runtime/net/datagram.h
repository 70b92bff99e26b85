/* datagram.h - one datagram to a socket of this machine. */
#ifndef TIDEPOOL_NET_DATAGRAM_H
#define TIDEPOOL_NET_DATAGRAM_H

#include "base/err.h"

#include <stddef.h>

/*
 * Sends text to the unix socket at to: a path, or "@name" in the abstract
 * namespace.  Never waits.  ERR_BUSY: who reads there is behind, try again;
 * ERR_BADARG: there is no such socket, or no name of one.
 */
enum err datagram_send(const char *to, const char *text, size_t len,
                       struct err_text *why) MUST_CHECK;

#endif
