/* bind_events.c - see bind_events.h: copied inside the pool, told later. */
#include "script/bind_events.h"

#include "pool/conn.h"
#include "pool/conn_state.h"
#include "pool/event.h"
#include "script/core.h"
#include "script/fields.h"
#include "script/hearing.h"
#include "script/park.h"
#include "script/userdata.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EVENTS_MAX = 1000 };

static const char EVENTS_TYPE[] = "tidepool.events";

struct event_copy {
    enum pool_event_kind kind;
    enum pool_kind pool_kind;
    enum close_reason reason;
    char pool[64];
    uint64_t conn; /* 0: none */
    uint64_t duration_ns;
    uint64_t retry_ns;
    struct err_text text;
    char site[TASK_LABEL_MAX];
};

/* A userdata; the first one is the vm's. */
struct events {
    struct vm *vm;
    struct hearing hearing;
    struct loop_job job;
    struct event_copy *ring; /* EVENTS_MAX */
    size_t head;
    size_t count;
    uint64_t dropped; /* and not told yet */
    bool is_on;
};

/* What scripts call each, and the duration that it has. */
static const struct {
    const char *name;
    const char *duration;
} words[POOL_EVENTS] = {
    [POOL_EVENT_OPENED] = { "connect", "took" },
    [POOL_EVENT_CLOSED] = { "close", "age" },
    [POOL_EVENT_CONNECT_FAILED] = { "connect_failed", NULL },
    [POOL_EVENT_OUTDATED] = { "outdated", NULL },
    [POOL_EVENT_SLOW_ACQUIRE] = { "slow_acquire", "waited" },
    [POOL_EVENT_TIMEOUT] = { "timeout", "waited" },
    [POOL_EVENT_LEAK] = { "leak_suspected", "held" },
    [POOL_EVENT_RECLAIMED] = { "reclaim", "held" },
    [POOL_EVENT_EXHAUSTED] = { "pool_exhausted", "lasted" },
    [POOL_EVENT_DEGRADED] = { "pool_degraded", NULL },
    [POOL_EVENT_RECOVERED] = { "pool_recovered", "lasted" },
};

/* ---- inside the pool */

static void copy_event(struct event_copy *copy, const struct script_pool *box,
                       const struct pool_event *event)
{
    memset(copy, 0, sizeof(*copy));
    copy->kind = event->kind;
    copy->pool_kind = box->kind;
    copy->reason = event->reason;
    snprintf(copy->pool, sizeof(copy->pool), "%s", box->name);
    if (event->conn != NULL)
        copy->conn = event->conn->id;
    copy->duration_ns = event->duration_ns;
    copy->retry_ns = event->retry_ns;
    if (event->text != NULL)
        copy->text = *event->text;
    if (event->site != NULL)
        snprintf(copy->site, sizeof(copy->site), "%s", event->site);
}

void events_note(void *ud, const struct pool_event *event)
{
    const struct script_pool *box = ud;
    struct events *events = box->vm->events;

    if (events == NULL || !events->is_on)
        return;
    if (events->count == EVENTS_MAX)
        events->dropped++;
    else
        copy_event(&events->ring[(events->head + events->count++) % EVENTS_MAX],
                   box, event);
    loop_defer(box->vm->loop, LOOP_RUN, &events->job);
}

static void on_job(struct loop_job *job)
{
    hearing_tell(&container_of(job, struct events, job)->hearing);
}

/* ---- telling */

static void push_event(lua_State *L, const struct event_copy *copy)
{
    lua_createtable(L, 0, 8);
    field_text_if_any(L, "event", words[copy->kind].name);
    field_text_if_any(L, "pool", copy->pool);
    field_text_if_any(L, "kind", pool_kind_name(copy->pool_kind));
    field_text_if_any(L, "error", copy->text.text);
    field_text_if_any(L, "sqlstate", copy->text.sqlstate);
    field_text_if_any(L, "site", copy->site);
    if (copy->conn != 0)
        field_number(L, "conn", (double)copy->conn);
    if (copy->kind == POOL_EVENT_CLOSED)
        field_text_if_any(L, "reason", close_reason_name(copy->reason));
    if (copy->kind == POOL_EVENT_CONNECT_FAILED)
        field_number(L, "retry", (double)copy->retry_ns / 1e9);
    if (words[copy->kind].duration != NULL)
        field_number(L, words[copy->kind].duration,
                     (double)copy->duration_ns / 1e9);
}

/* A list of events, and how many were dropped since the last. */
static int push_heard(lua_State *L, struct hearing *hearing)
{
    struct events *events = container_of(hearing, struct events, hearing);
    int at = 0;

    lua_createtable(L, (int)events->count, 0);
    for (; events->count > 0; events->count--) {
        push_event(L, &events->ring[events->head]);
        lua_rawseti(L, -2, ++at);
        events->head = (events->head + 1) % EVENTS_MAX;
    }
    lua_pushnumber(L, (lua_Number)events->dropped);
    events->dropped = 0;
    return 2;
}

static struct events *check_events(lua_State *L)
{
    return vm_check_type(L, 1, EVENTS_TYPE);
}

/* raw_hear(seconds): events and the number of dropped ones; none after so long.
 */
static int l_hear(lua_State *L)
{
    struct events *events = check_events(L);

    return hearing_wait(L, &events->hearing, events->count > 0,
                        check_seconds(L, 2));
}

/* listen(is_on): keeps what happens from now on, or forgets it. */
static int l_listen(lua_State *L)
{
    struct events *events = check_events(L);

    events->is_on = lua_toboolean(L, 2);
    if (!events->is_on)
        events->count = 0;
    return 0;
}

/* ---- life */

static int l_gc(lua_State *L)
{
    struct events *events = lua_touserdata(L, 1);

    if (events->vm->events == events)
        events->vm->events = NULL;
    loop_cancel(events->vm->loop, LOOP_RUN, &events->job);
    free(events->ring);
    events->ring = NULL;
    return 0;
}

/* events(): the one of this state, to be kept; nothing is heard without it. */
static int l_events(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct events *events = lua_newuserdata(L, sizeof(*events));

    memset(events, 0, sizeof(*events));
    events->vm = vm;
    events->hearing.push = push_heard;
    events->job.fn = on_job;
    vm_set_type(L, EVENTS_TYPE);
    events->ring = calloc(EVENTS_MAX, sizeof(*events->ring));
    if (events->ring == NULL)
        return luaL_error(L, "out of memory");
    vm->events = events;
    return 1;
}

/* event_names(): a list. */
static int l_event_names(lua_State *L)
{
    lua_createtable(L, POOL_EVENTS, 0);
    for (int i = 0; i < POOL_EVENTS; i++) {
        lua_pushstring(L, words[i].name);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

static const luaL_Reg methods[] = {
    { "raw_hear", l_hear },
    { "listen", l_listen },
    { "__gc", l_gc },
    { NULL, NULL },
};

static const luaL_Reg functions[] = {
    { "events", l_events },
    { "event_names", l_event_names },
    { NULL, NULL },
};

void bind_events(lua_State *L, struct vm *vm)
{
    vm_metatable(L, vm, EVENTS_TYPE, methods);
    lua_pop(L, 1);
    vm_register(L, vm, functions);
}
