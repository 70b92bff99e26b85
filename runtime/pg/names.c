/* names.c - see names.h. */
#include "pg/names.h"

#include "base/map.h"
#include "net/work.h"

#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_LEN = 64 };

const char names_sql[] =
    "SELECT name, pg_catalog.bool_or(is_volatile) FROM (SELECT proname::text"
    " AS name, provolatile = 'v' AND prokind IN ('f', 'p') AND prorettype NOT"
    " IN ('trigger'::pg_catalog.regtype, 'event_trigger'::pg_catalog.regtype)"
    " AS is_volatile FROM pg_catalog.pg_proc UNION ALL SELECT word, false FROM"
    " pg_catalog.pg_get_keywords()) AS names GROUP BY name";

struct name {
    struct map_node node;
    bool is_volatile;
};

struct name_table {
    struct map map;
    struct name *entries;
    char *texts;
};

struct names_reading {
    struct names *names; /* NULL: nobody wants them any more */
    struct loop *loop;
    PGresult *result;
    struct name_table *table; /* what it makes; NULL: there is no memory */
    uint64_t epoch;
    void (*done)(void *ud);
    void *ud;
};

/* ---- on the thread */

static void table_free(struct name_table *table)
{
    if (table == NULL)
        return;
    map_free(&table->map);
    free(table->entries);
    free(table->texts);
    free(table);
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* Names that differ in case only become one. */
static enum err add_name(struct name_table *table, struct name *entry)
{
    struct map_node *node =
        map_get(&table->map, entry->node.key, entry->node.key_len);

    if (node == NULL)
        return map_put(&table->map, &entry->node);
    if (entry->is_volatile)
        container_of(node, struct name, node)->is_volatile = true;
    return ERR_OK;
}

static enum err fill(struct name_table *table, const PGresult *result)
{
    char *at = table->texts;
    enum err err = ERR_OK;

    for (int row = 0; row < PQntuples(result) && err == ERR_OK; row++) {
        const char *text = PQgetvalue(result, row, 0);
        struct name *entry = &table->entries[row];

        entry->node.key = at;
        while (*text != '\0')
            *at++ = lower(*text++);
        entry->node.key_len = (size_t)(at - entry->node.key);
        entry->is_volatile = PQgetvalue(result, row, 1)[0] == 't';
        err = add_name(table, entry);
    }
    return err;
}

static struct name_table *table_new(const PGresult *result)
{
    struct name_table *table = calloc(1, sizeof(*table));
    int rows = PQntuples(result);
    size_t bytes = 1;

    if (table == NULL)
        return NULL;
    for (int row = 0; row < rows; row++)
        bytes += (size_t)PQgetlength(result, row, 0);
    table->entries = calloc((size_t)rows + 1, sizeof(*table->entries));
    table->texts = malloc(bytes);
    if (table->entries != NULL && table->texts != NULL &&
        fill(table, result) == ERR_OK)
        return table;
    table_free(table);
    return NULL;
}

static void on_run(void *ud)
{
    struct names_reading *reading = ud;

    reading->table = table_new(reading->result);
    PQclear(reading->result);
}

/* ---- on the loop */

void names_doubt(struct names *names)
{
    names->doubts++;
    names->is_stale = true;
}

void names_failed(struct names *names, uint64_t now_ns)
{
    names->is_coming = false;
    names->failed_ns = now_ns;
}

static void take_over(struct names *names, struct names_reading *reading)
{
    uint64_t now_ns = loop_now_ns(reading->loop);

    names->reading = NULL;
    if (reading->table == NULL) {
        names_failed(names, now_ns);
        return;
    }
    table_free(names->table);
    names->table = reading->table;
    names->is_coming = false;
    names->is_stale = names->asked != names->doubts;
    names->is_wanted = false;
    names->failed_ns = 0;
    names->version++;
    names->epoch = reading->epoch;
    names->read_ns = now_ns;
}

static void on_done(void *ud)
{
    struct names_reading *reading = ud;

    if (reading->names == NULL) {
        table_free(reading->table);
    } else {
        take_over(reading->names, reading);
        reading->done(reading->ud);
    }
    free(reading);
}

void names_read(struct names *names, struct loop *loop, PGresult *result,
                uint64_t epoch, void (*done)(void *ud), void *ud)
{
    struct names_reading *reading = malloc(sizeof(*reading));

    if (reading == NULL) {
        PQclear(result);
        names_failed(names, loop_now_ns(loop));
        done(ud);
        return;
    }
    *reading = (struct names_reading){ .names = names,
                                       .loop = loop,
                                       .result = result,
                                       .epoch = epoch,
                                       .done = done,
                                       .ud = ud };
    names->reading = reading;
    if (work_start(loop, on_run, on_done, reading) == ERR_OK)
        return;
    on_run(reading);
    on_done(reading);
}

enum name_kind names_find(const struct names *names, const char *word,
                          size_t len)
{
    char key[NAME_MAX_LEN];
    const struct map_node *node;

    if (len >= sizeof(key)) /* longer than a name can be */
        return NAME_HARMLESS;
    for (size_t i = 0; i < len; i++)
        key[i] = lower(word[i]);
    node = map_get(&names->table->map, key, len);
    if (node == NULL)
        return NAME_UNKNOWN;
    return container_of(node, const struct name, node)->is_volatile
               ? NAME_VOLATILE
               : NAME_HARMLESS;
}

void names_free(struct names *names)
{
    if (names->reading != NULL)
        names->reading->names = NULL;
    table_free(names->table);
}
