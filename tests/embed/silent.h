/* silent.h - servers that leave a client waiting: at the connect, at a TLS
 * handshake, at a login.  Each listens on a port of 127.0.0.1. */
#ifndef TIDEPOOL_SILENT_H
#define TIDEPOOL_SILENT_H

enum silence {
    SILENT_BACKLOG, /* no connect is answered */
    SILENT_ALWAYS,  /* takes connections and says nothing */
    SILENT_TLS,     /* says yes to Postgres' TLS, then nothing */
    SILENT_LOGIN    /* the same after the password was asked for by SCRAM */
};

struct silent;

/* Runs one in a thread of its own.  iterations: that SCRAM demands.  NULL: it
 * could not. */
struct silent *silent_new(enum silence silence, unsigned iterations);
int silent_port(const struct silent *silent);
/* How many clients came as far as it lets them. */
int silent_count(const struct silent *silent);
/* How many were asked for a proof by SCRAM. */
int silent_asked(const struct silent *silent);
void silent_free(struct silent *silent);

#endif
