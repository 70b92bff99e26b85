/* param_inside.h - parameters as libpq wants them.  Private to pg/. */
#ifndef TIDEPOOL_PG_PARAM_INSIDE_H
#define TIDEPOOL_PG_PARAM_INSIDE_H

#include "base/buf.h"

#include <stdint.h>

struct pg_param;

/* Reused for every statement; all zero is an empty one. */
struct param_list {
    struct buf bytes;    /* the texts, each with a zero at its end */
    const char **values; /* NULL for NULL */
    size_t *offsets;     /* while bytes may still move */
    unsigned room;
};

/*
 * Encodes params into list->values; types are the parameters' OIDs, or NULL
 * when they are not known.  ERR_BADARG: why names the parameter.
 */
enum err param_list_fill(struct param_list *list, const struct pg_param *params,
                         unsigned count, const uint32_t *types,
                         struct err_text *why) MUST_CHECK;
void param_list_free(struct param_list *list);

/* Appends the JSON array (or empty object) in text as an array literal for
 * elements of this type. */
enum err param_put_array(struct buf *out, const char *text, size_t len,
                         uint32_t element, struct err_text *why) MUST_CHECK;

#endif
