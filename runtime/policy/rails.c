/* rails.c - see rails.h. */
#include "policy/rails.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* What turned back so often within the window is held for as long. */
static const uint64_t FLAP_WINDOW_NS = 60000000000;
enum { FLAP_TURNS = 3 };
/* A change is on trial for so many snapshots, and then must not have made the
 * p99 of waits so much worse.  Less than the floor is noise. */
enum { TRIAL_INTERVALS = 3 };
static const double WORSE = 2.0;
/* More demand excuses it, and so does more done. */
static const double MORE_DEMAND = 1.25;
static const double MORE_DONE = 1.05;
static const double WORSE_FLOOR = 0.005;
static const double SAMPLES_MIN = 20;
static const uint64_t REVERT_HOLD_NS = 30000000000;

const char *rails_outcome_name(enum rails_outcome outcome)
{
    static const char *const names[] = {
#define XX(name, text) [RAILS_##name] = text,
        RAILS_OUTCOME_MAP(XX)
#undef XX
    };

    assert(outcome < RAILS_OUTCOMES);
    return names[outcome];
}

/* What a policy may change without being told so: no more than the operator
 * granted (is_capped: as max_connections), or sooner. */
static const struct {
    const char *name;
    bool is_capped;
} safe[] = {
    { "max_connections", true }, { "concurrency", true },
    { "codel_target", false },   { "codel_interval", false },
    { "share_critical", false }, { "share_normal", false },
    { "share_batch", false },    { "shed_critical", false },
    { "shed_normal", false },    { "shed_batch", false },
};

static void open_safe(struct rails *rails, const struct pool_settings *settings)
{
    for (size_t i = 0; i < sizeof(safe) / sizeof(*safe); i++) {
        struct rail *rail =
            &rails->rails[pool_setting_find(safe[i].name) - pool_setting_table];

        rail->is_open = true;
        if (safe[i].is_capped)
            rail->max = (double)settings->max_connections;
    }
}

void rails_init(struct rails *rails, const struct pool_settings *settings)
{
    memset(rails, 0, sizeof(*rails));
    for (size_t i = 0; pool_setting_table[i].name != NULL; i++) {
        const struct pool_setting *setting = &pool_setting_table[i];

        assert(i < RAILS_SETTINGS);
        rails->told[i] = RAILS_OUTCOMES;
        rails->rails[i] = (struct rail){
            .min = setting->min,
            .max = setting->max,
            .cooldown_ns = RAILS_COOLDOWN_NS,
        };
    }
    open_safe(rails, settings);
}

void rails_fix(struct rails *rails, const struct rail *fixed)
{
    for (size_t i = 0; i < RAILS_SETTINGS; i++)
        if (fixed[i].is_open)
            rails->rails[i] = fixed[i];
}

static void tell(struct rails *rails, const struct rails_event *event)
{
    if (rails->on_event != NULL)
        rails->on_event(rails->ud, event);
}

/* What keeps a setting where it is would be told at every interval. */
static void tell_once(struct rails *rails, size_t i,
                      const struct rails_event *event)
{
    if (rails->told[i] != event->outcome)
        tell(rails, event);
    rails->told[i] = event->outcome;
}

/* ---- trials */

static double rate(double count, const struct snapshot *snap)
{
    return snap->interval > 0 ? count / snap->interval : 0;
}

static bool is_worse(const struct rails *rails, const struct snapshot *snap)
{
    if (snap->wait.count < SAMPLES_MIN || snap->wait.p99 <= WORSE_FLOOR)
        return false;
    if (rate(snap->arrivals, snap) > rails->demand_before * MORE_DEMAND ||
        rate(snap->completions, snap) > rails->rate_before * MORE_DONE)
        return false;
    return snap->wait.p99 > rails->p99_before * WORSE;
}

static void begin_trial(struct rails *rails, const struct snapshot *snap)
{
    if (!rails->reverts || rails->is_dry_run)
        return;
    rails->is_on_trial = true;
    rails->trial_intervals = 0;
    rails->p99_before = rails->last_p99;
    rails->rate_before = rate(snap->completions, snap);
    rails->demand_before = rate(snap->arrivals, snap);
    rails->trusted = snap->settings;
}

/* Puts back what the trial had changed. */
static bool revert(struct rails *rails, const struct snapshot *snap,
                   uint64_t now_ns, struct pool_settings *settings)
{
    bool has_changed = false;

    for (size_t i = 0; pool_setting_table[i].name != NULL; i++) {
        const struct pool_setting *setting = &pool_setting_table[i];
        double now = pool_settings_get(&snap->settings, setting);
        double before = pool_settings_get(&rails->trusted, setting);
        struct err_text why;

        if (!rails->rails[i].is_open || now == before ||
            rails->tracks[i].changed_ns == 0 ||
            pool_settings_set(settings, setting, before, &why) != ERR_OK)
            continue;
        has_changed = true;
        rails->tracks[i].held_ns = now_ns + REVERT_HOLD_NS;
        tell(rails, &(struct rails_event){
                        .outcome = RAILS_REVERTED,
                        .setting = setting,
                        .from = now,
                        .to = before,
                        .reason = "the p99 of waits became worse",
                    });
    }
    return has_changed;
}

