/* listen.c - see listen.h. */
#include "pg/listen.h"

#include "pg/link.h"

#include <stdlib.h>
#include <string.h>

static void tell(struct pg_listener *listener)
{
    if (listener->is_told)
        return;
    listener->is_told = true;
    listener->on_heard(listener);
}

static bool reserve(struct pg_listener *listener)
{
    size_t room = listener->n_room > 0 ? listener->n_room * 2 : 16;
    struct pg_note *notes;

    if (listener->n_notes < listener->n_room)
        return true;
    notes = realloc(listener->notes, room * sizeof(*notes));
    if (notes == NULL)
        return false;
    listener->notes = notes;
    listener->n_room = room;
    return true;
}

/* False when there is no memory. */
static bool keep(struct pg_listener *listener, const PGnotify *notify)
{
    struct pg_note note;

    if (!reserve(listener))
        return false;
    note.channel = strdup(notify->relname);
    note.payload = strdup(notify->extra);
    if (note.channel == NULL || note.payload == NULL) {
        free(note.channel);
        free(note.payload);
        return false;
    }
    listener->notes[listener->n_notes++] = note;
    return true;
}

void listen_take(struct pg_link *link)
{
    struct pg_listener *listener = link->listener;
    bool is_kept = true;
    size_t before = listener != NULL ? listener->n_notes : 0;
    PGnotify *notify;

    while ((notify = PQnotifies(link->pq)) != NULL) {
        if (listener != NULL && is_kept)
            is_kept = keep(listener, notify);
        PQfreemem(notify);
    }
    if (listener == NULL)
        return;
    if (!is_kept) { /* a gap, which the listener has to know of */
        struct err_text text = { .text = "" };

        err_text_set(&text, "%s", err_sentence(ERR_NOMEM));
        listen_lose(link, &text);
    } else if (listener->n_notes > before) {
        tell(listener);
    }
}

void listen_lose(struct pg_link *link, const struct err_text *why)
{
    struct pg_listener *listener = link->listener;

    if (listener == NULL)
        return;
    link->listener = NULL;
    listener->link = NULL;
    listener->lost_text = *why;
    tell(listener);
}

void pg_listener_open(struct pg_listener *listener, struct pg_link *link)
{
    assert(link->listener == NULL && listener->on_heard != NULL);
    listener->link = link;
    link->listener = listener;
}

void pg_listener_taken(struct pg_listener *listener)
{
    for (size_t i = 0; i < listener->n_notes; i++) {
        free(listener->notes[i].channel);
        free(listener->notes[i].payload);
    }
    listener->n_notes = 0;
    listener->is_told = false;
}

void pg_listener_close(struct pg_listener *listener)
{
    if (listener->link != NULL)
        listener->link->listener = NULL;
    listener->link = NULL;
    pg_listener_taken(listener);
    free(listener->notes);
    listener->notes = NULL;
    listener->n_room = 0;
}
