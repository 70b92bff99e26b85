/* figures.h - how long ticks took and how late they began. */
#ifndef GAME_FIGURES_H
#define GAME_FIGURES_H

#include <stddef.h>
#include <stdint.h>

/* Values in microseconds; all zero at first. */
struct figures {
    uint32_t *values;
    size_t len, size;
};

/* Without memory the value is dropped. */
void figures_add(struct figures *figures, uint64_t ns);

/* Prints " NAME P50 P99 MAX" in microseconds and forgets them. */
void figures_print(struct figures *figures, const char *name);

#endif
