/* json.c - see json.h. */
#include "base/json.h"

#include <stdbool.h>

static bool is_between(unsigned char c, unsigned char low, unsigned char high)
{
    return c >= low && c <= high;
}

size_t utf8_len(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    unsigned char low = 0x80;
    unsigned char high = 0xbf;
    size_t len = 2;

    if (s[0] < 0x80)
        return 1;
    if (!is_between(s[0], 0xc2, 0xf4))
        return 0;
    if (s[0] >= 0xe0)
        len = s[0] >= 0xf0 ? 4 : 3;
    if (s[0] == 0xe0)
        low = 0xa0; /* below are longer forms of shorter sequences */
    if (s[0] == 0xed)
        high = 0x9f; /* above are surrogates */
    if (s[0] == 0xf0)
        low = 0x90;
    if (s[0] == 0xf4)
        high = 0x8f; /* above is beyond Unicode */
    if (!is_between(s[1], low, high))
        return 0;
    for (size_t i = 2; i < len; i++) {
        if (!is_between(s[i], 0x80, 0xbf))
            return 0;
    }
    return len;
}

static void put_escaped(struct buf *out, char c)
{
    switch (c) {
    case '"': buf_put_str(out, "\\\""); break;
    case '\\': buf_put_str(out, "\\\\"); break;
    case '\n': buf_put_str(out, "\\n"); break;
    case '\r': buf_put_str(out, "\\r"); break;
    case '\t': buf_put_str(out, "\\t"); break;
    default: buf_printf(out, "\\u%04x", (unsigned)(unsigned char)c); break;
    }
}

/* How far text goes without a byte that needs a closer look. */
static const char *skip_plain(const char *text, const char *end)
{
    while (text < end && (unsigned char)*text >= ' ' &&
           (unsigned char)*text < 0x7f && *text != '"' && *text != '\\')
        text++;
    return text;
}

void json_put_string(struct buf *out, const char *text, size_t len)
{
    const char *end = text + len;
    const char *start = text; /* of what is copied as it is */

    buf_put_char(out, '"');
    while ((text = skip_plain(text, end)) < end) {
        size_t step = utf8_len(text);

        if (step > 1) {
            text += step;
            continue;
        }
        buf_put(out, start, (size_t)(text - start));
        if (step == 1)
            put_escaped(out, *text);
        else
            buf_put_str(out, "\xef\xbf\xbd");
        start = ++text;
    }
    buf_put(out, start, (size_t)(end - start));
    buf_put_char(out, '"');
}
