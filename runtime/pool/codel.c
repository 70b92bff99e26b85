/* codel.c - see codel.h. */
#include "pool/codel.h"

#include "base/clock.h"

static void judge(struct codel *codel, const struct pool_settings *settings,
                  uint64_t now_ns)
{
    codel->is_standing = codel->least_ns > settings->codel_target_ns;
    codel->end_ns = now_ns + settings->codel_interval_ns;
    codel->least_ns = UINT64_MAX;
}

void codel_note(struct codel *codel, const struct pool_settings *settings,
                uint64_t wait_ns, uint64_t now_ns)
{
    if (settings->codel_target_ns == 0)
        return;
    if (codel->end_ns == 0) {
        codel->end_ns = now_ns + settings->codel_interval_ns;
        codel->least_ns = UINT64_MAX;
    }
    if (wait_ns < codel->least_ns)
        codel->least_ns = wait_ns;
    if (now_ns >= codel->end_ns)
        judge(codel, settings, now_ns);
}

void codel_look(struct codel *codel, const struct pool_settings *settings,
                uint64_t since_ns, uint64_t now_ns)
{
    if (settings->codel_target_ns == 0) {
        *codel = (struct codel){ 0 };
        return;
    }
    if (since_ns == UINT64_MAX) {
        if (now_ns >= codel->end_ns) /* and nobody has waited for long */
            *codel = (struct codel){ 0 };
    } else if (codel->end_ns == 0 || now_ns >= codel->end_ns) {
        codel_note(codel, settings, elapsed_ns(since_ns, now_ns), now_ns);
    }
}

static uint64_t limit_ns(const struct pool_settings *settings)
{
    return 2 * settings->codel_target_ns;
}

bool codel_sheds(const struct codel *codel,
                 const struct pool_settings *settings, uint64_t since_ns,
                 uint64_t now_ns)
{
    return codel->is_standing &&
           elapsed_ns(since_ns, now_ns) > limit_ns(settings);
}

uint64_t codel_due_ns(const struct codel *codel,
                      const struct pool_settings *settings, uint64_t since_ns)
{
    uint64_t shed_ns = since_ns + limit_ns(settings) + 1;

    if (settings->codel_target_ns == 0)
        return UINT64_MAX;
    if (codel->is_standing && shed_ns < codel->end_ns)
        return shed_ns;
    return codel->end_ns;
}
