/* parse.c - see parse.h. */
#include "parse.h"

#include <string.h>
#include <strings.h>

enum { REQUEST_BYTES = 64 * 1024 }; /* more, with its body, is refused */

/* Appends to a text that has size bytes; false when they are not enough. */
static bool append(char *text, size_t size, const char *at, size_t len)
{
    size_t used = strlen(text);

    if (len >= size - used)
        return false;
    memcpy(text + used, at, len);
    text[used + len] = '\0';
    return true;
}

static int on_url(library_parser *parser, const char *at, size_t len)
{
    struct parse *parse = parser->data;

    if (append(parse->target, sizeof(parse->target), at, len))
        return 0;
    parse->refusal = 414;
    return -1;
}

static int on_header_field(library_parser *parser, const char *at, size_t len)
{
    struct parse *parse = parser->data;

    if (parse->is_value_next)
        parse->name[0] = '\0';
    parse->is_value_next = false;
    if (!append(parse->name, sizeof(parse->name), at, len))
        parse->name[0] = '\0'; /* none of ours is that long */
    return 0;
}

static int on_header_value(library_parser *parser, const char *at, size_t len)
{
    struct parse *parse = parser->data;

    parse->is_value_next = true;
    if (strcasecmp(parse->name, "authorization") != 0 ||
        append(parse->authorization, sizeof(parse->authorization), at, len))
        return 0;
    parse->refusal = 431;
    return -1;
}

static int on_message_complete(library_parser *parser)
{
    struct parse *parse = parser->data;

    parse->is_done = true;
#ifdef HAVE_LLHTTP
    parse->keep_alive = llhttp_should_keep_alive(parser) != 0;
    parse->method = llhttp_method_name(llhttp_get_method(parser));
    return HPE_PAUSED;
#else
    parse->keep_alive = http_should_keep_alive(parser) != 0;
    parse->method = http_method_str(parser->method);
    http_parser_pause(parser, 1);
    return 0;
#endif
}

#ifdef HAVE_LLHTTP
static const llhttp_settings_t settings = {
#else
static const http_parser_settings settings = {
#endif
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_message_complete = on_message_complete,
};

void parse_init(struct parse *parse)
{
    memset(parse, 0, sizeof(*parse));
#ifdef HAVE_LLHTTP
    llhttp_init(&parse->parser, HTTP_REQUEST, &settings);
#else
    http_parser_init(&parse->parser, HTTP_REQUEST);
#endif
    parse->parser.data = parse;
}

/* Gives how many bytes it took, and in *is_wrong what it made of them. */
static size_t execute(struct parse *parse, const char *bytes, size_t len,
                      bool *is_wrong)
{
#ifdef HAVE_LLHTTP
    llhttp_errno_t error = llhttp_execute(&parse->parser, bytes, len);

    *is_wrong = error != HPE_OK && error != HPE_PAUSED;
    if (error == HPE_OK)
        return len;
    return (size_t)(llhttp_get_error_pos(&parse->parser) - bytes);
#else
    size_t taken = http_parser_execute(&parse->parser, &settings, bytes, len);
    enum http_errno error = HTTP_PARSER_ERRNO(&parse->parser);

    *is_wrong = error != HPE_OK && error != HPE_PAUSED;
    return taken;
#endif
}

size_t parse_take(struct parse *parse, const char *bytes, size_t len)
{
    bool is_wrong;
    size_t taken = execute(parse, bytes, len, &is_wrong);

    parse->is_begun = parse->is_begun || len > 0;
    parse->n_bytes += taken;
    if (parse->is_done)
        return taken;
    if (is_wrong && parse->refusal == 0)
        parse->refusal = 400;
    if (parse->n_bytes > REQUEST_BYTES)
        parse->refusal = 413;
    return len;
}
