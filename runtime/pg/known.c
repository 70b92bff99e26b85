/* known.c - see known.h. */
#include "pg/known.h"

#include <stdlib.h>
#include <string.h>

enum { KNOWNS_MAX = 4096, LOOKS_MAX = 16, NAME_MAX_LEN = 64 };

const char names_sql[] =
    "SELECT name, pg_catalog.bool_or(is_volatile) FROM (SELECT proname::text"
    " AS name, provolatile = 'v' AND prokind IN ('f', 'p') AND prorettype NOT"
    " IN ('trigger'::pg_catalog.regtype, 'event_trigger'::pg_catalog.regtype)"
    " AS is_volatile FROM pg_catalog.pg_proc UNION ALL SELECT word, false FROM"
    " pg_catalog.pg_get_keywords()) AS names GROUP BY name";

/* ---- names */

struct name {
    struct map_node node;
    bool is_volatile;
};

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static void names_clear(struct names *names)
{
    map_free(&names->map);
    names->map = (struct map){ .slots = NULL };
    free(names->entries);
    free(names->texts);
    names->entries = NULL;
    names->texts = NULL;
}

/* Names that differ in case only become one. */
static enum err add_name(struct names *names, struct name *entry)
{
    struct map_node *node =
        map_get(&names->map, entry->node.key, entry->node.key_len);

    if (node == NULL)
        return map_put(&names->map, &entry->node);
    if (entry->is_volatile)
        container_of(node, struct name, node)->is_volatile = true;
    return ERR_OK;
}

static enum err fill_names(struct names *names, const PGresult *result)
{
    char *at = names->texts;
    enum err err = ERR_OK;

    for (int row = 0; row < PQntuples(result) && err == ERR_OK; row++) {
        const char *text = PQgetvalue(result, row, 0);
        struct name *entry = &names->entries[row];

        entry->node.key = at;
        while (*text != '\0')
            *at++ = lower(*text++);
        entry->node.key_len = (size_t)(at - entry->node.key);
        entry->is_volatile = PQgetvalue(result, row, 1)[0] == 't';
        err = add_name(names, entry);
    }
    return err;
}

void names_doubt(struct names *names)
{
    names->doubts++;
    names->is_stale = true;
}

bool names_read(struct names *names, const PGresult *result, uint64_t epoch,
                uint64_t now_ns)
{
    int rows = PQntuples(result);
    size_t bytes = 1;

    for (int row = 0; row < rows; row++)
        bytes += (size_t)PQgetlength(result, row, 0);
    names_clear(names);
    names->is_coming = false;
    names->is_stale = true;
    names->entries = calloc((size_t)rows + 1, sizeof(*names->entries));
    names->texts = malloc(bytes);
    if (names->entries == NULL || names->texts == NULL ||
        fill_names(names, result) != ERR_OK) {
        names_clear(names);
        return false;
    }
    names->is_stale = names->asked != names->doubts;
    names->is_wanted = false;
    names->failed_ns = 0;
    names->version++;
    names->epoch = epoch;
    names->read_ns = now_ns;
    return true;
}

/* ---- what statements name */

struct look {
    const struct names *names;
    bool is_volatile;
    bool is_unknown;
};

static void look_at(void *ud, const char *word, size_t len, bool is_called)
{
    struct look *look = ud;
    char key[NAME_MAX_LEN];
    const struct map_node *node;

    if (len >= sizeof(key) || look->is_volatile)
        return; /* longer than a name can be */
    for (size_t i = 0; i < len; i++)
        key[i] = lower(word[i]);
    node = map_get(&look->names->map, key, len);
    if (node == NULL)
        look->is_unknown = look->is_unknown || is_called;
    else if (container_of(node, const struct name, node)->is_volatile)
        look->is_volatile = true;
}

