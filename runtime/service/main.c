/* main.c - the command tidepool: a thin user of the library. */
#include "tidepool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* A line is written whole, so that lines of several writers do not mix. */
static void write_log(void *ud, const char *line, size_t len)
{
    (void)ud;
    while (len > 0) {
        ssize_t count = write(STDERR_FILENO, line, len);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return; /* nobody reads the log: nowhere to say so */
        line += count;
        len -= (size_t)count;
    }
}

/* ---- secrets in the arguments, which ps shows to everybody */

static void blot(char *from, const char *end)
{
    while (from < end)
        *from++ = '*';
}

/* Who logs in, in a url; and all behind a "password=", "token=" and the like.
 */
static void hide_secrets(char *word)
{
    static const char *const names[] = { "password", "passwd", "token" };
    char *url = strstr(word, "://");
    char *at = url != NULL ? strrchr(url, '@') : NULL;

    if (at != NULL)
        blot(url + strlen("://"), at);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        char *name = strcasestr(word, names[i]);
        char *value = name != NULL ? strchr(name, '=') : NULL;

        if (value != NULL)
            blot(value + 1, value + strlen(value));
    }
}

/* Copies of the words, ended by NULL, from which secrets are then removed; NULL
 * when there is no memory. */
static char **take_words(char **words, int count)
{
    char **copies = calloc((size_t)count + 1, sizeof(*copies));

    if (copies == NULL)
        return NULL;
    for (int i = 0; i < count; i++) {
        copies[i] = strdup(words[i]);
        if (copies[i] == NULL) {
            while (i > 0)
                free(copies[--i]);
            free(copies);
            return NULL;
        }
        hide_secrets(words[i]);
    }
    return copies;
}

static void free_words(char **words)
{
    for (char **word = words; *word != NULL; word++)
        free(*word);
    free(words);
}

/* A connection is a descriptor, and shells start with few of them for programs
 * of old that cannot count further. */
static void take_all_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* else with what there is */
}

/* The exit status. */
static int run(int argc, char **argv)
{
    tide_options options;
    tide_runtime *runtime;
    int status = 1;
    int code;

    take_all_descriptors();
    tide_options_init(&options);
    options.write_log = write_log;
    code = tide_open(&runtime, &options);
    if (code != 0) {
        fprintf(stderr, "tidepool: %s\n", tide_error_text(code));
        return 1;
    }
    code = tide_run_module(runtime, "tidepool.cli", argc,
                           (const char *const *)argv, &status);
    if (code != 0)
        fprintf(stderr, "tidepool: %s\n", tide_error_text(code));
    tide_close(runtime);
    return code != 0 ? 1 : status;
}

int main(int argc, char **argv)
{
    int count = argc > 0 ? argc - 1 : 0;
    char **words = take_words(argv + 1, count);
    int status;

    if (words == NULL) {
        fprintf(stderr, "tidepool: %s\n", "out of memory");
        return 1;
    }
    status = run(count, words);
    free_words(words);
    return status;
}
