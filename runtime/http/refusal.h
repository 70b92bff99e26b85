/*
 * refusal.h - why the server itself answers a request with an error, and ends
 * its connection: one list of the reasons, which are counted by name.
 */
#ifndef TIDEPOOL_HTTP_REFUSAL_H
#define TIDEPOOL_HTTP_REFUSAL_H

/* XX(NAME, name, status, text); what is malformed before what is unknown: of
 * two reasons the first counts. */
/* clang-format off */
#define HTTP_REFUSALS_MAP(XX)                                                  \
    XX(LINE,        line,        400, "the request line is not exact")         \
    XX(TARGET,      target,      400, "the target has none of its forms")      \
    XX(HEADER,      header,      400, "a header is not exact")                 \
    XX(FRAMING,     framing,     400, "its end can be read in two ways")       \
    XX(HOST,        host,        400, "no host, two, or not the target's")     \
    XX(CHUNK,       chunk,       400, "a chunk or a trailer is not exact")     \
    XX(HEAD_TIME,   head_time,   408, "the head came too slowly")              \
    XX(BODY_TIME,   body_time,   408, "the body came too slowly")              \
    XX(BODY_SIZE,   body_size,   413, "the body is too large")                 \
    XX(EXPECTATION, expectation, 417, "an expectation but 100-continue")       \
    XX(HEAD_SIZE,   head_size,   431, "the head or the trailers are too large")\
    XX(METHOD,      method,      501, "the method is not known")               \
    XX(ENCODING,    encoding,    501, "a transfer encoding but chunked")       \
    XX(MEMORY,      memory,      503, "there is no memory for it")             \
    XX(VERSION,     version,     505, "the version is not HTTP/1.0 or 1.1")
/* clang-format on */

enum http_refusal {
    HTTP_ACCEPTED,
#define XX(NAME, name, status, text) HTTP_REFUSED_##NAME,
    HTTP_REFUSALS_MAP(XX)
#undef XX
        HTTP_REFUSALS
};

/* Of what is refused. */
int http_refusal_status(enum http_refusal refusal);

#endif
