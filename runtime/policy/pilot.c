/* pilot.c - see pilot.h. */
#include "policy/pilot.h"

#include "base/list.h"
#include "base/wheel.h"
#include "pool/pool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* How often the use of pools is looked at between two intervals. */
enum { WATCHES = 10 };

/* One pool in the policy's care. */
struct charge {
    struct list_node node; /* on pilot->charges */
    struct pilot *pilot;
    struct pool *pool;
    struct snapshot snap;
    struct snapshot_memory memory;
    struct rails rails;
    uint64_t asked_ns; /* when the server was */
    struct err_text error;
};

struct pilot {
    struct policy_host *host;
    struct pilot_ops ops;
    struct list charges;
    struct snapshot *snaps; /* scratch: one for each charge */
    size_t room;
    uint64_t due_ns;
    uint64_t watch_ns;
    struct err_text error;
    bool is_spent;
    struct pilot_stats stats;
};

static struct charge *charge_at(struct list_node *node)
{
    return container_of(node, struct charge, node);
}

static struct charge *find(struct pilot *pilot, const struct pool *pool)
{
    list_each (node, &pilot->charges)
        if (charge_at(node)->pool == pool)
            return charge_at(node);
    return NULL;
}

/* ---- telling */

static void tell(struct pilot *pilot, const struct pilot_event *event)
{
    if (pilot->ops.on_event != NULL)
        pilot->ops.on_event(pilot->ops.ud, event);
}

static void on_change(void *ud, const struct rails_event *change)
{
    struct charge *charge = ud;
    struct pilot *pilot = charge->pilot;

    pilot->stats.outcomes[change->outcome]++;
    tell(pilot, &(struct pilot_event){
                    .policy = policy_host_name(pilot->host),
                    .pool = charge->snap.name,
                    .change = change,
                });
}

/* What stays wrong is told once; known is what was. */
static void note_error(struct pilot *pilot, const char *pool,
                       struct err_text *known, const struct err_text *why)
{
    pilot->stats.failures++;
    if (strcmp(known->text, why->text) == 0)
        return;
    *known = *why;
    tell(pilot, &(struct pilot_event){
                    .policy = policy_host_name(pilot->host),
                    .pool = pool,
                    .error = why,
                });
}

/* ---- life */

enum err pilot_new(struct pilot **out, struct policy_host *host,
                   const struct pilot_ops *ops)
{
    struct pilot *pilot = calloc(1, sizeof(*pilot));

    if (pilot == NULL)
        return ERR_NOMEM;
    pilot->host = host;
    pilot->ops = *ops;
    list_init(&pilot->charges);
    *out = pilot;
    return ERR_OK;
}

static void drop(struct pilot *pilot, struct charge *charge)
{
    list_remove(&pilot->charges, &charge->node);
    free(charge);
}

void pilot_free(struct pilot *pilot)
{
    if (pilot == NULL)
        return;
    while (pilot->charges.len > 0)
        drop(pilot, charge_at(list_first(&pilot->charges)));
    policy_host_free(pilot->host);
    free(pilot->snaps);
    free(pilot);
}

static void forget_server(struct snapshot_server *server)
{
#define XX(name, text) server->name = NAN;
    SNAPSHOT_SERVER_MAP(XX)
#undef XX
}

enum err pilot_add(struct pilot *pilot, struct pool *pool, const char *name,
                   const char *kind, const struct rails *rails)
{
    struct charge *charge = calloc(1, sizeof(*charge));
    size_t room = pilot->charges.len + 1;
    struct snapshot *snaps = NULL;

    if (charge != NULL)
        snaps = realloc(pilot->snaps, room * sizeof(*snaps));
    if (snaps == NULL) {
        free(charge);
        return ERR_NOMEM;
    }
    pilot->snaps = snaps;
    charge->pilot = pilot;
    charge->pool = pool;
    charge->snap.name = name;
    charge->snap.kind = kind;
    charge->rails = *rails;
    charge->rails.on_event = on_change;
    charge->rails.ud = charge;
    forget_server(&charge->snap.server);
    list_push_back(&pilot->charges, &charge->node);
    return ERR_OK;
}

