/* answer.c - see answer.h.  With parse.c what knows llhttp and http_parser. */
#include "http/answer.h"

#ifdef HAVE_LLHTTP
#include <llhttp.h>
#else
#include <http_parser.h>
#endif

#include "base/list.h"

#include <assert.h>
#include <stdlib.h>

#ifdef HAVE_LLHTTP
typedef llhttp_t library_parser;
typedef llhttp_settings_t library_settings;
#else
typedef http_parser library_parser;
typedef http_parser_settings library_settings;
#endif

struct reader {
    struct http_answer answer;
    library_parser parser;
    bool is_head;
    bool is_over; /* the parser came to the end of a message */
};

static struct reader *inside(struct http_answer *answer)
{
    return container_of(answer, struct reader, answer);
}

static enum http_answer_stage refuse(struct reader *reader, const char *why)
{
    reader->answer.why = why;
    reader->answer.stage = HTTP_ANSWER_BAD;
    return reader->answer.stage;
}

/* ---- what the parser finds */

/* 1: no body follows.  The libraries would wait for the length that a 304 may
 * tell of the body that it has not. */
static int on_headers_complete(library_parser *parser)
{
    struct reader *reader = parser->data;
    unsigned status = parser->status_code;

    return reader->is_head || status < 200 || status == 204 || status == 304;
}

static int on_body(library_parser *parser, const char *at, size_t len)
{
    struct reader *reader = parser->data;

    if (reader->answer.body != NULL)
        buf_put(reader->answer.body, at, len);
    return 0;
}

static int on_message_complete(library_parser *parser);

static const library_settings settings = {
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

#ifdef HAVE_LLHTTP
static int on_message_complete(library_parser *parser)
{
    struct reader *reader = parser->data;

    reader->is_over = true;
    reader->answer.keeps_alive = llhttp_should_keep_alive(parser);
    return HPE_PAUSED;
}

static void start_parser(struct reader *reader)
{
    llhttp_init(&reader->parser, HTTP_RESPONSE, &settings);
}

/* Says how many bytes were used; NULL or what is wrong goes to why. */
static size_t run_parser(struct reader *reader, const struct buf *in,
                         const char **why)
{
    llhttp_errno_t error = llhttp_execute(&reader->parser, in->data, in->len);
    const char *end = llhttp_get_error_pos(&reader->parser);

    *why = NULL;
    if (error == HPE_OK)
        return in->len;
    if (error != HPE_PAUSED && error != HPE_PAUSED_UPGRADE)
        *why = llhttp_get_error_reason(&reader->parser);
    return end != NULL ? (size_t)(end - in->data) : in->len;
}

static void end_parser(struct reader *reader)
{
    llhttp_finish(&reader->parser);
}
#else
static int on_message_complete(library_parser *parser)
{
    struct reader *reader = parser->data;

    reader->is_over = true;
    reader->answer.keeps_alive = http_should_keep_alive(parser) != 0;
    http_parser_pause(parser, 1);
    return 0;
}

static void start_parser(struct reader *reader)
{
    http_parser_init(&reader->parser, HTTP_RESPONSE);
}

/* Says how many bytes were used; NULL or what is wrong goes to why. */
static size_t run_parser(struct reader *reader, const struct buf *in,
                         const char **why)
{
    size_t used =
        http_parser_execute(&reader->parser, &settings, in->data, in->len);
    enum http_errno error = HTTP_PARSER_ERRNO(&reader->parser);

    *why = NULL;
    if (error != HPE_OK && error != HPE_PAUSED)
        *why = http_errno_description(error);
    return used;
}

static void end_parser(struct reader *reader)
{
    http_parser_execute(&reader->parser, &settings, NULL, 0);
}
#endif

/* ---- life */

static void start(struct reader *reader)
{
    start_parser(reader);
    reader->parser.data = reader;
    reader->is_over = false;
}

enum err http_answer_new(struct http_answer **out)
{
    struct reader *reader = calloc(1, sizeof(*reader));

    if (reader == NULL)
        return ERR_NOMEM;
    *out = &reader->answer;
    http_answer_begin(*out, false);
    return ERR_OK;
}

void http_answer_free(struct http_answer *answer)
{
    if (answer != NULL)
        free(inside(answer));
}

void http_answer_begin(struct http_answer *answer, bool is_head)
{
    struct reader *reader = inside(answer);

    reader->is_head = is_head;
    answer->stage = HTTP_ANSWER_DUE;
    answer->status = 0;
    answer->keeps_alive = false;
    answer->why = NULL;
    start(reader);
}

/* The parser came to the end of a message. */
static enum http_answer_stage take_end(struct reader *reader)
{
    int status = (int)reader->parser.status_code;

    if (status == 101)
        return refuse(reader, "the server switches protocols (101)");
    if (status < 200) {
        start(reader); /* an interim reply: the real one follows */
        return HTTP_ANSWER_DUE;
    }
    reader->answer.status = status;
    reader->answer.stage = HTTP_ANSWER_WHOLE;
    return reader->answer.stage;
}

enum http_answer_stage http_answer_take(struct http_answer *answer,
                                        struct buf *in)
{
    struct reader *reader = inside(answer);
    const char *why;

    assert(answer->stage == HTTP_ANSWER_DUE);
    while (in->len > 0 && answer->stage == HTTP_ANSWER_DUE) {
        size_t used = run_parser(reader, in, &why);

        if (why != NULL)
            return refuse(reader, why);
        buf_consume(in, used);
        if (reader->is_over)
            take_end(reader);
    }
    return answer->stage;
}

enum http_answer_stage http_answer_end(struct http_answer *answer)
{
    struct reader *reader = inside(answer);

    if (answer->stage != HTTP_ANSWER_DUE)
        return answer->stage;
    end_parser(reader);
    if (!reader->is_over)
        return refuse(reader, "the server ended in the middle of the reply");
    if (take_end(reader) == HTTP_ANSWER_WHOLE)
        answer->keeps_alive = false;
    else if (answer->stage == HTTP_ANSWER_DUE)
        return refuse(reader, "the server ended after an interim reply");
    return answer->stage;
}
