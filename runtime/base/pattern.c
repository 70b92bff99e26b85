/* pattern.c - see pattern.h. */
#include "base/pattern.h"

#include <ctype.h>
#include <string.h>

enum { DEPTH_MAX = 200, STEPS_A_POLL = 16384 };

static const char *fail(struct pattern *pattern, const char *error)
{
    if (pattern->error == NULL)
        pattern->error = error;
    pattern->is_stopped = true;
    return NULL;
}

/* Says whether one more step may be taken. */
static bool step(struct pattern *pattern)
{
    bool is_spent =
        pattern->max_steps > 0 && pattern->steps >= pattern->max_steps;

    pattern->steps++;
    if (is_spent || (pattern->steps % STEPS_A_POLL == 0 &&
                     pattern->is_over != NULL && pattern->is_over(pattern->ud)))
        pattern->is_stopped = true;
    return !pattern->is_stopped;
}

/* ---- one character */

static bool is_in_class(unsigned char c, unsigned char name)
{
    bool is;

    switch (tolower(name)) {
    case 'a': is = isalpha(c); break;
    case 'c': is = iscntrl(c); break;
    case 'd': is = isdigit(c); break;
    case 'g': is = isgraph(c); break;
    case 'l': is = islower(c); break;
    case 'p': is = ispunct(c); break;
    case 's': is = isspace(c); break;
    case 'u': is = isupper(c); break;
    case 'w': is = isalnum(c); break;
    case 'x': is = isxdigit(c); break;
    case 'z': is = c == '\0'; break;
    default: return name == c; /* it stands for itself */
    }
    return isupper(name) ? !is : is;
}

/* Where the single item at p ends; NULL: the pattern is wrong. */
static const char *item_end(struct pattern *pattern, const char *p)
{
    const char *end = pattern->text_end;
    char first = *p++;

    if (first == '%') {
        if (p == end)
            return fail(pattern, "malformed pattern (ends with '%')");
        return p + 1;
    }
    if (first != '[')
        return p;
    if (p < end && *p == '^')
        p++;
    do { /* a ] that comes first is one of the set */
        if (p == end)
            return fail(pattern, "malformed pattern (missing ']')");
        if (*p++ == '%') {
            if (p == end)
                return fail(pattern, "malformed pattern (missing ']')");
            p++;
        }
    } while (p == end || *p != ']');
    return p + 1;
}

/* The set from p, its [, to last, its ]. */
static bool is_in_set(unsigned char c, const char *p, const char *last)
{
    bool is_not = p[1] == '^';

    p += is_not ? 2 : 1;
    for (; p < last; p++) {
        if (*p == '%') {
            p++;
            if (is_in_class(c, (unsigned char)*p))
                return !is_not;
        } else if (p + 2 < last && p[1] == '-') {
            if ((unsigned char)p[0] <= c && c <= (unsigned char)p[2])
                return !is_not;
            p += 2;
        } else if ((unsigned char)*p == c) {
            return !is_not;
        }
    }
    return is_not;
}

/* Whether the character at s is the item from p to end. */
static bool is_item(const struct pattern *pattern, const char *s, const char *p,
                    const char *end)
{
    unsigned char c;

    if (s >= pattern->subject_end)
        return false;
    c = (unsigned char)*s;
    switch (*p) {
    case '.': return true;
    case '%': return is_in_class(c, (unsigned char)p[1]);
    case '[': return is_in_set(c, p, end - 1);
    default: return (unsigned char)*p == c;
    }
}

/* ---- what is more than one character */

static const char *match(struct pattern *pattern, const char *s, const char *p);

/* As many as there are, then fewer and fewer. */
static const char *longest(struct pattern *pattern, const char *s,
                           const char *p, const char *end)
{
    size_t count = 0;

    while (is_item(pattern, s + count, p, end)) {
        if (!step(pattern))
            return NULL;
        count++;
    }
    for (;; count--) {
        const char *found = match(pattern, s + count, end + 1);

        if (found != NULL || pattern->is_stopped || count == 0)
            return found;
    }
}

static const char *shortest(struct pattern *pattern, const char *s,
                            const char *p, const char *end)
{
    for (;; s++) {
        const char *found = match(pattern, s, end + 1);

        if (found != NULL || pattern->is_stopped)
            return found;
        if (!is_item(pattern, s, p, end))
            return NULL;
    }
}

static const char *open_capture(struct pattern *pattern, const char *s,
                                const char *p, size_t len)
{
    const char *found;

    if (pattern->n_captures == PATTERN_CAPTURES)
        return fail(pattern, "too many captures");
    pattern->captures[pattern->n_captures++] =
        (struct pattern_capture){ s, len };
    found = match(pattern, s, p);
    if (found == NULL)
        pattern->n_captures--;
    return found;
}

static const char *close_capture(struct pattern *pattern, const char *s,
                                 const char *p)
{
    unsigned i = pattern->n_captures;
    const char *found;

    while (i > 0 && pattern->captures[i - 1].len != PATTERN_OPEN)
        i--;
    if (i == 0)
        return fail(pattern, "invalid pattern capture");
    pattern->captures[i - 1].len = (size_t)(s - pattern->captures[i - 1].at);
    found = match(pattern, s, p);
    if (found == NULL)
        pattern->captures[i - 1].len = PATTERN_OPEN;
    return found;
}