/* True when the trial ended badly, and settings are those before it. */
static bool judge(struct rails *rails, const struct snapshot *snap,
                  uint64_t now_ns, struct pool_settings *settings)
{
    if (!rails->is_on_trial || ++rails->trial_intervals < TRIAL_INTERVALS)
        return false;
    rails->is_on_trial = false;
    return is_worse(rails, snap) && revert(rails, snap, now_ns, settings);
}

/* ---- one setting */

static double clamp(const struct rail *rail, double now, double wanted)
{
    double value = fmin(fmax(wanted, rail->min), rail->max);

    if (rail->step > 0)
        value = fmin(fmax(value, now - rail->step), now + rail->step);
    return value;
}

/* Notes a change; holds the setting when it has turned back too often. */
static bool is_flapping(struct rails_track *track, int direction,
                        uint64_t now_ns)
{
    bool turns = track->direction != 0 && track->direction != direction;
    uint64_t first_ns = track->turned_ns[FLAP_TURNS - 1];

    if (!turns)
        return false;
    if (first_ns != 0 && now_ns - first_ns < FLAP_WINDOW_NS) {
        track->held_ns = now_ns + FLAP_WINDOW_NS;
        memset(track->turned_ns, 0, sizeof(track->turned_ns));
        return true;
    }
    return false;
}

static void note_change(struct rails_track *track, int direction,
                        uint64_t now_ns)
{
    if (track->direction != 0 && track->direction != direction) {
        memmove(&track->turned_ns[1], &track->turned_ns[0],
                sizeof(track->turned_ns) - sizeof(track->turned_ns[0]));
        track->turned_ns[0] = now_ns;
    }
    track->direction = direction;
    track->changed_ns = now_ns;
}

/* What becomes of the wish that setting i were at wanted; to is where it goes.
 */
static enum rails_outcome decide(struct rails *rails, size_t i, double now,
                                 double wanted, uint64_t now_ns, double *to)
{
    const struct rail *rail = &rails->rails[i];
    struct rails_track *track = &rails->tracks[i];

    *to = wanted;
    if (!rail->is_open)
        return RAILS_CLOSED;
    *to = clamp(rail, now, wanted);
    if (*to == now)
        return RAILS_CLAMPED;
    if (now_ns < track->held_ns)
        return RAILS_HELD;
    if (track->changed_ns != 0 &&
        now_ns - track->changed_ns < rail->cooldown_ns)
        return RAILS_COOLING;
    if (is_flapping(track, *to > now ? 1 : -1, now_ns))
        return RAILS_FLAPPING;
    if (rails->is_dry_run)
        return RAILS_DRY_RUN;
    return *to == wanted ? RAILS_APPLIED : RAILS_CLAMPED;
}

static bool move(struct rails *rails, size_t i, const struct policy_wish *wish,
                 uint64_t now_ns, struct pool_settings *settings)
{
    const struct pool_setting *setting = &pool_setting_table[i];
    double now = pool_settings_get(settings, setting);
    struct rails_event event = { .setting = setting,
                                 .from = now,
                                 .reason = wish->reason };
    struct err_text why;

    if (wish->values[i] == now) {
        if (now_ns >= rails->tracks[i].held_ns)
            rails->told[i] = RAILS_OUTCOMES;
        return false;
    }
    event.outcome = decide(rails, i, now, wish->values[i], now_ns, &event.to);
    if (event.outcome == RAILS_DRY_RUN) {
        note_change(&rails->tracks[i], event.to > now ? 1 : -1, now_ns);
        tell(rails, &event);
        return false;
    }
    if ((event.outcome != RAILS_APPLIED && event.outcome != RAILS_CLAMPED) ||
        event.to == now) {
        tell_once(rails, i, &event);
        return false;
    }
    if (pool_settings_set(settings, setting, event.to, &why) != ERR_OK) {
        event.outcome = RAILS_REFUSED;
        event.reason = why.text;
        tell_once(rails, i, &event);
        return false;
    }
    note_change(&rails->tracks[i], event.to > now ? 1 : -1, now_ns);
    rails->told[i] = RAILS_OUTCOMES;
    tell(rails, &event);
    return true;
}

bool rails_apply(struct rails *rails, const struct snapshot *snap,
                 const struct policy_wish *wish, uint64_t now_ns,
                 struct pool_settings *settings)
{
    bool has_changed;

    *settings = snap->settings;
    if (snap->wait.count >= SAMPLES_MIN || rails->last_p99 == 0)
        rails->last_p99 = snap->wait.p99;
    has_changed = judge(rails, snap, now_ns, settings);
    if (!has_changed && wish != NULL) {
        for (size_t i = 0; pool_setting_table[i].name != NULL; i++) {
            if (wish->is_set[i])
                has_changed |= move(rails, i, wish, now_ns, settings);
        }
        if (has_changed)
            begin_trial(rails, snap);
    }
    return has_changed;
}
