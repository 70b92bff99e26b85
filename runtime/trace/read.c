/* read.c - see trace.h: reading. */
#include "pool/class.h"
#include "pool/flight.h"
#include "trace/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { LINE_MAX_BYTES = 4096 };

/* 31 years: sums of several fit in nanoseconds. */
static const unsigned long long MOST_US = 1000000000000000;

struct reader {
    struct trace *trace;
    const char *wanted; /* NULL: the only pool */
    struct err_text *why;
    size_t room;
    uint64_t zero_us; /* of the file's first head */
    uint64_t began_us;
    bool has_begun;
    bool is_found;
};

static enum err complain(struct reader *reader, const char *what)
{
    err_text_set(reader->why, "%s", what);
    return ERR_BADARG;
}

/* ---- heads: a recording that went on after a pause, or two files of it one
 * behind the other, have several */

static enum err take_begin(struct reader *reader, const char *line)
{
    unsigned version;
    unsigned long long began_us;

    if (sscanf(line, "# tidepool trace %u began_us %llu", &version,
               &began_us) != 2)
        return complain(reader, "this is no trace of tidepool");
    if (version != 1)
        return complain(reader, "a trace of another version");
    if (!reader->has_begun)
        reader->zero_us = began_us;
    if (began_us < reader->zero_us)
        return complain(reader, "the parts are in the wrong order");
    if (began_us - reader->zero_us > MOST_US)
        return complain(reader, "a time of more than 31 years");
    reader->has_begun = true;
    reader->began_us = began_us;
    return ERR_OK;
}

static void take_settings(struct pool_settings *settings, char *words)
{
    char *rest = NULL;

    for (char *word = strtok_r(words, " \n", &rest); word != NULL;
         word = strtok_r(NULL, " \n", &rest)) {
        char *value = strchr(word, '=');
        const struct pool_setting *setting;

        if (value == NULL)
            continue;
        *value++ = '\0';
        setting = pool_setting_find(word);
        /* of another version: what it does not know stays the default */
        if (setting == NULL ||
            pool_settings_set(settings, setting, strtod(value, NULL), NULL))
            continue;
    }
}

static enum err take_pool(struct reader *reader, char *line)
{
    struct trace *trace = reader->trace;
    char name[TRACE_NAME_MAX], kind[TRACE_NAME_MAX];
    unsigned index;
    int at = 0;

    if (sscanf(line, "# pool %u %63s %63s%n", &index, name, kind, &at) != 3 ||
        index >= TRACE_POOLS_MAX)
        return complain(reader, "expected # pool NUMBER NAME KIND SETTINGS");
    snprintf(trace->names[index], TRACE_NAME_MAX, "%s", name);
    if (index >= trace->n_pools)
        trace->n_pools = index + 1;
    if (reader->wanted != NULL ? strcmp(reader->wanted, name) != 0 : index != 0)
        return ERR_OK;
    if (!reader->is_found) {
        trace->pool = index;
        memcpy(trace->kind, kind, sizeof(kind));
        take_settings(&trace->settings, line + at);
    }
    reader->is_found = true;
    return ERR_OK;
}

static enum err take_comment(struct reader *reader, char *line)
{
    if (strncmp(line, "# tidepool ", 11) == 0)
        return take_begin(reader, line);
    if (strncmp(line, "# pool ", 7) == 0)
        return take_pool(reader, line);
    if (strncmp(line, "# lost ", 7) == 0)
        reader->trace->lost += strtoull(line + 7, NULL, 10);
    return ERR_OK;
}

/* ---- demands */

static struct trace_demand *new_demand(struct trace *trace, size_t *room)
{
    struct trace_demand *more;
    size_t size = *room > 0 ? *room * 2 : 1024;

    if (trace->n_demands == *room) {
        more = realloc(trace->demands, size * sizeof(*more));
        if (more == NULL)
            return NULL;
        trace->demands = more;
        *room = size;
    }
    return &trace->demands[trace->n_demands++];
}

static int end_named(const char *word)
{
    for (int end = 0; end < DEMAND_ENDS; end++)
        if (strcmp(word, demand_end_name(end)) == 0)
            return end;
    return -1;
}

/* One of another version is as any other. */
static enum pool_class class_named(const char *word)
{
    enum pool_class class = pool_class_named(word);

    return class < POOL_CLASSES ? class : CLASS_NORMAL;
}

static enum err take_demand(struct reader *reader, const char *line)
{
    unsigned long long over_us, wait_us, service_us;
    unsigned pool;
    char what[16], outcome[16], class[16];
    struct trace_demand *demand;
    uint64_t took_us;
    int end;

