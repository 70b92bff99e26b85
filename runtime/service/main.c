/* main.c - the command tidepool: a thin user of the library. */
#include "tidepool.h"

#include <errno.h>
#include <stdio.h>
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

int main(int argc, char **argv)
{
    tide_options options;
    tide_runtime *runtime;
    int status = 1;
    int code;

    tide_options_init(&options);
    options.write_log = write_log;
    code = tide_open(&runtime, &options);
    if (code != 0) {
        fprintf(stderr, "tidepool: %s\n", tide_error_text(code));
        return 1;
    }
    code = tide_run_module(runtime, "tidepool.cli", argc - 1,
                           (const char *const *)argv + 1, &status);
    if (code != 0)
        fprintf(stderr, "tidepool: %s\n", tide_error_text(code));
    tide_close(runtime);
    return code != 0 ? 1 : status;
}
