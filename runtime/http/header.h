/* header.h - texts and headers, as requests and replies have them. */
#ifndef TIDEPOOL_HTTP_HEADER_H
#define TIDEPOOL_HTTP_HEADER_H

#include <stddef.h>

/* Borrowed: of a request from the connection's buffer, of a reply from its
 * maker. */
struct http_text {
    const char *bytes;
    size_t len;
};

struct http_header {
    struct http_text name; /* requests: in lower case */
    struct http_text value;
};

#endif
