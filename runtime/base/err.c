/* err.c - see err.h. */
#include "base/err.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct entry {
    const char *code;
    const char *sentence;
};

/* clang-format off */
static const struct entry entries[ERR_COUNT] = {
    [ERR_OK] = { "ok", "success" },
#define XX(name, code, text) [ERR_##name] = { code, text },
    ERR_MAP(XX)
#undef XX
};
/* clang-format on */

const char *err_code(enum err err)
{
    assert((unsigned)err < ERR_COUNT);
    return entries[err].code;
}

const char *err_sentence(enum err err)
{
    assert((unsigned)err < ERR_COUNT);
    return entries[err].sentence;
}

void err_text_set(struct err_text *text, const char *format, ...)
{
    /* On the side, so that an argument may point into text itself. */
    char line[ERR_TEXT_MAX] = "";
    char *start = line;
    size_t len;
    va_list args;

    va_start(args, format);
    if (vsnprintf(line, sizeof(line), format, args) < 0)
        line[0] = '\0';
    va_end(args);

    for (char *c = line; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
    }
    start += strspn(line, " ");
    len = strlen(start);
    while (len > 0 && start[len - 1] == ' ')
        len--;
    memcpy(text->text, start, len);
    text->text[len] = '\0';
}
