/* bind_files.c - the few file calls that Lua's io and os do not have. */
#include "script/core.h"
#include "script/err.h"
#include "script/vm.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int return_errno(lua_State *L, const char *path)
{
    return return_text(L, ERR_BADARG, "%s: %s", path, strerror(errno));
}

static int return_true(lua_State *L)
{
    lua_pushboolean(L, 1);
    return 1;
}

static const char *type_name(mode_t mode)
{
    if (S_ISREG(mode))
        return "file";
    if (S_ISDIR(mode))
        return "directory";
    return S_ISSOCK(mode) ? "socket" : "other";
}

static int l_stat(lua_State *L)
{
    struct stat info;

    if (stat(luaL_checkstring(L, 1), &info) != 0)
        return 0;
    lua_createtable(L, 0, 5);
    lua_pushnumber(L, (lua_Number)info.st_size);
    lua_setfield(L, -2, "size");
    lua_pushnumber(L, (lua_Number)info.st_mtim.tv_sec +
                          (lua_Number)info.st_mtim.tv_nsec / 1e9);
    lua_setfield(L, -2, "mtime");
    lua_pushinteger(L, info.st_mode & 07777);
    lua_setfield(L, -2, "mode");
    lua_pushinteger(L, (lua_Integer)info.st_uid);
    lua_setfield(L, -2, "uid");
    lua_pushstring(L, type_name(info.st_mode));
    lua_setfield(L, -2, "type");
    return 1;
}

static int l_read_file(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct buf text = { .data = NULL };
    FILE *file = fopen(path, "rb");
    char chunk[4096];
    size_t count;
    bool is_bad;

    if (file == NULL)
        return return_errno(L, path);
    while ((count = fread(chunk, 1, sizeof(chunk), file)) > 0)
        buf_put(&text, chunk, count);
    is_bad = ferror(file) || buf_failed(&text);
    fclose(file);
    if (!is_bad)
        lua_pushlstring(L, text.len > 0 ? text.data : "", text.len);
    buf_free(&text);
    return is_bad ? return_text(L, ERR_BADARG, "%s: cannot be read", path) : 1;
}

/* mkdir(path [, mode]): it may be there already. */
static int l_mkdir(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);

    if (mkdir(path, (mode_t)luaL_optint(L, 2, 0777)) != 0 && errno != EEXIST)
        return return_errno(L, path);
    return return_true(L);
}

static int l_mkdtemp(lua_State *L)
{
    char path[4096];

    snprintf(path, sizeof(path), "%sXXXXXX", luaL_checkstring(L, 1));
    if (mkdtemp(path) == NULL)
        return return_errno(L, path);
    lua_pushstring(L, path);
    return 1;
}

static int remove_one(const char *path, const struct stat *info, int type,
                      struct FTW *walk)
{
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

static int l_remove_tree(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);

    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0 &&
        errno != ENOENT)
        return return_errno(L, path);
    return return_true(L);
}

static int l_chown(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);

    if (chown(path, (uid_t)luaL_checkint(L, 2), (gid_t)luaL_checkint(L, 3)) !=
        0)
        return return_errno(L, path);
    return return_true(L);
}

static int l_chmod(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);

    if (chmod(path, (mode_t)luaL_checkint(L, 2)) != 0)
        return return_errno(L, path);
    return return_true(L);
}

/* user(name): { uid =, gid = }, or nil when there is none. */
static int l_user(lua_State *L)
{
    struct passwd *entry = getpwnam(luaL_checkstring(L, 1));

    if (entry == NULL)
        return 0;
    lua_createtable(L, 0, 2);
    lua_pushinteger(L, (lua_Integer)entry->pw_uid);
    lua_setfield(L, -2, "uid");
    lua_pushinteger(L, (lua_Integer)entry->pw_gid);
    lua_setfield(L, -2, "gid");
    return 1;
}

static int l_realpath(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    char *real = realpath(path, NULL);

    if (real == NULL)
        return return_errno(L, path);
    lua_pushstring(L, real);
    free(real);
    return 1;
}

/* list_dir(path): the names in it, in no order; or nil, err. */
static int l_list_dir(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    DIR *dir = opendir(path);
    const struct dirent *entry;
    int count = 0;

    if (dir == NULL)
        return return_errno(L, path);
    lua_newtable(L);
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        lua_pushstring(L, entry->d_name);
        lua_rawseti(L, -2, ++count);
    }
    closedir(dir);
    return 1;
}

static const luaL_Reg functions[] = {
    { "stat", l_stat },
    { "list_dir", l_list_dir },
    { "read_file", l_read_file },
    { "mkdir", l_mkdir },
    { "mkdtemp", l_mkdtemp },
    { "remove_tree", l_remove_tree },
    { "chown", l_chown },
    { "chmod", l_chmod },
    { "user", l_user },
    { "realpath", l_realpath },
    { NULL, NULL },
};

void bind_files(lua_State *L, struct vm *vm)
{
    vm_register(L, vm, functions);
}