void pilot_remove(struct pilot *pilot, const struct pool *pool)
{
    struct charge *charge = find(pilot, pool);

    if (charge != NULL)
        drop(pilot, charge);
}

void pilot_set_server(struct pilot *pilot, const struct pool *pool,
                      const struct snapshot_server *server, uint64_t now_ns)
{
    struct charge *charge = find(pilot, pool);

    if (charge == NULL)
        return;
    charge->snap.server = *server;
    charge->asked_ns = now_ns;
}

/* ---- an interval */

static void look(struct pilot *pilot, uint64_t now_ns)
{
    size_t i = 0;

    list_each (node, &pilot->charges) {
        struct charge *charge = charge_at(node);

        if (charge->asked_ns != 0)
            charge->snap.server.age = (double)(now_ns - charge->asked_ns) / 1e9;
        snapshot_take(&charge->snap, &charge->memory, charge->pool, now_ns);
        pilot->snaps[i++] = charge->snap;
    }
}

static void set(struct charge *charge, const struct pool_settings *settings,
                uint64_t now_ns)
{
    struct err_text why = { .text = "" };

    if (pool_set(charge->pool, settings, now_ns, &why) == ERR_OK)
        return;
    on_change(charge, &(struct rails_event){
                          .outcome = RAILS_REFUSED,
                          .reason = why.text,
                      });
}

static void decide(struct charge *charge, uint64_t now_ns)
{
    struct pilot *pilot = charge->pilot;
    struct policy_wish wish;
    struct pool_settings settings;
    struct err_text why = { .text = "" };
    enum err err =
        policy_host_decide(pilot->host, charge->snap.name, &wish, &why);

    if (err == ERR_OK)
        charge->error.text[0] = '\0';
    else
        note_error(pilot, charge->snap.name, &charge->error, &why);
    pilot->is_spent = err == ERR_NOMEM;
    if (rails_apply(&charge->rails, &charge->snap, err == ERR_OK ? &wish : NULL,
                    now_ns, &settings))
        set(charge, &settings, now_ns);
}

/* The first time there is nothing to compare with. */
static bool is_first(const struct pilot *pilot)
{
    list_each (node, &pilot->charges)
        if (charge_at(node)->snap.interval == 0)
            return true;
    return false;
}

static void fly(struct pilot *pilot, const struct policy_time *time)
{
    struct err_text why = { .text = "" };
    enum err err;

    look(pilot, time->now_ns);
    if (is_first(pilot))
        return;
    pilot->stats.ticks++;
    err = policy_host_show(pilot->host, pilot->snaps, pilot->charges.len, time,
                           &why);
    if (err != ERR_OK) {
        pilot->is_spent = err == ERR_NOMEM;
        note_error(pilot, NULL, &pilot->error, &why);
        return;
    }
    list_each (node, &pilot->charges)
        if (!pilot->is_spent)
            decide(charge_at(node), time->now_ns);
}

uint64_t pilot_tick(struct pilot *pilot, const struct policy_time *time)
{
    uint64_t now_ns = time->now_ns;
    uint64_t every_ns = policy_host_every_ns(pilot->host);

    if (pilot->is_spent)
        return WHEEL_NEVER;
    if (now_ns >= pilot->due_ns) {
        fly(pilot, time);
        pilot->due_ns = now_ns + every_ns;
    } else if (now_ns >= pilot->watch_ns) {
        list_each (node, &pilot->charges)
            snapshot_watch(&charge_at(node)->memory, charge_at(node)->pool,
                           now_ns);
    }
    if (now_ns >= pilot->watch_ns)
        pilot->watch_ns = now_ns + every_ns / WATCHES;
    if (pilot->is_spent)
        return WHEEL_NEVER;
    return pilot->watch_ns < pilot->due_ns ? pilot->watch_ns : pilot->due_ns;
}

const struct pilot_stats *pilot_stats(const struct pilot *pilot)
{
    return &pilot->stats;
}

bool pilot_is_spent(const struct pilot *pilot)
{
    return pilot->is_spent;
}
