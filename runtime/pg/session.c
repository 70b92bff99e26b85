/* session.c - see session.h. */
#include "pg/session.h"

#include <string.h>
#include <strings.h>

/* A word of the text: letters, digits, '_', '$' and what is not ASCII. */
struct word {
    const char *text;
    size_t len;
};

static bool is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '_' || c == '$' || (c & 0x80) != 0;
}

static bool word_is(const struct word *word, const char *text)
{
    return strlen(text) == word->len &&
           strncasecmp(word->text, text, word->len) == 0;
}

static bool word_is_one_of(const struct word *word, const char *const *texts)
{
    for (; *texts != NULL; texts++)
        if (word_is(word, *texts))
            return true;
    return false;
}

/* Behind the comment at at; end when it has no end.  Comments nest. */
static const char *skip_comment(const char *at, const char *end)
{
    int depth = 1;

    if (*at == '-') {
        at = memchr(at, '\n', (size_t)(end - at));
        return at != NULL ? at : end;
    }
    for (at += 2; at < end && depth > 0; at++) {
        if (end - at < 2)
            return end;
        if (at[0] == '/' && at[1] == '*')
            depth++, at++;
        else if (at[0] == '*' && at[1] == '/')
            depth--, at++;
    }
    return at;
}

static bool is_comment(const char *at, const char *end)
{
    return end - at >= 2 &&
           ((at[0] == '-' && at[1] == '-') || (at[0] == '/' && at[1] == '*'));
}

/* Behind the literal or quoted name at at. */
static const char *skip_quoted(const char *at, const char *end)
{
    const char *quote = memchr(at + 1, *at, (size_t)(end - at - 1));

    return quote != NULL ? quote + 1 : end;
}

/* The length of the $tag$ or $$ at at; 0: there is none. */
static size_t dollar_tag_len(const char *at, const char *end)
{
    const char *start = at;

    if (*at != '$' || (end - at > 1 && at[1] >= '0' && at[1] <= '9'))
        return 0;
    for (at++; at < end && is_word_char(*at); at++)
        if (*at == '$')
            return (size_t)(at + 1 - start);
    return 0;
}

/* Behind the literal between two dollar tags of this length. */
static const char *skip_dollar_quoted(const char *at, const char *end,
                                      size_t tag_len)
{
    const char *body = at + tag_len;
    const char *close = memmem(body, (size_t)(end - body), at, tag_len);

    return close != NULL ? close + tag_len : end;
}

/* Where the next word begins, at or behind at. */
static const char *skip_to_word(const char *at, const char *end)
{
    while (at < end) {
        size_t tag_len = dollar_tag_len(at, end);

        if (tag_len > 0)
            at = skip_dollar_quoted(at, end, tag_len);
        else if (is_word_char(*at))
            break;
        else if (is_comment(at, end))
            at = skip_comment(at, end);
        else if (*at == '\'' || *at == '"')
            at = skip_quoted(at, end);
        else
            at++;
    }
    return at;
}

/* The next word, empty at the end of the text. */
static struct word next_word(const char **at, const char *end)
{
    struct word word = { skip_to_word(*at, end), 0 };

    for (*at = word.text; *at < end && is_word_char(**at); (*at)++)
        word.len++;
    return word;
}

/* Words with an effect wherever they stand, given the one before them. */
static unsigned word_traits(const struct word *word, const struct word *before)
{
    static const char *const temps[] = { "temp", "temporary", NULL };
    static const char *const temp_after[] = { "create", "replace", "into",
                                              "local",  "global",  NULL };
    static const char *const calls[] = { "set_config",
                                         "pg_advisory_lock",
                                         "pg_advisory_lock_shared",
                                         "pg_try_advisory_lock",
                                         "pg_try_advisory_lock_shared",
                                         NULL };

    switch (word->text[0] | 0x20) {
    case 't':
        return word_is_one_of(word, temps) && word_is_one_of(before, temp_after)
                   ? SESSION_TOUCHES | SESSION_LEASE
                   : 0;
    case 's':
    case 'p':
        return word_is_one_of(word, calls) ? SESSION_TOUCHES | SESSION_LEASE
                                           : 0;
    case 'h':
        return word_is(word, "hold") && word_is(before, "with")
                   ? SESSION_TOUCHES
                   : 0;
    default: return 0;
    }
}

