/* lua_engine.c - libFuzzer on a target in Lua: that of the program's name. */
#include "fuzz.h"

#include <string.h>

static const char *target;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *name = strrchr((*argv)[0], '/');

    (void)argc;
    name = name != NULL ? name + 1 : (*argv)[0];
    FUZZ_CHECK(strncmp(name, "fuzz_", 5) == 0);
    target = name + 5;
    fuzz_lua();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    return fuzz_lua_run(target, bytes, size);
}