/* A quoted name may hold anything, words are not enough to find it. */
static bool has_odd_name(const struct known *known)
{
    const char *end = known->sql + known->node.key_len;
    const char *at = known->sql;

    if (strstr(at, "U&\"") != NULL || strstr(at, "u&\"") != NULL)
        return true;
    while ((at = memchr(at, '"', (size_t)(end - at))) != NULL) {
        size_t len = strspn(at + 1, "abcdefghijklmnopqrstuvwxyz_0123456789$"
                                    "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
        const char *close = at + 1 + len;

        if (close >= end || *close != '"')
            return true;
        at = close + 1;
    }
    return false;
}

enum known_calls known_check(struct knowns *knowns, struct known *known)
{
    struct names *names = &knowns->names;
    struct look look = { .names = names };

    if (names->version == 0 || names->is_stale)
        return CALLS_UNLISTED;
    if (known->version != names->version) {
        session_words(known->sql, known->node.key_len, look_at, &look);
        known->version = names->version;
        known->calls = CALLS_HARMLESS;
        if (look.is_volatile || has_odd_name(known))
            known->calls = CALLS_VOLATILE;
        else if (look.is_unknown && names->version == known->born)
            known->calls = CALLS_UNKNOWN;
    }
    if (known->calls == CALLS_UNKNOWN)
        names->is_wanted = true;
    return known->calls;
}

/* ---- statements */

void knowns_init(struct knowns *knowns)
{
    *knowns = (struct knowns){ .map = { .slots = NULL } };
    list_init(&knowns->recent);
}

static struct known *known_at(struct list_node *node)
{
    return container_of(node, struct known, order);
}

static void known_free(struct known *known)
{
    free(known->types);
    free(known);
}

void knowns_free(struct knowns *knowns)
{
    struct list_node *node;

    while ((node = list_pop_front(&knowns->recent)) != NULL)
        known_free(known_at(node));
    map_free(&knowns->map);
    names_clear(&knowns->names);
}

/* Forgets one that was not used for long and is not used now. */
static void make_room(struct knowns *knowns)
{
    for (int i = 0; i < LOOKS_MAX && knowns->recent.len >= KNOWNS_MAX; i++) {
        struct known *known = known_at(list_last(&knowns->recent));

        list_remove(&knowns->recent, &known->order);
        if (known->users > 0) {
            list_push_front(&knowns->recent, &known->order);
            continue;
        }
        map_remove(&knowns->map, &known->node);
        known_free(known);
    }
}

static struct known *add(struct knowns *knowns, const char *sql, size_t len)
{
    struct known *known = calloc(1, sizeof(*known) + len + 1);

    if (known == NULL)
        return NULL;
    memcpy(known->sql, sql, len);
    known->node.key = known->sql;
    known->node.key_len = len;
    known->verb = SESSION_OTHER;
    if (session_traits(sql, len) == 0 && memchr(sql, '\0', len) == NULL)
        known->verb = session_verb(sql, len);
    make_room(knowns);
    if (map_put(&knowns->map, &known->node) != ERR_OK) {
        free(known);
        return NULL;
    }
    list_push_front(&knowns->recent, &known->order);
    return known;
}

struct known *knowns_use(struct knowns *knowns, const char *sql, size_t len)
{
    struct map_node *node = map_get(&knowns->map, sql, len);
    struct known *known;

    known = node != NULL ? container_of(node, struct known, node)
                         : add(knowns, sql, len);
    if (known == NULL)
        return NULL;
    if (list_first(&knowns->recent) != &known->order) {
        list_remove(&knowns->recent, &known->order);
        list_push_front(&knowns->recent, &known->order);
    }
    known->users++;
    return known;
}

void known_unuse(struct known *known)
{
    if (known == NULL)
        return;
    assert(known->users > 0);
    known->users--;
}

void known_describe(struct knowns *knowns, struct known *known,
                    unsigned n_params, const Oid *types)
{
    if (known->is_described)
        return;
    if (n_params > 0) {
        known->types = malloc(n_params * sizeof(*types));
        if (known->types == NULL)
            return;
        memcpy(known->types, types, n_params * sizeof(*types));
    }
    known->n_params = n_params;
    known->is_described = true;
    known->born = knowns->names.version;
    known->version = 0;
}
