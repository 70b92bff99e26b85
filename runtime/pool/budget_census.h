/* budget_census.h - who has how many of a row's permits, to be read. */
#ifndef TIDEPOOL_POOL_BUDGET_CENSUS_H
#define TIDEPOOL_POOL_BUDGET_CENSUS_H

#include <stdbool.h>
#include <stdint.h>

struct budget;
struct budget_share;

struct budget_census {
    uint32_t max;
    uint32_t mine, others, ghosts; /* permits */
    uint32_t workers;
    uint32_t needy; /* of these */
};
void budget_count(const struct budget_share *share, struct budget_census *out);
/* Of any row, by its place; false when there is none there. */
bool budget_row(struct budget *budget, unsigned row, const char **name,
                struct budget_census *out);

#endif
