/* settings.c - see settings.h. */
#include "pool/settings.h"

#include <math.h>
#include <string.h>

static const double NS = 1e9; /* in a second */

/* clang-format off */
#define COUNT(name, def, min, max, text)                                     \
    { #name, SETTING_COUNT, def, min, max, text,                             \
      offsetof(struct pool_settings, name) },
#define TIME(name, def, min, max, text)                                      \
    { #name, SETTING_TIME, def, min, max, text,                              \
      offsetof(struct pool_settings, name##_ns) },
#define FLAG(name, def, text)                                                \
    { #name, SETTING_FLAG, def, 0, 1, text,                                  \
      offsetof(struct pool_settings, name) },
/* clang-format on */

const struct pool_setting pool_setting_table[] = {
    POOL_SETTINGS_MAP(COUNT, TIME, FLAG){ NULL, SETTING_COUNT, 0, 0, 0, NULL,
                                          0 },
};

#undef COUNT
#undef TIME
#undef FLAG

const struct pool_setting *pool_setting_find(const char *name)
{
    if (strcmp(name, "connection_timeout") == 0)
        name = "acquire_timeout";
    for (const struct pool_setting *setting = pool_setting_table;
         setting->name != NULL; setting++) {
        if (strcmp(setting->name, name) == 0)
            return setting;
    }
    return NULL;
}

/* value is in range. */
static void store(struct pool_settings *settings,
                  const struct pool_setting *setting, double value)
{
    void *field = (char *)settings + setting->offset;

    switch (setting->kind) {
    case SETTING_COUNT: *(uint64_t *)field = (uint64_t)value; break;
    case SETTING_TIME:
        *(uint64_t *)field = (uint64_t)llround(value * NS);
        break;
    case SETTING_FLAG: *(bool *)field = value != 0; break;
    }
}

static uint64_t at_most(uint64_t value, uint64_t most)
{
    return value < most ? value : most;
}

void pool_settings_init(struct pool_settings *settings, unsigned cores)
{
    uint64_t count = cores > 0 ? cores : 1;

    memset(settings, 0, sizeof(*settings));
    for (const struct pool_setting *setting = pool_setting_table;
         setting->name != NULL; setting++)
        store(settings, setting, setting->def);
    settings->max_connections = at_most(count * 2 + 1, POOL_MAX_CONNECTIONS);
    settings->lanes = at_most(count + 1, POOL_MAX_CONNECTIONS);
}

double pool_settings_get(const struct pool_settings *settings,
                         const struct pool_setting *setting)
{
    const void *field = (const char *)settings + setting->offset;

    switch (setting->kind) {
    case SETTING_COUNT: return (double)*(const uint64_t *)field;
    case SETTING_TIME: return (double)*(const uint64_t *)field / NS;
    case SETTING_FLAG: return *(const bool *)field ? 1 : 0;
    }
    return 0;
}

static bool is_in_range(const struct pool_setting *setting, double value)
{
    /* not a number fails both comparisons */
    if (!(value >= setting->min && value <= setting->max))
        return false;
    return setting->kind == SETTING_TIME || value == floor(value);
}

static enum err refuse(const struct pool_setting *setting, double value,
                       struct err_text *why)
{
    static const char *const kinds[] = {
        [SETTING_COUNT] = "a whole number",
        [SETTING_TIME] = "seconds",
        [SETTING_FLAG] = "a flag",
    };

    if (why != NULL)
        err_text_set(why, "%s must be %s from %.10g to %.10g, not %.10g",
                     setting->name, kinds[setting->kind], setting->min,
                     setting->max, value);
    return ERR_BADARG;
}

enum err pool_settings_set(struct pool_settings *settings,
                           const struct pool_setting *setting, double value,
                           struct err_text *why)
{
    if (!is_in_range(setting, value))
        return refuse(setting, value, why);
    store(settings, setting, value);
    return ERR_OK;
}

enum err pool_settings_check(const struct pool_settings *settings,
                             struct err_text *why)
{
    for (const struct pool_setting *setting = pool_setting_table;
         setting->name != NULL; setting++) {
        double value = pool_settings_get(settings, setting);

        if (!is_in_range(setting, value))
            return refuse(setting, value, why);
    }
    if (settings->min_connections <= settings->max_connections)
        return ERR_OK;
    if (why != NULL)
        err_text_set(why,
                     "min_connections (%llu) must not be over max_connections "
                     "(%llu)",
                     (unsigned long long)settings->min_connections,
                     (unsigned long long)settings->max_connections);
    return ERR_BADARG;
}
