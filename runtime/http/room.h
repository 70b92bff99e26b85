/*
 * room.h - what a server does when it is full: who keeps it waiting goes first.
 */
#ifndef TIDEPOOL_HTTP_ROOM_H
#define TIDEPOOL_HTTP_ROOM_H

#include "http/conn.h"

/* The state of conn has changed: who is waited for stands in line. */
void http_room_line_up(struct http_conn *conn);
/* One more connection than there may be has come: closes the one that has been
 * waited for longest, for a request or its head.  False when there is none. */
bool http_room_for_connection(struct http_server *server) MUST_CHECK;

/*
 * The buffers of conn have changed: counts them.  While all of the server's are
 * more than max_buffered_bytes, whatever conn holds, those are closed that hold
 * most for longest, but conn and those whose request is lent.  False when that
 * is not enough.
 */
bool http_room_count(struct http_conn *conn);
/* conn has none any more. */
void http_room_leave(struct http_conn *conn);

#endif
