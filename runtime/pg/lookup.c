/*
 * lookup.c - names to addresses before libpq is told of them, for it would
 * block; and which hosts are worth a try.
 */
#include "pg/connect.h"
#include "pool/backoff.h"

/* How long a host whose address is known waits for names of others. */
static const uint64_t GRACE_NS = 500000000;

static bool is_some_known(const struct connecting *connecting, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (connecting->is_wanted[i] && connecting->lookups[i] == NULL)
            return true;
    return false;
}

/* Those that are known need not wait any longer. */
static void on_grace_over(struct deadline *deadline)
{
    struct pg_link *link = container_of(deadline, struct pg_link, deadline);

    for (unsigned i = 0; i < link->pg->book.count; i++)
        if (link->connecting->lookups[i] != NULL)
            connect_host_failed(link, i);
    connect_dial(link);
}

static void lookup_failed(struct pg_link *link, unsigned index,
                          const struct err_text *why)
{
    link->connecting->is_wanted[index] = false;
    link->connecting->why = *why;
    connect_host_failed(link, index);
}

static void on_resolved(struct resolve *resolve, enum err err,
                        const struct addrinfo *addresses,
                        const struct err_text *why, void *ud)
{
    struct pg_link *link = ud;
    struct connecting *connecting = link->connecting;
    unsigned index = 0;

    while (connecting->lookups[index] != resolve)
        index++;
    connecting->lookups[index] = NULL;
    connecting->pending--;
    if (err == ERR_OK)
        address_ips_read(&connecting->ips[index], addresses);
    else
        lookup_failed(link, index, why);
    if (connecting->is_dialled)
        return;
    if (connecting->pending == 0)
        connect_dial(link);
    else if (is_some_known(connecting, link->pg->book.count) &&
             !deadline_is_armed(&link->deadline))
        deadline_start(link->pg->loop, &link->deadline,
                       link_now(link) + GRACE_NS);
}

static void look_up(struct pg_link *link, unsigned index)
{
    struct connecting *connecting = link->connecting;
    const struct address *address = &link->pg->book.list[index];
    struct err_text why = { 0 };
    enum err err;

    if (!connecting->is_wanted[index] || !address_needs_lookup(address))
        return;
    err = resolve_start(&connecting->lookups[index], link->pg->loop,
                        address->host, address->port, on_resolved, link);
    if (err == ERR_OK) {
        connecting->pending++;
        return;
    }
    err_text_set(&why, "cannot resolve %s: %s", address->host,
                 err_sentence(err));
    lookup_failed(link, index, &why);
}

/* Leaves out hosts that failed a moment ago when another is ready. */
static void choose(struct pg_link *link)
{
    const struct pool *pool = link->pg->clock.pool;
    unsigned count = link->pg->book.count;
    uint64_t now_ns = link_now(link);
    bool is_any_ready = false;

    for (unsigned i = 0; i < count; i++) {
        link->connecting->is_wanted[i] = pool_address_ready(pool, i, now_ns);
        is_any_ready = is_any_ready || link->connecting->is_wanted[i];
    }
    /* libpq cannot be told that a host has no address where the url gave one
     * for another: then it gets the whole list. */
    if (is_any_ready && !link->pg->book.has_hostaddr)
        return;
    for (unsigned i = 0; i < count; i++)
        link->connecting->is_wanted[i] = true;
}

void lookup_begin(struct pg_link *link)
{
    link->deadline.fn = on_grace_over;
    choose(link);
    for (unsigned i = 0; i < link->pg->book.count; i++)
        look_up(link, i);
    if (link->connecting->pending == 0)
        connect_dial(link);
}
