/*
 * phase.h - what a link is busy with, and the moves from there.  Private to
 * pg/.
 */
#ifndef TIDEPOOL_PG_PHASE_H
#define TIDEPOOL_PG_PHASE_H

struct pg_link;

enum link_phase {
    LINK_CONNECTING,
    LINK_QUIET,     /* nothing is due */
    LINK_PREPARING, /* Parse and Describe, and Close of doomed statements */
    LINK_RUNNING,   /* the request's statement */
    LINK_CHORE,     /* a statement of our own */
    LINK_LANE,      /* pipelined, see lane.h */
    LINK_COPY,      /* see copy.h */
    LINK_BROKEN,    /* for good */
    LINK_PHASES
};

/* The only place where the phase changes; the move must be a legal one. */
void link_move(struct pg_link *link, enum link_phase phase);

#endif
