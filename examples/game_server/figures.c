/* figures.c - see figures.h. */
#include "figures.h"

#include <stdio.h>
#include <stdlib.h>

void figures_add(struct figures *figures, uint64_t ns)
{
    if (figures->len == figures->size) {
        size_t size = figures->size > 0 ? 2 * figures->size : 4096;
        uint32_t *values = realloc(figures->values, size * sizeof(*values));

        if (values == NULL)
            return;
        figures->values = values;
        figures->size = size;
    }
    figures->values[figures->len++] = (uint32_t)(ns / 1000);
}

static int compare(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

    return (left > right) - (left < right);
}

/* The value that permille of them do not exceed. */
static uint32_t quantile(const struct figures *figures, size_t permille)
{
    if (figures->len == 0)
        return 0;
    return figures->values[(figures->len - 1) * permille / 1000];
}

void figures_print(struct figures *figures, const char *name)
{
    if (figures->len > 0)
        qsort(figures->values, figures->len, sizeof(uint32_t), compare);
    printf(" %s %u %u %u", name, quantile(figures, 500), quantile(figures, 990),
           quantile(figures, 1000));
    figures->len = 0;
}
