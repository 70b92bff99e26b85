/* strict.c - see strict.h; the grammar is that of RFC 9110 and 9112. */
#include "http/strict.h"

#include <string.h>

enum {
    VERSION_LEN = 8,    /* "HTTP/1.1" */
    LENGTH_DIGITS = 18, /* as many always fit */
    CHUNK_DIGITS = 15,
};

/* What names are made of. */
static bool is_token_char(unsigned char c)
{
    if (c >= 'a' && c <= 'z')
        return true;
    if ((c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
        return true;
    return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

bool http_is_token(struct http_text text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!is_token_char((unsigned char)text.bytes[i]))
            return false;
    }
    return text.len > 0;
}

/* What values are made of: no control character but the tab. */
static bool is_value(struct http_text text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.bytes[i];

        if ((c < ' ' && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int check_version(const char *version)
{
    if (memcmp(version, "HTTP/", 5) != 0 || !is_digit(version[5]) ||
        version[6] != '.' || !is_digit(version[7]))
        return 400;
    if (version[5] != '1' || version[7] > '1')
        return 505;
    return 0;
}

int http_strict_request_line(struct http_text line)
{
    const char *space = memchr(line.bytes, ' ', line.len);
    struct http_text method, target;

    if (space == NULL)
        return 400;
    method = (struct http_text){ line.bytes, (size_t)(space - line.bytes) };
    if (!http_is_token(method))
        return 400;
    target.bytes = space + 1;
    target.len = line.len - method.len - 1;
    if (target.len < VERSION_LEN + 2)
        return 400;
    target.len -= VERSION_LEN + 1;
    if (target.bytes[target.len] != ' ')
        return 400;
    for (size_t i = 0; i < target.len; i++) {
        unsigned char c = (unsigned char)target.bytes[i];

        if (c <= ' ' || c >= 0x7f || c == '#')
            return 400;
    }
    if (http_text_is(method, "connect"))
        return 501; /* we are no proxy */
    return check_version(target.bytes + target.len + 1);
}

int http_strict_header_line(struct http_text line)
{
    const char *colon = memchr(line.bytes, ':', line.len);
    struct http_text name, value;

    /* A line that begins with a space would go on with the one before; a space
     * before the colon is part of the name to some. */
    if (colon == NULL)
        return 400;
    name = (struct http_text){ line.bytes, (size_t)(colon - line.bytes) };
    value = (struct http_text){ colon + 1, line.len - name.len - 1 };
    return http_is_token(name) && is_value(value) ? 0 : 400;
}

static int hex_of(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int http_strict_chunk_line(struct http_text line, uint64_t *size)
{
    uint64_t sum = 0;
    size_t i = 0;

    for (; i < line.len && hex_of(line.bytes[i]) >= 0; i++) {
        if (i == CHUNK_DIGITS)
            return 400;
        sum = sum * 16 + (unsigned)hex_of(line.bytes[i]);
    }
    if (i == 0)
        return 400;
    if (i < line.len && line.bytes[i] != ';')
        return 400;
    line.bytes += i;
    line.len -= i;
    if (!is_value(line))
        return 400;
    *size = sum;
    return 0;
}

bool http_strict_length(struct http_text text, uint64_t *length)
{
    uint64_t sum = 0;

    if (text.len == 0 || text.len > LENGTH_DIGITS)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (!is_digit(text.bytes[i]))
            return false;
        sum = sum * 10 + (unsigned)(text.bytes[i] - '0');
    }
    *length = sum;
    return true;
}

bool http_strict_host(struct http_text text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.bytes[i];

        if (!is_token_char((unsigned char)c) && strchr("()=,;:[]", c) == NULL)
            return false;
    }
    return true;
}

bool http_text_is(struct http_text text, const char *name)
{
    if (text.len != strlen(name))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.bytes[i];

        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        if (c != name[i])
            return false;
    }
    return true;
}

void http_text_trim(struct http_text *text)
{
    while (text->len > 0 && (text->bytes[0] == ' ' || text->bytes[0] == '\t')) {
        text->bytes++;
        text->len--;
    }
    while (text->len > 0 && (text->bytes[text->len - 1] == ' ' ||
                             text->bytes[text->len - 1] == '\t'))
        text->len--;
}

bool http_text_next(struct http_text *list, struct http_text *member)
{
    const char *comma;

    if (list->len == 0)
        return false;
    comma = memchr(list->bytes, ',', list->len);
    *member = *list;
    if (comma == NULL) {
        list->bytes += list->len;
        list->len = 0;
    } else {
        member->len = (size_t)(comma - list->bytes);
        list->bytes += member->len + 1;
        list->len -= member->len + 1;
    }
    http_text_trim(member);
    return true;
}

/* ---- replies */

bool http_header_is_valid(const struct http_header *header)
{
    static const char *const ours[] = { "content-length", "connection", "date",
                                        "transfer-encoding" };

    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
        if (http_text_is(header->name, ours[i]))
            return false;
    }
    return http_is_token(header->name) && is_value(header->value);
}
