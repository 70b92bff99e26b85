/*
 * fuzz.h - what targets share.  A target is one function of some bytes, which
 * ends the process when what it calls does what it must not: it is driven by
 * libFuzzer (FUZZ_ENGINE), or by replay.c, which gives it files.
 */
#ifndef TIDEPOOL_FUZZ_H
#define TIDEPOOL_FUZZ_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef int (*fuzz_fn)(const uint8_t *bytes, size_t size);

#ifdef FUZZ_ENGINE
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);
#define FUZZ_TARGET(name) \
    int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
#else
/* For replay.c, which finds a target by the name of its folder. */
void fuzz_register(const char *name, fuzz_fn fn);
#define FUZZ_TARGET(name)                                               \
    static int fuzz_##name(const uint8_t *bytes, size_t size);          \
    __attribute__((constructor)) static void fuzz_register_##name(void) \
    {                                                                   \
        fuzz_register(#name, fuzz_##name);                              \
    }                                                                   \
    static int fuzz_##name(const uint8_t *bytes, size_t size)
#endif

/* What must be true whatever the bytes are. */
#define FUZZ_CHECK(condition)                                              \
    do {                                                                   \
        if (!(condition)) {                                                \
            fprintf(stderr, "%s:%d: %s is not true\n", __FILE__, __LINE__, \
                    #condition);                                           \
            abort();                                                       \
        }                                                                  \
    } while (0)

/* An input, taken from its front. */
struct fuzz_input {
    const uint8_t *at;
    size_t left;
};

/* 0 when nothing is left. */
uint8_t fuzz_byte(struct fuzz_input *input);
/* Up to the next line feed, which is taken, too; a copy of exactly that size
 * and a zero behind it, which the caller frees. */
char *fuzz_line(struct fuzz_input *input, size_t *len);
/* All that is left, the same way. */
char *fuzz_rest(struct fuzz_input *input, size_t *len);

/* ---- Lua */

struct lua_State;

/* The state of a runtime, made at the first call and kept. */
struct lua_State *fuzz_lua(void);
/* Runs the target tests/fuzz/fuzz_NAME.lua on the bytes. */
int fuzz_lua_run(const char *name, const uint8_t *bytes, size_t size);

#endif
