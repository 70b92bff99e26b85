/*
 * replay.c - gives every target its files: the corpora, and what was found
 * once.  Folders are tests/fuzz/corpus/TARGET and tests/fuzz/regress/TARGET;
 * each is a test in TAP.  Needs no libFuzzer.
 */
#include "fuzz.h"

#include <dirent.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { TARGETS_MAX = 64, PATH_MAX_LEN = 512, BYTES_MAX = 1 << 20 };

static struct {
    const char *name;
    fuzz_fn fn;
} targets[TARGETS_MAX];
static unsigned n_targets;

void fuzz_register(const char *name, fuzz_fn fn)
{
    FUZZ_CHECK(n_targets < TARGETS_MAX);
    targets[n_targets].name = name;
    targets[n_targets++].fn = fn;
}

static char current[PATH_MAX_LEN];

/* Says which input it was. */
static void on_abort(int number)
{
    (void)number;
    if (write(STDERR_FILENO, current, strlen(current)) > 0)
        write(STDERR_FILENO, "\n", 1);
}

static void run(const char *name, const uint8_t *bytes, size_t size)
{
    for (unsigned i = 0; i < n_targets; i++) {
        if (strcmp(targets[i].name, name) == 0) {
            targets[i].fn(bytes, size);
            return;
        }
    }
    fuzz_lua_run(name, bytes, size);
}

/* In memory of exactly that size, as libFuzzer gives it. */
static void run_file(const char *name, const char *path)
{
    static uint8_t all[BYTES_MAX];
    FILE *file = fopen(path, "rb");
    size_t size;
    uint8_t *bytes;

    FUZZ_CHECK(file != NULL);
    size = fread(all, 1, sizeof(all), file);
    fclose(file);
    bytes = malloc(size > 0 ? size : 1);
    FUZZ_CHECK(bytes != NULL);
    memcpy(bytes, all, size);
    snprintf(current, sizeof(current), "%s", path);
    run(name, bytes, size);
    free(bytes);
}

static unsigned run_folder(const char *name, const char *folder)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    char path[PATH_MAX_LEN];
    unsigned count = 0;

    FUZZ_CHECK(dir != NULL);
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%.200s/%.200s", folder, entry->d_name);
        run_file(name, path);
        count++;
    }
    closedir(dir);
    return count;
}

/* The folders of what is run are the arguments. */
int main(int argc, char **argv)
{
    signal(SIGABRT, on_abort);
    printf("1..%d\n", argc - 1);
    for (int i = 1; i < argc; i++) {
        const char *name = strrchr(argv[i], '/');
        unsigned count;

        count = run_folder(name != NULL ? name + 1 : argv[i], argv[i]);
        printf("%sok %d - %s: %u inputs\n", count > 0 ? "" : "not ", i, argv[i],
               count);
    }
    return 0;
}
