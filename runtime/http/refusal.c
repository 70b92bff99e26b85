/* refusal.c - see refusal.h. */
#include "http/refusal.h"

#include <assert.h>

int http_refusal_status(enum http_refusal refusal)
{
    static const int statuses[HTTP_REFUSALS] = {
#define XX(NAME, name, status, text) [HTTP_REFUSED_##NAME] = status,
        HTTP_REFUSALS_MAP(XX)
#undef XX
    };

    assert(refusal > HTTP_ACCEPTED && refusal < HTTP_REFUSALS);
    return statuses[refusal];
}
