/* http_shapes.h - a table of what may come as a request, with what becomes of
 * it, for tests. */
#ifndef TIDEPOOL_UNIT_HTTP_SHAPES_H
#define TIDEPOOL_UNIT_HTTP_SHAPES_H

#include "http/refusal.h"

#include <stdbool.h>
#include <stddef.h>

struct http_shape {
    const char *what;
    const char *section;       /* of the RFC that decides: "9112 6.3" */
    enum http_refusal refusal; /* or none */
    const char *handled; /* "GET /a\nPOST /:body\n": before it is refused */
    bool ends;           /* the connection ends although nothing is refused */
    const char *bytes;
    size_t len;
};

extern const struct http_shape http_shapes[];
extern const size_t http_shapes_len;

#endif
