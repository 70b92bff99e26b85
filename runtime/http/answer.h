/*
 * answer.h - one reply from its bytes, as a client reads it, by the parser that
 * the distribution has, which answer.c hides.
 */
#ifndef TIDEPOOL_HTTP_ANSWER_H
#define TIDEPOOL_HTTP_ANSWER_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

enum http_answer_stage {
    HTTP_ANSWER_DUE, /* more bytes are needed */
    HTTP_ANSWER_WHOLE,
    HTTP_ANSWER_BAD, /* see why: nothing more can be read */
};

/* Owned by whoever made it; good for any number of replies, one by one. */
struct http_answer {
    enum http_answer_stage stage;
    int status;       /* of the head; interim ones (1xx) are passed over */
    bool keeps_alive; /* once WHOLE: another request may follow */
    struct buf *body; /* where the body goes, or NULL: it is dropped */
    const char *why;  /* once BAD */
};

enum err http_answer_new(struct http_answer **out) MUST_CHECK;
void http_answer_free(struct http_answer *answer); /* accepts NULL */

/* The next reply follows; to HEAD it has no body whatever it says. */
void http_answer_begin(struct http_answer *answer, bool is_head);
/* Takes from in what belongs to the reply, as far as it is there. */
enum http_answer_stage http_answer_take(struct http_answer *answer,
                                        struct buf *in);
/* The server has ended its side: WHOLE when that is how this reply ends. */
enum http_answer_stage http_answer_end(struct http_answer *answer);

#endif
