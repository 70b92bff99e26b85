/* array.h - array literals, "{1,NULL,{\"a b\"}}", element by element.  What is
 * visited is borrowed from the array. */
#ifndef TIDEPOOL_PG_ARRAY_H
#define TIDEPOOL_PG_ARRAY_H

#include "base/err.h"

struct pg_value;

/* Calls back for each '{', element and '}' of an array, depth first.  Returns
 * ERR_PROTOCOL for text that is no array literal. */
struct pg_array_visitor {
    void (*begin)(void *ud);
    void (*element)(void *ud, const struct pg_value *value);
    void (*end)(void *ud);
    void *ud;
};
enum err pg_array_walk(const struct pg_value *array,
                       const struct pg_array_visitor *visitor) MUST_CHECK;

#endif
