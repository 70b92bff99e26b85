/*
 * names.h - the names of all functions of a database, and of keywords, which
 * look like them; private to pg/.  There are thousands, so what the server says
 * is read on a thread.
 */
#ifndef TIDEPOOL_PG_NAMES_H
#define TIDEPOOL_PG_NAMES_H

#include "net/loop.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

/* They are not read again sooner: for unknown ones, or when they could not be
 * read. */
static const uint64_t NAMES_PAUSE_NS = 1000000000;

struct name_table;
struct names_reading;

/* Embedded in the pool's knowns; all zero: none were read. */
struct names {
    struct name_table *table;      /* or NULL */
    struct names_reading *reading; /* on its thread, or NULL */
    uint64_t version;              /* counts the readings; 0: none */
    uint64_t epoch;                /* of the pool then */
    uint64_t read_ns;              /* when */
    uint64_t failed_ns; /* when they could not be read; 0: they were */
    unsigned doubts;    /* how often a function was made or changed */
    unsigned asked;     /* doubts when they were asked for */
    bool is_stale;      /* one was since */
    bool is_wanted;     /* a statement names a function that is not there */
    bool is_coming;     /* asked for, or being read */
};

enum name_kind { NAME_UNKNOWN, NAME_HARMLESS, NAME_VOLATILE };

extern const char names_sql[];

/* A function was made or changed: the list is out of date, also when it is on
 * its way. */
void names_doubt(struct names *names);
/* They could not be asked for, or the answer does not come. */
void names_failed(struct names *names, uint64_t now_ns);
/* Takes over the result of names_sql; until done is called, maybe from inside,
 * is_coming says so. */
void names_read(struct names *names, struct loop *loop, PGresult *result,
                uint64_t epoch, void (*done)(void *ud), void *ud);
/* word in any case. */
enum name_kind names_find(const struct names *names, const char *word,
                          size_t len);
/* done is not called any more. */
void names_free(struct names *names);

#endif
