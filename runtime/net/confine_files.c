/*
 * confine_files.c - see confine.h: landlock.
 *
 * The numbers are the kernel's and do not change; headers of its older versions
 * lack the newer ones.
 */
#include "net/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    SYS_CREATE_RULESET = 444, /* on every architecture */
    SYS_ADD_RULE = 445,
    SYS_RESTRICT_SELF = 446,
    ASK_VERSION = 1,
    RULE_PATH = 1,
    RULE_PORT = 2,
    ABI_REFER = 2,
    ABI_TRUNCATE = 3,
    ABI_PORTS = 4,
};

enum {
    FS_WRITE_FILE = 1 << 1,
    FS_READ_FILE = 1 << 2,
    FS_READ_DIR = 1 << 3,
    FS_REMOVE_FILE = 1 << 5,
    FS_MAKE_REG = 1 << 8,
    FS_MAKE_SOCK = 1 << 9,
    FS_ALL_FIRST = (1 << 13) - 1, /* of ABI 1 */
    FS_REFER = 1 << 13,
    FS_TRUNCATE = 1 << 14,
    FS_OF_FILES = FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE,
    NET_CONNECT_TCP = 1 << 1,
};

struct ruleset {
    uint64_t files, net;
};

struct path_rule {
    uint64_t allowed;
    int32_t fd;
} __attribute__((packed));

struct port_rule {
    uint64_t allowed, port;
};

unsigned confine_landlock_abi(void)
{
    long abi = syscall(SYS_CREATE_RULESET, NULL, (size_t)0, ASK_VERSION);

    return abi > 0 ? (unsigned)abi : 0;
}

static uint64_t handled(unsigned abi)
{
    return FS_ALL_FIRST | (abi >= ABI_REFER ? FS_REFER : 0) |
           (abi >= ABI_TRUNCATE ? FS_TRUNCATE : 0);
}

static uint64_t rights(const struct confine_rule *rule, const struct stat *info,
                       unsigned abi)
{
    uint64_t wanted = rule->is_writable
                          ? FS_WRITE_FILE | FS_TRUNCATE | FS_REMOVE_FILE |
                                FS_MAKE_REG | FS_MAKE_SOCK
                          : FS_READ_FILE | FS_READ_DIR;

    return wanted & handled(abi) &
           (S_ISDIR(info->st_mode) ? UINT64_MAX : FS_OF_FILES);
}

static bool add_path(int ruleset, const struct confine_rule *rule, unsigned abi)
{
    struct path_rule path = { .fd = open(rule->path, O_PATH | O_CLOEXEC) };
    struct stat info;
    bool is_added = true;

    if (path.fd < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == EACCES;
    if (fstat(path.fd, &info) == 0) {
        path.allowed = rights(rule, &info, abi);
        is_added = syscall(SYS_ADD_RULE, ruleset, RULE_PATH, &path, 0) == 0;
    }
    close(path.fd);
    return is_added;
}

static bool add_rules(int ruleset, const struct confine_wish *wish,
                      unsigned abi)
{
    for (size_t i = 0; i < wish->n_rules; i++)
        if (!add_path(ruleset, &wish->rules[i], abi))
            return false;
    for (size_t i = 0; abi >= ABI_PORTS && i < wish->n_ports; i++) {
        struct port_rule port = { NET_CONNECT_TCP, wish->ports[i] };

        if (syscall(SYS_ADD_RULE, ruleset, RULE_PORT, &port, 0) != 0)
            return false;
    }
    return true;
}

enum err confine_files(const struct confine_wish *wish, unsigned abi,
                       struct err_text *why)
{
    struct ruleset wanted = { handled(abi), NET_CONNECT_TCP };
    size_t size = abi >= ABI_PORTS ? sizeof(wanted) : sizeof(wanted.files);
    int ruleset = (int)syscall(SYS_CREATE_RULESET, &wanted, size, 0);
    bool is_done = ruleset >= 0 && add_rules(ruleset, wish, abi) &&
                   syscall(SYS_RESTRICT_SELF, ruleset, 0) == 0;

    if (!is_done)
        err_text_set(why, "landlock: %s", strerror(errno));
    if (ruleset >= 0)
        close(ruleset);
    return is_done ? ERR_OK : ERR_INTERNAL;
}
