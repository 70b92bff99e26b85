/* status.h - the reason phrases of RFC 9110 and its company. */
#ifndef TIDEPOOL_HTTP_STATUS_H
#define TIDEPOOL_HTTP_STATUS_H

const char *http_status_text(int status); /* "Not Found"; "" when unknown */

#endif
