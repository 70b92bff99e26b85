/*
 * embed.c - prints C arrays of the Lua files it is given: their bytecode, and
 * their text for a LuaJIT that has another bytecode.  lua/tidepool/init.lua
 * becomes the module "tidepool", lua/tidepool/a/b.lua "tidepool.a.b".
 */
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_SIZE = 200, BYTES_A_LINE = 16 };

struct array {
    size_t len;
};

static void print_bytes(struct array *array, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        printf("(char)%d,", (unsigned char)bytes[i]);
        if (++array->len % BYTES_A_LINE == 0)
            printf("\n");
    }
}

static int print_part(lua_State *L, const void *bytes, size_t len, void *ud)
{
    (void)L;
    print_bytes(ud, bytes, len);
    return 0;
}

static void print_text(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct array array = { 0 };
    char bytes[4096];
    size_t len;

    if (file == NULL) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    while ((len = fread(bytes, 1, sizeof(bytes), file)) > 0)
        print_bytes(&array, bytes, len);
    fclose(file);
}

/* luaL_loadfile() names the chunk "@path", as messages have it. */
static void print_code(const char *path)
{
    lua_State *L = luaL_newstate();
    struct array array = { 0 };

    if (L == NULL)
        exit(EXIT_FAILURE);
    lua_gc(L, LUA_GCSTOP, 0);
    if (luaL_loadfile(L, path) != 0) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        exit(EXIT_FAILURE);
    }
    lua_dump(L, print_part, &array);
    lua_close(L);
}

static void print_name(const char *path)
{
    char name[NAME_MAX_SIZE];
    char *end;

    snprintf(name, sizeof(name), "%s",
             strncmp(path, "lua/", 4) == 0 ? path + 4 : path);
    end = strrchr(name, '.');
    if (end != NULL)
        *end = '\0';
    end = strstr(name, "/init");
    if (end != NULL && end[5] == '\0')
        *end = '\0';
    for (char *at = name; *at != '\0'; at++)
        if (*at == '/')
            *at = '.';
    printf("%s", name);
}

int main(int argc, char **argv)
{
    printf("#include \"script/lua_modules.h\"\n");
    for (int i = 1; i < argc; i++) {
        printf("static const char text_%d[] = {\n", i);
        print_text(argv[i]);
        printf("};\nstatic const char code_%d[] = {\n", i);
        print_code(argv[i]);
        printf("};\n");
    }
    printf("const struct lua_module lua_modules[] = {\n");
    for (int i = 1; i < argc; i++) {
        printf("    { \"");
        print_name(argv[i]);
        printf("\", \"@%s\", text_%d, sizeof text_%d, code_%d, "
               "sizeof code_%d },\n",
               argv[i], i, i, i, i);
    }
    printf("    { 0, 0, 0, 0, 0, 0 } };\n");
    return EXIT_SUCCESS;
}