static unsigned first_words_traits(const struct word *first,
                                   const struct word *second)
{
    static const char *const leases[] = { "begin",      "start",   "savepoint",
                                          "lock",       "listen",  "unlisten",
                                          "declare",    "prepare", "execute",
                                          "deallocate", "discard", "load",
                                          NULL };
    static const char *const locals[] = { "local", "transaction", "constraints",
                                          NULL };

    if (word_is(first, "do"))
        return SESSION_TOUCHES;
    if (word_is_one_of(first, leases))
        return SESSION_LEASE;
    if (!word_is(first, "set"))
        return 0;
    if (word_is_one_of(second, locals))
        return SESSION_LEASE | SESSION_LOCAL;
    return SESSION_LEASE;
}

unsigned session_traits(const char *sql, size_t len)
{
    const char *at = sql;
    const char *end = sql + len;
    struct word before = next_word(&at, end);
    struct word word = next_word(&at, end);
    unsigned traits = first_words_traits(&before, &word);

    while (word.len > 0) {
        traits |= word_traits(&word, &before);
        before = word;
        word = next_word(&at, end);
    }
    return traits;
}

enum session_verb session_verb(const char *sql, size_t len)
{
    static const char *const reads[] = { "select", "values",  "table", "with",
                                         "show",   "explain", NULL };
    static const char *const writes[] = { "insert", "update", "delete", "merge",
                                          NULL };
    const char *at = sql;
    struct word word = next_word(&at, sql + len);

    if (word_is_one_of(&word, reads))
        return SESSION_READS;
    return word_is_one_of(&word, writes) ? SESSION_WRITES : SESSION_OTHER;
}

/* What stands behind a word: a parenthesis, or a comment that may hide one. */
static bool may_be_call(const char *at, const char *end)
{
    if (at < end && *at == '"')
        at++;
    while (at < end && strchr(" \t\r\n\f\v", *at) != NULL && *at != '\0')
        at++;
    return at < end && (*at == '(' || is_comment(at, end));
}

void session_words(const char *sql, size_t len,
                   void (*each)(void *ud, const char *word, size_t len,
                                bool is_called),
                   void *ud)
{
    const char *end = sql + len;

    for (const char *at = sql; at < end;) {
        const char *word = at;

        while (at < end && is_word_char(*at))
            at++;
        if (at > word)
            each(ud, word, (size_t)(at - word), may_be_call(at, end));
        else
            at++;
    }
}

bool session_makes_functions(const char *tag)
{
    return strcmp(tag, "DO") == 0 || strcmp(tag, "CALL") == 0 ||
           strstr(tag, " FUNCTION") != NULL ||
           strstr(tag, " PROCEDURE") != NULL ||
           strstr(tag, " ROUTINE") != NULL || strstr(tag, " EXTENSION") != NULL;
}

enum session_effect session_effect(const char *tag, unsigned traits)
{
    static const char *const touching[] = { "SET", "LISTEN", "PREPARE", "LOAD",
                                            NULL };
    const struct word word = { tag, strlen(tag) };

    if ((traits & SESSION_TOUCHES) != 0)
        return SESSION_TOUCHED;
    switch (tag[0]) {
    case 'S':
        if (strcmp(tag, "SET") == 0 && (traits & SESSION_LOCAL) != 0)
            return SESSION_AS_IT_WAS;
        /* fall through */
    case 'L':
    case 'P':
        return word_is_one_of(&word, touching) ? SESSION_TOUCHED
                                               : SESSION_AS_IT_WAS;
    case 'D':
        if (strcmp(tag, "DISCARD ALL") == 0)
            return SESSION_DISCARDED;
        return strcmp(tag, "DEALLOCATE ALL") == 0 ? SESSION_UNPREPARED
                                                  : SESSION_AS_IT_WAS;
    default: return SESSION_AS_IT_WAS;
    }
}
