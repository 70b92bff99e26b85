/*
 * hook.c - a service whose n-th allocation fails, when the test says so.
 *
 * OOM_CONTROL names a file of two numbers, 32 bits each, that the test and the
 * service share: how many allocations from now one fails (0: none), and how
 * many have failed.  Only the main thread's count.
 *
 * Linked into the service, with the linker's --wrap, it sees the calls of our
 * own code; with -DPRELOAD, as a library for LD_PRELOAD, those of libpq,
 * hiredis, libuv and OpenSSL as well.  LuaJIT takes its memory from the kernel.
 */
#include "../unit/oom_wrap.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct control {
    int32_t left;
    int32_t failed;
};

static struct control *control;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("OOM_CONTROL");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *shared;

    if (fd < 0)
        return;
    shared =
        mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (shared != MAP_FAILED)
        control = shared;
}

bool oom_is_due(void)
{
    if (control == NULL || control->left <= 0 || getpid() != gettid())
        return false;
    if (--control->left > 0)
        return false;
    control->failed++;
    return true;
}

#ifdef PRELOAD

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);

void *malloc(size_t size)
{
    return oom_is_due() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return oom_is_due() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    return oom_is_due() ? NULL : __libc_realloc(old, size);
}

#endif
