/*
 * confine.h - gives up, for the life of the process, what it will not need:
 * landlock for files and ports, a filter of system calls for the rest.
 *
 * What is refused fails with EPERM or EACCES.  Neither is undone by what runs
 * afterwards, be it machine code.
 */
#ifndef TIDEPOOL_NET_CONFINE_H
#define TIDEPOOL_NET_CONFINE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct confine_rule {
    const char *path; /* a file, or a folder with all that is below it; what
                         is not there is left out */
    bool is_writable; /* files in it are made, written and removed; otherwise
                         they are read */
};

struct confine_wish {
    const struct confine_rule *rules;
    size_t n_rules;
    const uint16_t *ports; /* that TCP may connect to, where has_ports */
    size_t n_ports;
};

struct confine_result {
    unsigned landlock_abi;
    bool has_ports; /* connects are limited: landlock has that from ABI 4 on */
};

/* ERR_BADARG: why names what the kernel lacks for it. */
enum err confine_check(struct err_text *why) MUST_CHECK;

/*
 * From here on no program is started and no process made, files are opened by
 * the rules only, and of TCP only the ports are connected to.  The process has
 * one thread: landlock would not hold for others.  ERR_BADARG: as above, and
 * nothing was given up; ERR_INTERNAL: perhaps a part of it was.
 */
enum err confine_begin(const struct confine_wish *wish,
                       struct confine_result *out,
                       struct err_text *why) MUST_CHECK;

/* From here on no socket is bound, and none listens but these descriptors, in
 * any thread. */
enum err confine_sockets(const int *listening, size_t count,
                         struct err_text *why) MUST_CHECK;

/* The two halves of confine_begin(). */
unsigned confine_landlock_abi(void); /* 0: the kernel has none */
enum err confine_files(const struct confine_wish *wish, unsigned abi,
                       struct err_text *why) MUST_CHECK;

#endif