    if (sscanf(line, "%llu %u %15s", &over_us, &pool, what) != 3)
        return complain(reader, "expected US POOL WHAT ...");
    if (strcmp(what, "event") == 0 || pool != reader->trace->pool)
        return ERR_OK;
    if (sscanf(line, "%*u %*u %*s %15s %llu %llu %*u %15s", outcome, &wait_us,
               &service_us, class) != 4)
        return complain(reader, "expected eight words");
    if (over_us > MOST_US || wait_us > MOST_US || service_us > MOST_US)
        return complain(reader, "a time of more than 31 years");
    end = end_named(outcome);
    if (end < 0 ||
        (strcmp(what, "lease") != 0 && strcmp(what, "statement") != 0))
        return complain(reader, "neither a lease, a statement nor an event");
    demand = new_demand(reader->trace, &reader->room);
    if (demand == NULL)
        return ERR_NOMEM;
    over_us += reader->began_us - reader->zero_us;
    took_us = wait_us + service_us;
    *demand = (struct trace_demand){
        .at_ns = (over_us > took_us ? over_us - took_us : 0) * 1000,
        .wait_ns = wait_us * 1000,
        .service_ns = service_us * 1000,
        .end = (enum demand_end)end,
        .is_shared = what[0] == 's',
        .class = class_named(class),
    };
    return ERR_OK;
}

static int by_time(const void *a, const void *b)
{
    const struct trace_demand *one = a, *other = b;

    return (one->at_ns > other->at_ns) - (one->at_ns < other->at_ns);
}

/* Time begins with the first demand. */
static void sort(struct trace *trace)
{
    uint64_t first_ns;

    if (trace->n_demands == 0)
        return;
    qsort(trace->demands, trace->n_demands, sizeof(*trace->demands), by_time);
    first_ns = trace->demands[0].at_ns;
    for (size_t i = 0; i < trace->n_demands; i++) {
        struct trace_demand *demand = &trace->demands[i];
        uint64_t over_ns;

        demand->at_ns -= first_ns;
        over_ns = demand->at_ns + demand->wait_ns + demand->service_ns;
        if (over_ns > trace->span_ns)
            trace->span_ns = over_ns;
    }
}

/* ---- a file */

static enum err take_line(struct reader *reader, char *line, uint64_t number)
{
    struct err_text what;
    enum err err = line[0] == '#' ? take_comment(reader, line) : ERR_OK;

    if (err == ERR_OK && !reader->has_begun)
        err = complain(reader, "this is no trace of tidepool");
    if (err == ERR_OK && line[0] != '#' && line[0] != '\n')
        err = take_demand(reader, line);
    if (err == ERR_BADARG) {
        what = *reader->why;
        err_text_set(reader->why, "line %llu: %s", (unsigned long long)number,
                     what.text);
    }
    return err;
}

/* A line without its end is one that the writer did not come to finish. */
static enum err take_all(struct reader *reader, gzFile file)
{
    char line[LINE_MAX_BYTES];
    uint64_t number = 0;
    int status;
    enum err err = ERR_OK;

    while (err == ERR_OK && gzgets(file, line, sizeof(line)) != NULL)
        if (strchr(line, '\n') != NULL)
            err = take_line(reader, line, ++number);
    gzerror(file, &status);
    if (err == ERR_OK && status == Z_DATA_ERROR)
        err = complain(reader, "it is damaged");
    if (err == ERR_OK && number == 0)
        err = complain(reader, "this is no trace of tidepool");
    return err;
}

static enum err check_pool(struct reader *reader)
{
    char names[256] = "";
    size_t len = 0;

    for (unsigned i = 0; i < reader->trace->n_pools && len < 180; i++)
        len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s",
                                i > 0 ? ", " : "", reader->trace->names[i]);
    if (reader->is_found &&
        (reader->wanted != NULL || reader->trace->n_pools == 1))
        return ERR_OK;
    if (reader->wanted != NULL)
        err_text_set(reader->why, "no pool %s; there are: %s", reader->wanted,
                     names);
    else
        err_text_set(reader->why, "there are several pools, say which: %s",
                     names);
    return ERR_BADARG;
}

enum err trace_read(struct trace *trace, const char *path, const char *name,
                    struct err_text *why)
{
    struct reader reader = { .trace = trace, .wanted = name, .why = why };
    gzFile file = gzopen(path, "rbe");
    enum err err;

    memset(trace, 0, sizeof(*trace));
    pool_settings_init(&trace->settings, 1);
    if (file == NULL)
        return complain(&reader, "it cannot be opened");
    err = take_all(&reader, file);
    gzclose(file);
    if (err == ERR_OK)
        err = check_pool(&reader);
    if (err != ERR_OK) {
        trace_free(trace);
        return err;
    }
    sort(trace);
    return ERR_OK;
}

void trace_free(struct trace *trace)
{
    free(trace->demands);
    trace->demands = NULL;
    trace->n_demands = 0;
}
