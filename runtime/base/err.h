/* err.h - the one list of errors: enumerator, code for scripts, sentence. */
#ifndef TIDEPOOL_BASE_ERR_H
#define TIDEPOOL_BASE_ERR_H

/*
 * The code is what scripts see as err.code.
 * A server's own words travel beside the code, see struct err_text.
 */
/* clang-format off */
#define ERR_MAP(XX)                                                          \
    XX(BADARG,    "badarg",    "an argument or option is out of range")      \
    XX(NOMEM,     "nomem",     "out of memory")                              \
    XX(REFUSED,   "refused",   "the server cannot be reached")               \
    XX(TIMEOUT,   "timeout",   "the deadline passed")                        \
    XX(BUSY,      "busy",      "the waiting line is full")                   \
    XX(CLOSED,    "closed",    "the pool is closed")                         \
    XX(LOST,      "lost",      "the connection was lost")                    \
    XX(SERVER,    "server",    "the server answered with an error")          \
    XX(CANCELLED, "cancelled", "the operation was cancelled")                \
    XX(PROTOCOL,  "protocol",  "the peer broke the protocol")                \
    XX(BUDGET,    "budget",    "the script used more than it may")           \
    XX(INTERNAL,  "internal",  "the runtime broke one of its own rules")     \
    XX(CONFLICT,  "conflict",  "somebody else changed it in between")

enum err {
    ERR_OK,
#define XX(name, code, text) ERR_##name,
    ERR_MAP(XX)
#undef XX
    ERR_COUNT
};
/* clang-format on */

#define MUST_CHECK __attribute__((warn_unused_result))
/* The places, from 1, of the format and of the first argument it formats. */
#define PRINTF_LIKE(at, first) __attribute__((format(printf, at, first)))

enum { ERR_TEXT_MAX = 512, SQLSTATE_LEN = 5 };

/* A server's or library's own words, kept by value; text is cut to fit. */
struct err_text {
    char text[ERR_TEXT_MAX];         /* one line, "" when there is nothing */
    char sqlstate[SQLSTATE_LEN + 1]; /* "" when it was not Postgres */
};

const char *err_code(enum err err); /* "timeout"; "ok" for ERR_OK */
const char *err_sentence(enum err err);

/* Writes one line of text: control characters become spaces, ends trimmed. */
void err_text_set(struct err_text *text, const char *format, ...)
    PRINTF_LIKE(2, 3);

#endif
