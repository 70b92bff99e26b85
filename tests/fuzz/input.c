/* input.c - see fuzz.h. */
#include "fuzz.h"

#include <string.h>

uint8_t fuzz_byte(struct fuzz_input *input)
{
    if (input->left == 0)
        return 0;
    input->left--;
    return *input->at++;
}

static char *take(struct fuzz_input *input, size_t len)
{
    char *copy = malloc(len + 1);

    FUZZ_CHECK(copy != NULL);
    if (len > 0)
        memcpy(copy, input->at, len);
    copy[len] = '\0';
    input->at += len;
    input->left -= len;
    return copy;
}

char *fuzz_line(struct fuzz_input *input, size_t *len)
{
    const uint8_t *end =
        input->left > 0 ? memchr(input->at, '\n', input->left) : NULL;
    char *line;

    *len = end != NULL ? (size_t)(end - input->at) : input->left;
    line = take(input, *len);
    fuzz_byte(input); /* the line feed */
    return line;
}

char *fuzz_rest(struct fuzz_input *input, size_t *len)
{
    *len = input->left;
    return take(input, input->left);
}
