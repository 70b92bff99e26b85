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

static enum http_refusal check_version(const char *version)
{
    if (memcmp(version, "HTTP/", 5) != 0 || !is_digit(version[5]) ||
        version[6] != '.' || !is_digit(version[7]))
        return HTTP_REFUSED_LINE;
    if (version[5] != '1' || version[7] > '1')
        return HTTP_REFUSED_VERSION;
    return HTTP_ACCEPTED;
}

bool http_text_authority(struct http_text target, struct http_text *authority)
{
    const char *from = memmem(target.bytes, target.len, "://", 3);
    size_t len = 0;

    if (target.bytes[0] == '/' || from == NULL)
        return false;
    from += 3;
    while (from + len < target.bytes + target.len && from[len] != '/' &&
           from[len] != '?')
        len++;
    *authority = (struct http_text){ from, len };
    return true;
}

/* One of http or https, with a host. */
static bool is_absolute(struct http_text target)
{
    struct http_text authority, scheme;

    if (!http_text_authority(target, &authority))
        return false;
    scheme.bytes = target.bytes;
    scheme.len = (size_t)(authority.bytes - target.bytes) - 3;
    return authority.len > 0 && authority.bytes[0] != ':' &&
           http_strict_host(authority) &&
           (http_text_is(scheme, "http") || http_text_is(scheme, "https"));
}

/* Browsers leave some characters as they are that a URI does not have; those
 * that end it to some readers, or begin another part, are none of these. */
static enum http_refusal check_target(struct http_text target,
                                      struct http_text method)
{
    for (size_t i = 0; i < target.len; i++) {
        unsigned char c = (unsigned char)target.bytes[i];

        if (c <= ' ' || c == 0x7f)
            return HTTP_REFUSED_LINE;
        if (c > 0x7f || c == '#')
            return HTTP_REFUSED_TARGET;
    }
    if (target.bytes[0] == '/' || is_absolute(target))
        return HTTP_ACCEPTED;
    if (target.len == 1 && target.bytes[0] == '*' &&
        http_text_is(method, "options"))
        return HTTP_ACCEPTED;
    return HTTP_REFUSED_TARGET;
}

enum http_refusal http_strict_request_line(struct http_text line)
{
    const char *space = memchr(line.bytes, ' ', line.len);
    struct http_text method, target;
    enum http_refusal refusal;

    if (space == NULL)
        return HTTP_REFUSED_LINE;
    method = (struct http_text){ line.bytes, (size_t)(space - line.bytes) };
    if (!http_is_token(method))
        return HTTP_REFUSED_LINE;
    target.bytes = space + 1;
    target.len = line.len - method.len - 1;
    if (target.len < VERSION_LEN + 2)
        return HTTP_REFUSED_LINE;
    target.len -= VERSION_LEN + 1;
    if (target.bytes[target.len] != ' ')
        return HTTP_REFUSED_LINE;
    refusal = check_version(target.bytes + target.len + 1);
    if (refusal != HTTP_ACCEPTED)
        return refusal;
    if (http_text_is(method, "connect"))
        return HTTP_REFUSED_METHOD; /* we are no proxy */
    return check_target(target, method);
}

bool http_strict_header_line(struct http_text line)
{
    const char *colon = memchr(line.bytes, ':', line.len);
    struct http_text name, value;

    /* A line that begins with a space would go on with the one before; a space
     * before the colon is part of the name to some. */
    if (colon == NULL)
        return false;
    name = (struct http_text){ line.bytes, (size_t)(colon - line.bytes) };
    value = (struct http_text){ colon + 1, line.len - name.len - 1 };
    return http_is_token(name) && is_value(value);
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

bool http_strict_chunk_line(struct http_text line, uint64_t *size)
{
    uint64_t sum = 0;
    size_t i = 0;

    for (; i < line.len && hex_of(line.bytes[i]) >= 0; i++) {
        if (i == CHUNK_DIGITS)
            return false;
        sum = sum * 16 + (unsigned)hex_of(line.bytes[i]);
    }
    if (i == 0 || (i < line.len && line.bytes[i] != ';'))
        return false;
    line.bytes += i;
    line.len -= i;
    if (!is_value(line))
        return false;
    *size = sum;
    return true;
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

/* Of a name or an IPv4 address, or, in brackets, an IPv6 address. */
static bool is_host_char(char c, bool is_in_brackets)
{
    if (is_in_brackets)
        return hex_of(c) >= 0 || c == ':' || c == '.';
    return (is_token_char((unsigned char)c) && strchr("#^`|", c) == NULL) ||
           (c != '\0' && strchr("()=,;", c) != NULL);
}

bool http_strict_host(struct http_text text)
{
    bool is_in_brackets = text.len > 0 && text.bytes[0] == '[';
    size_t i = is_in_brackets;

    while (i < text.len && is_host_char(text.bytes[i], is_in_brackets))
        i++;
    if (is_in_brackets && (i >= text.len || text.bytes[i++] != ']'))
        return false;
    if (i < text.len && text.bytes[i++] != ':')
        return false;
    while (i < text.len && is_digit(text.bytes[i]))
        i++;
    return i == text.len;
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
