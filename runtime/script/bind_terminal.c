/* bind_terminal.c - the terminal as a Lua value: its size, its keys, a screen
 * of its own, and all as it was afterwards. */
#include "net/watch.h"
#include "script/core.h"
#include "script/err.h"
#include "script/task.h"
#include "script/userdata.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static const char TERMINAL_TYPE[] = "tidepool.terminal";

/* The other screen, no cursor, no wrapping; and back. */
static const char ENTER[] = "\33[?1049h\33[?25l\33[?7l";
static const char LEAVE[] = "\33[?7h\33[?25h\33[?1049l";

/* A userdata that its opener keeps; collected, it closes. */
struct script_terminal {
    struct vm *vm;
    struct watch *watch; /* of the keys; NULL: none are read */
    struct termios before;
    int fn_ref;
    bool has_keys; /* before is of stdin */
    bool is_open;
};

static void put(const char *text, size_t len)
{
    while (len > 0) {
        ssize_t count = write(STDOUT_FILENO, text, len);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return; /* it is gone: nobody to tell */
        text += count;
        len -= (size_t)count;
    }
}

/* ---- keys */

static void give_keys(struct script_terminal *box, const char *keys, size_t len)
{
    lua_State *L = box->vm->L;

    lua_rawgeti(L, LUA_REGISTRYINDEX, box->fn_ref);
    lua_pushlstring(L, keys, len);
    task_spawn(box->vm, L, 1, NULL);
}

static void on_readable(struct watch *watch, int events, void *ud)
{
    struct script_terminal *box = ud;
    char keys[64];
    ssize_t count = read(STDIN_FILENO, keys, sizeof(keys));

    (void)events;
    if (count < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (count <= 0)
        watch_want(watch, 0);
    give_keys(box, keys, count > 0 ? (size_t)count : 0);
}

/* Keys come one by one, unechoed; those that would stop or end the process are
 * keys as well. */
static bool read_keys(struct script_terminal *box)
{
    struct termios raw;

    if (tcgetattr(STDIN_FILENO, &box->before) != 0)
        return true; /* stdin is no terminal: there are no keys */
    if (watch_open(&box->watch, box->vm->loop, STDIN_FILENO, on_readable,
                   box) != ERR_OK)
        return false;
    raw = box->before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG | IEXTEN);
    raw.c_iflag &= ~(tcflag_t)(IXON | ICRNL);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw);
    box->has_keys = true;
    watch_want(box->watch, WATCH_READ);
    return true;
}

/* ---- life */

/* terminal_open(fn): from now on fn(keys) is called with what is typed, "" once
 * no more comes. */
static int l_terminal_open(lua_State *L)
{
    struct script_terminal *box;

    luaL_checktype(L, 1, LUA_TFUNCTION);
    box = lua_newuserdata(L, sizeof(*box));
    memset(box, 0, sizeof(*box));
    box->vm = vm_of(L);
    box->fn_ref = LUA_NOREF;
    vm_set_type(L, TERMINAL_TYPE);
    if (!read_keys(box))
        return return_text(L, ERR_NOMEM, "the keys cannot be watched");
    lua_pushvalue(L, 1);
    box->fn_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    box->is_open = true;
    put(ENTER, sizeof(ENTER) - 1);
    return 1;
}

static void close_terminal(struct script_terminal *box)
{
    if (!box->is_open)
        return;
    box->is_open = false;
    watch_close(box->watch);
    put(LEAVE, sizeof(LEAVE) - 1);
    if (box->has_keys)
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &box->before);
}

/* close(): all is as it was before. */
static int l_close(lua_State *L)
{
    struct script_terminal *box = vm_check_type(L, 1, TERMINAL_TYPE);

    close_terminal(box);
    luaL_unref(L, LUA_REGISTRYINDEX, box->fn_ref);
    box->fn_ref = LUA_NOREF;
    return 0;
}

static int l_terminal_gc(lua_State *L)
{
    close_terminal(lua_touserdata(L, 1));
    return 0;
}

/* terminal_size(): columns and rows of stdout; nothing where it has none. */
static int l_terminal_size(lua_State *L)
{
    struct winsize size;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 ||
        size.ws_row == 0)
        return 0;
    lua_pushinteger(L, size.ws_col);
    lua_pushinteger(L, size.ws_row);
    return 2;
}

/* isatty(fd) */
static int l_isatty(lua_State *L)
{
    lua_pushboolean(L, isatty(luaL_checkint(L, 1)));
    return 1;
}

static const luaL_Reg methods[] = {
    { "close", l_close },
    { "__gc", l_terminal_gc },
    { NULL, NULL },
};

static const luaL_Reg functions[] = {
    { "terminal_open", l_terminal_open },
    { "terminal_size", l_terminal_size },
    { "isatty", l_isatty },
    { NULL, NULL },
};

void bind_terminal(lua_State *L, struct vm *vm)
{
    vm_metatable(L, vm, TERMINAL_TYPE, methods);
    lua_pop(L, 1);
    vm_register(L, vm, functions);
}
