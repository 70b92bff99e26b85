/* json_check.c - see json_check.h.  Shares nothing with what it judges. */
#include "json_check.h"

#include <stdint.h>
#include <string.h>

enum { DEPTH_MAX = 900 };

struct json {
    const unsigned char *at, *end;
    size_t leaves;
    unsigned objects; /* open ones */
    unsigned depth;
};

static bool take(struct json *json, char c)
{
    if (json->at == json->end || *json->at != (unsigned char)c)
        return false;
    json->at++;
    return true;
}

static void skip_space(struct json *json)
{
    while (json->at < json->end && *json->at != '\0' &&
           strchr(" \t\r\n", *json->at) != NULL)
        json->at++;
}

static bool take_word(struct json *json, const char *word)
{
    while (*word != '\0')
        if (!take(json, *word++))
            return false;
    return true;
}

static bool take_digits(struct json *json)
{
    const unsigned char *from = json->at;

    while (json->at < json->end && *json->at >= '0' && *json->at <= '9')
        json->at++;
    return json->at > from;
}

static bool take_number(struct json *json)
{
    take(json, '-');
    if (!take(json, '0') && !take_digits(json))
        return false;
    if (take(json, '.') && !take_digits(json))
        return false;
    if (take(json, 'e') || take(json, 'E')) {
        if (!take(json, '+'))
            take(json, '-');
        return take_digits(json);
    }
    return true;
}

static bool take_hex4(struct json *json, unsigned *out)
{
    *out = 0;
    for (int i = 0; i < 4; i++) {
        static const char digits[] = "0123456789abcdef";
        const char *digit;

        if (json->at == json->end || *json->at == '\0')
            return false;
        digit =
            strchr(digits, *json->at >= 'A' && *json->at <= 'F' ? *json->at + 32
                                                                : *json->at);
        if (digit == NULL)
            return false;
        *out = *out * 16 + (unsigned)(digit - digits);
        json->at++;
    }
    return true;
}

static bool take_escape(struct json *json)
{
    unsigned code, low;

    if (json->at == json->end)
        return false;
    if (*json->at != 'u')
        return *json->at != '\0' && strchr("\"\\/bfnrt", *json->at++) != NULL;
    json->at++;
    if (!take_hex4(json, &code) || (code >= 0xdc00 && code <= 0xdfff))
        return false;
    if (code < 0xd800 || code > 0xdbff)
        return true;
    return take_word(json, "\\u") && take_hex4(json, &low) && low >= 0xdc00 &&
           low <= 0xdfff;
}

static bool take_string(struct json *json)
{
    if (!take(json, '"'))
        return false;
    while (json->at < json->end && *json->at >= ' ') {
        if (take(json, '"'))
            return true;
        if (*json->at++ == '\\' && !take_escape(json))
            return false;
    }
    return false;
}

static bool take_value(struct json *json);

static bool take_members(struct json *json, char close, bool has_names)
{
    skip_space(json);
    if (take(json, close))
        return true;
    do {
        skip_space(json);
        if (has_names) {
            if (!take_string(json))
                return false;
            skip_space(json);
            if (!take(json, ':'))
                return false;
        }
        if (!take_value(json))
            return false;
    } while (take(json, ','));
    return take(json, close);
}

static bool take_nested(struct json *json, bool is_object)
{
    bool is_good;

    if (++json->depth > DEPTH_MAX)
        return false;
    json->objects += is_object;
    is_good = take_members(json, is_object ? '}' : ']', is_object);
    json->objects -= is_object;
    json->depth--;
    return is_good;
}

/* With the white space on both sides. */
static bool take_value(struct json *json)
{
    bool is_good;

    skip_space(json);
    if (json->at == json->end)
        return false;
    json->leaves += json->objects == 0 && *json->at != '[';
    switch (*json->at) {
    case '{':
        json->at++;
        is_good = take_nested(json, true);
        break;
    case '[':
        json->at++;
        is_good = take_nested(json, false);
        break;
    case '"': is_good = take_string(json); break;
    case 't': is_good = take_word(json, "true"); break;
    case 'f': is_good = take_word(json, "false"); break;
    case 'n': is_good = take_word(json, "null"); break;
    default: is_good = take_number(json); break;
    }
    skip_space(json);
    return is_good;
}

bool json_check(const char *text, size_t len, size_t *leaves)
{
    struct json json = { .at = (const unsigned char *)text };

    json.end = json.at + len;
    if (!utf8_check(text, len) || !take_value(&json) || json.at != json.end)
        return false;
    if (leaves != NULL)
        *leaves = json.leaves;
    return true;
}

/* The length of a sequence, by its code: what could be shorter is none. */
static size_t sequence(const unsigned char *at, size_t left)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    size_t len = *at < 0x80             ? 1
                 : (*at & 0xe0) == 0xc0 ? 2
                 : (*at & 0xf0) == 0xe0 ? 3
                 : (*at & 0xf8) == 0xf0 ? 4
                                        : 0;
    uint32_t code = *at;

    if (len < 2)
        return len;
    if (len > left)
        return 0;
    code &= 0xffU >> (len + 1);
    for (size_t i = 1; i < len; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (at[i] & 0x3fU);
    }
    return code >= least[len] && code <= 0x10ffff &&
                   (code < 0xd800 || code > 0xdfff)
               ? len
               : 0;
}

bool utf8_check(const char *text, size_t len)
{
    const unsigned char *at = (const unsigned char *)text;

    while (len > 0) {
        size_t step = sequence(at, len);

        if (step == 0)
            return false;
        at += step;
        len -= step;
    }
    return true;
}
