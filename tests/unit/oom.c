/* oom.c - see oom.h. */
#include "oom.h"

#include <stddef.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t len);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t len);

/* Per thread, so that a library's worker threads do not move the count. */
static _Thread_local unsigned left; /* 0: off */
static _Thread_local bool happened;

static bool fails_now(void)
{
    if (left == 0 || --left > 0)
        return false;
    happened = true;
    return true;
}

void oom_fail_at(unsigned n)
{
    left = n;
    happened = false;
}

void oom_off(void)
{
    left = 0;
}

bool oom_happened(void)
{
    return happened;
}

void *__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails_now() ? NULL : __real_realloc(old, size);
}

char *__wrap_strdup(const char *text)
{
    return fails_now() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t len)
{
    return fails_now() ? NULL : __real_strndup(text, len);
}
