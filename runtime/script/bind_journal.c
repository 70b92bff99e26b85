/*
 * bind_journal.c - files that are appended to and synced to the disk, each held
 * by one process, whose end however it comes lets go of it.
 *
 * Writes run on the thread pool, one at a time; the task that asked is parked.
 */
#include "net/work.h"
#include "script/core.h"
#include "script/err.h"
#include "script/park.h"
#include "script/task.h"
#include "script/userdata.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char JOURNAL_TYPE[] = "tidepool.journal";

/* A userdata. */
struct journal {
    struct vm *vm;
    int fd;                /* -1: closed */
    struct append *append; /* under way, or NULL */
    bool closing;          /* fd is closed when that has ended */
};

/* Freed when it is done; self_ref keeps the journal until then. */
struct append {
    struct journal *journal;
    struct task *task; /* parked, or NULL: cancelled */
    int self_ref;
    int fd;
    int error; /* errno, or 0 */
    size_t size;
    char text[];
};

static int return_errno(lua_State *L, const char *path, int number)
{
    enum err err = number == EWOULDBLOCK ? ERR_BUSY : ERR_BADARG;

    return return_text(L, err, "%s: %s", path, strerror(number));
}

static struct journal *check_journal(lua_State *L)
{
    return vm_check_type(L, 1, JOURNAL_TYPE);
}

static int write_all(int fd, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t count = write(fd, text, size);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return errno;
        text += count;
        size -= (size_t)count;
    }
    return fdatasync(fd) == 0 ? 0 : errno;
}

/* On another thread.  What is written in part is taken away again, so that
 * what follows it stands on a line of its own. */
static void run_append(void *ud)
{
    struct append *append = ud;
    off_t end = lseek(append->fd, 0, SEEK_END);

    append->error = write_all(append->fd, append->text, append->size);
    if (append->error != 0 && end >= 0 && ftruncate(append->fd, end) != 0)
        append->error = errno;
}

static void close_fd(struct journal *journal)
{
    if (journal->fd >= 0)
        close(journal->fd);
    journal->fd = -1;
}

static void append_done(void *ud)
{
    struct append *append = ud;
    struct journal *journal = append->journal;
    struct task *task = append->task;

    journal->append = NULL;
    if (journal->closing)
        close_fd(journal);
    if (task != NULL) {
        lua_State *L = task_results(task);

        if (append->error == 0)
            lua_pushboolean(L, 1);
        else
            return_errno(L, "the log", append->error);
        task_wake(task);
    }
    luaL_unref(journal->vm->L, LUA_REGISTRYINDEX, append->self_ref);
    free(append);
}

/* The write goes on to its end. */
static void cancel_append(struct task *task)
{
    struct journal *journal = task->operand;

    journal->append->task = NULL;
}

static struct append *new_append(struct journal *journal, const char *text,
                                 size_t size)
{
    struct append *append = malloc(sizeof(*append) + size);

    if (append == NULL)
        return NULL;
    *append = (struct append){ .journal = journal,
                               .fd = journal->fd,
                               .size = size,
                               .self_ref = LUA_NOREF };
    memcpy(append->text, text, size);
    return append;
}

/* append(text): true when it is on the disk; or nil, err, and none of it is
 * there.  Parks. */
static int l_append(lua_State *L)
{
    struct journal *journal = check_journal(L);
    size_t size;
    const char *text = luaL_checklstring(L, 2, &size);
    struct task *task = task_check(L);
    struct append *append;

    if (journal->fd < 0 || journal->closing)
        return return_text(L, ERR_CLOSED, "the log is closed");
    if (journal->append != NULL)
        return return_text(L, ERR_BUSY, "the log is being written");
    append = new_append(journal, text, size);
    if (append == NULL || work_start(journal->vm->loop, run_append, append_done,
                                     append) != ERR_OK) {
        free(append);
        return return_text(L, ERR_NOMEM, "no memory to write the log");
    }
    lua_pushvalue(L, 1);
    append->self_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    append->task = task;
    journal->append = append;
    task->operand = journal;
    return task_park(L, task, cancel_append);
}

/* reset(): nothing is in it any more; not while it is written. */
static int l_reset(lua_State *L)
{
    struct journal *journal = check_journal(L);

    if (journal->fd < 0 || journal->append != NULL ||
        ftruncate(journal->fd, 0) != 0)
        return return_text(L, ERR_BADARG, "the log cannot be emptied");
    lua_pushboolean(L, 1);
    return 1;
}

/* close(): others may have it. */
static int l_close(lua_State *L)
{
    struct journal *journal = check_journal(L);

    if (journal->append != NULL)
        journal->closing = true;
    else
        close_fd(journal);
    return 0;
}

/* That a new file is there outlasts a crash, too. */
static void sync_directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder =
        slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

    free(folder);
    if (fd < 0)
        return;
    if (fsync(fd) != 0)
        errno = 0; /* some file systems have none for folders */
    close(fd);
}

/* A file that another process has removed since its path was read is no use. */
static int hold_file(int fd)
{
    struct stat info;

    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return errno;
    return fstat(fd, &info) == 0 && info.st_nlink > 0 ? 0 : ENOENT;
}

/* journal(path, is_new): makes the file, or takes the one that is there; or
 * nil, err, which is busy when another process has it. */
static int l_journal(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    bool is_new = lua_toboolean(L, 2);
    int flags = O_RDWR | O_APPEND | O_CLOEXEC;
    struct journal *journal = lua_newuserdata(L, sizeof(*journal));
    int error;

    *journal = (struct journal){ .vm = vm_of(L), .fd = -1 };
    vm_set_type(L, JOURNAL_TYPE);
    journal->fd = open(path, is_new ? flags | O_CREAT | O_EXCL : flags, 0600);
    if (journal->fd < 0)
        return return_errno(L, path, errno);
    error = hold_file(journal->fd);
    if (error != 0) {
        close_fd(journal);
        return return_errno(L, path, error);
    }
    if (is_new)
        sync_directory(path);
    return 1;
}

static int l_journal_gc(lua_State *L)
{
    close_fd(lua_touserdata(L, 1));
    return 0;
}

static const luaL_Reg methods[] = {
    { "append", l_append },   { "reset", l_reset }, { "close", l_close },
    { "__gc", l_journal_gc }, { NULL, NULL },
};

/* wall_us(): microseconds since 1970, which settings of the clock move. */
static int l_wall_us(lua_State *L)
{
    struct timespec now;
    long us;

    clock_gettime(CLOCK_REALTIME, &now);
    us = now.tv_nsec / 1000;
    lua_pushnumber(L, (lua_Number)now.tv_sec * 1e6 + (lua_Number)us);
    return 1;
}

static const luaL_Reg functions[] = {
    { "journal", l_journal },
    { "wall_us", l_wall_us },
    { NULL, NULL },
};

void bind_journal(lua_State *L, struct vm *vm)
{
    vm_metatable(L, vm, JOURNAL_TYPE, methods);
    lua_pop(L, 1);
    vm_register(L, vm, functions);
}
