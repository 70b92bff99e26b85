/*
 * fuzz_policy.c - what a policy gives, and what becomes of it: it cannot get
 * out of its state nor run for long, and settings never leave their rails.
 *
 * Input: a byte: 0 makes the rest the policy, others what its decide() gives;
 * a byte: its lower half is for the rails, its upper half how fast the server
 * becomes slower.
 */
#include "fuzz.h"

#include "policy/host.h"

#include <math.h>
#include <string.h>

static const uint64_t SECOND = 1000000000;

static char *wrap(const char *text, size_t *len)
{
    static const char form[] = "return { decide = function(pool, ctx)\n"
                               "return %s\nend }";
    size_t size = sizeof(form) + *len;
    char *all = malloc(size);

    FUZZ_CHECK(all != NULL);
    *len = (size_t)snprintf(all, size, form, text);
    return all;
}

static void open_rails(struct rails *rails, unsigned how)
{
    for (size_t i = 0; pool_setting_table[i].name != NULL; i++) {
        const struct pool_setting *setting = &pool_setting_table[i];

        rails->rails[i] = (struct rail){
            .min = setting->min,
            .max = setting->max,
            .step = (how & 1) != 0 ? 3 : 0,
            .cooldown_ns = (how & 2) != 0 ? SECOND : 0,
            .is_open = true,
        };
    }
    rails->is_dry_run = (how & 4) != 0;
    rails->reverts = (how & 8) != 0;
}

static void check_settings(const struct pool_settings *settings)
{
    for (size_t i = 0; pool_setting_table[i].name != NULL; i++) {
        const struct pool_setting *setting = &pool_setting_table[i];
        double value = pool_settings_get(settings, setting);

        FUZZ_CHECK(setting->kind == SETTING_FLAG ||
                   (value >= setting->min && value <= setting->max));
    }
}

static void on_event(void *ud, const struct rails_event *event)
{
    (void)ud;
    FUZZ_CHECK(event->outcome < RAILS_OUTCOMES);
    for (const char *at = event->reason; *at != '\0'; at++)
        FUZZ_CHECK((unsigned char)*at >= ' ');
}

/* Some work is done, later and later. */
static void work(struct snapshot *snap, unsigned how, unsigned round)
{
    unsigned slower = (how >> 4) * round % 12;

    snap->completions = snap->arrivals = 1000;
    snap->service.count = snap->wait.count = 1000;
    snap->service.p99 = snap->wait.p99 = 0.001 * (1U << slower);
}

/* Asks a few times, two seconds apart. */
static void decide(struct policy_host *host, unsigned how)
{
    struct snapshot snap = { .name = "main", .kind = "postgres" };
    struct policy_time time = { .now_ns = 100 * SECOND, .day = 43200 };
    struct rails rails;
    struct pool_settings settings;

    pool_settings_init(&snap.settings, 4);
    snap.interval = 1;
    snap.server.connections = NAN;
    rails_init(&rails, &snap.settings);
    open_rails(&rails, how);
    rails.on_event = on_event;
    for (unsigned i = 0; i < 6; i++) {
        struct policy_wish wish = { 0 };
        struct err_text why = { 0 };

        work(&snap, how, i);
        if (policy_host_show(host, &snap, 1, &time, &why) != ERR_OK)
            return;
        if (policy_host_decide(host, "main", &wish, &why) != ERR_OK)
            FUZZ_CHECK(why.text[0] != '\0');
        if (rails_apply(&rails, &snap, &wish, time.now_ns, &settings)) {
            check_settings(&settings);
            FUZZ_CHECK((how & 4) == 0);
            if (pool_settings_check(&settings, NULL) == ERR_OK)
                snap.settings = settings; /* others the pool refuses */
        }
        time.now_ns += 2 * SECOND;
    }
}

FUZZ_TARGET(policy)
{
    struct fuzz_input input = { bytes, size };
    bool is_whole = fuzz_byte(&input) == 0;
    unsigned how = fuzz_byte(&input);
    size_t len;
    char *text = fuzz_rest(&input, &len);
    char *all = is_whole ? text : wrap(text, &len);
    const struct policy_source source = {
        .name = "mine.lua",
        .text = all,
        .len = len,
        .cores = 4,
        .seed = 7,
        .memory_bytes = 1 << 20,
        .budget = 20000,
    };
    struct err_text why = { 0 };
    struct policy_host *host;
    enum err err = policy_host_new(&host, &source, &why);

    if (err == ERR_OK) {
        FUZZ_CHECK(policy_host_every_ns(host) > 0);
        decide(host, how);
        policy_host_free(host);
    } else {
        FUZZ_CHECK(err != ERR_BADARG || why.text[0] != '\0');
    }
    if (all != text)
        free(all);
    free(text);
    return 0;
}