/* The text of an earlier capture; where that ends, or NULL. */
static const char *back_reference(struct pattern *pattern, const char *s,
                                  char digit)
{
    unsigned i = (unsigned)(digit - '1'); /* of %0 it is none */
    const struct pattern_capture *capture;

    if (i >= pattern->n_captures || pattern->captures[i].len == PATTERN_OPEN)
        return fail(pattern, "invalid capture index");
    capture = &pattern->captures[i];
    if (capture->len > (size_t)(pattern->subject_end - s) ||
        memcmp(capture->at, s, capture->len) != 0)
        return NULL;
    return s + capture->len;
}

/* %bxy from s on. */
static const char *balanced(struct pattern *pattern, const char *s,
                            const char *p)
{
    size_t open = 1;

    if (pattern->text_end - p < 2)
        return fail(pattern, "unbalanced pattern");
    if (s >= pattern->subject_end || *s != p[0])
        return NULL;
    while (++s < pattern->subject_end && step(pattern)) {
        if (*s == p[1]) {
            if (--open == 0)
                return s + 1;
        } else if (*s == p[0]) {
            open++;
        }
    }
    return NULL;
}

/* %f[set]: before s is none of it, at s is one; outside is \0. */
static bool is_frontier(const struct pattern *pattern, const char *s,
                        const char *p, const char *end)
{
    unsigned char before = s == pattern->subject ? '\0' : (unsigned char)s[-1];
    unsigned char here = s == pattern->subject_end ? '\0' : (unsigned char)*s;

    return !is_in_set(before, p, end - 1) && is_in_set(here, p, end - 1);
}

/* ---- all of it */

/* What % begins that is no class: moves on both, or says that p is for others.
 */
enum special { SPECIAL_NONE, SPECIAL_DONE, SPECIAL_FAILED };

static enum special special(struct pattern *pattern, const char **s,
                            const char **p)
{
    const char *next = *p + 1, *end;

    if (next == pattern->text_end)
        return SPECIAL_NONE;
    if (*next == 'b') {
        *s = balanced(pattern, *s, next + 1);
        *p = next + 3;
    } else if (*next == 'f') {
        next++;
        if (next == pattern->text_end || *next != '[') {
            fail(pattern, "missing '[' after '%f' in pattern");
            return SPECIAL_FAILED;
        }
        end = item_end(pattern, next);
        if (end == NULL || !is_frontier(pattern, *s, next, end))
            return SPECIAL_FAILED;
        *p = end;
    } else if (isdigit((unsigned char)*next)) {
        *s = back_reference(pattern, *s, *next);
        *p = next + 1;
    } else {
        return SPECIAL_NONE;
    }
    return *s != NULL ? SPECIAL_DONE : SPECIAL_FAILED;
}

/* One item with what follows it, which decides: moves on both and says true, or
 * the rest was matched, with *found. */
static bool item(struct pattern *pattern, const char **s, const char **p,
                 const char **found)
{
    const char *end = item_end(pattern, *p);
    char suffix = '\0';

    *found = NULL;
    if (end == NULL)
        return false;
    if (end < pattern->text_end)
        suffix = *end;
    switch (suffix) {
    case '*': *found = longest(pattern, *s, *p, end); return false;
    case '-': *found = shortest(pattern, *s, *p, end); return false;
    case '+':
        if (is_item(pattern, *s, *p, end))
            *found = longest(pattern, *s + 1, *p, end);
        return false;
    case '?':
        if (is_item(pattern, *s, *p, end)) {
            *found = match(pattern, *s + 1, end + 1);
            if (*found != NULL || pattern->is_stopped)
                return false;
        }
        *p = end + 1;
        return true;
    default:
        if (!is_item(pattern, *s, *p, end))
            return false;
        *s += 1;
        *p = end;
        return true;
    }
}

static const char *match_from(struct pattern *pattern, const char *s,
                              const char *p)
{
    const char *found;

    while (p != pattern->text_end) {
        if (!step(pattern))
            return NULL;
        if (*p == '(') {
            if (p + 1 != pattern->text_end && p[1] == ')')
                return open_capture(pattern, s, p + 2, PATTERN_POSITION);
            return open_capture(pattern, s, p + 1, PATTERN_OPEN);
        }
        if (*p == ')')
            return close_capture(pattern, s, p + 1);
        if (*p == '$' && p + 1 == pattern->text_end)
            return s == pattern->subject_end ? s : NULL;
        if (*p == '%') {
            enum special what = special(pattern, &s, &p);

            if (what == SPECIAL_FAILED)
                return NULL;
            if (what == SPECIAL_DONE)
                continue;
        }
        if (!item(pattern, &s, &p, &found))
            return found;
    }
    return s;
}

static const char *match(struct pattern *pattern, const char *s, const char *p)
{
    const char *found;

    if (pattern->depth == DEPTH_MAX)
        return fail(pattern, "pattern too complex");
    pattern->depth++;
    found = match_from(pattern, s, p);
    pattern->depth--;
    return found;
}

const char *pattern_match(struct pattern *pattern, const char *at)
{
    pattern->n_captures = 0;
    pattern->depth = 0;
    return match(pattern, at, pattern->text);
}

const char *pattern_find(struct pattern *pattern, const char *at,
                         bool is_anchored, const char **end)
{
    for (; at <= pattern->subject_end; at++) {
        *end = pattern_match(pattern, at);
        if (*end != NULL)
            return at;
        if (is_anchored || pattern->is_stopped)
            return NULL;
    }
    return NULL;
}

bool pattern_is_plain(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] != '\0' && strchr("^$*+?.([%-", text[i]) != NULL)
            return false;
    return true;
}
