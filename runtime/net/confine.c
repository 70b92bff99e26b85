/* confine.c - see confine.h; and the filters of system calls. */
#include "net/confine.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define OWN_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OWN_ARCH AUDIT_ARCH_AARCH64
#else
#define OWN_ARCH 0 /* unknown: refused */
#endif

enum {
    FILTER_MAX = 256,
    X32_BIT = 0x40000000, /* the calls of x86-64's third ABI */
    LISTENING_MAX = 100,
    ABI_PORTS = 4,
};

/* Other programs, other processes' memory, the machine.  io_uring would do
 * behind the filter what the filter refuses. */
static const int REFUSED[] = {
    SYS_execve,
    SYS_execveat,
    SYS_ptrace,
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_unshare,
    SYS_setns,
    SYS_fsopen,
    SYS_fsmount,
    SYS_move_mount,
    SYS_open_tree,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_kexec_load,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_acct,
    SYS_keyctl,
    SYS_add_key,
    SYS_request_key,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_adjtimex,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_quotactl,
    SYS_io_uring_setup,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_pidfd_getfd,
    SYS_open_by_handle_at,
#ifdef SYS_fork
    SYS_fork,
    SYS_vfork,
#endif
#ifdef SYS_iopl
    SYS_iopl,
    SYS_ioperm,
#endif
};

/* A name that is looked up takes the last: the addresses of this machine. */
static const int FAMILIES[] = { AF_UNIX, AF_INET, AF_INET6, AF_NETLINK };

/* ---- a filter as it grows */

struct filter {
    struct sock_filter code[FILTER_MAX];
    unsigned short len;
};

static void add(struct filter *filter, uint16_t code, uint32_t value,
                unsigned if_true, unsigned if_false)
{
    assert(filter->len < FILTER_MAX);
    filter->code[filter->len++] = (struct sock_filter){ .code = code,
                                                        .jt = (uint8_t)if_true,
                                                        .jf = (uint8_t)if_false,
                                                        .k = value };
}

static void add_load(struct filter *filter, size_t offset)
{
    add(filter, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void add_end(struct filter *filter, uint32_t action)
{
    add(filter, BPF_RET | BPF_K, action, 0, 0);
}

static void add_refusal(struct filter *filter, int error)
{
    add_end(filter, SECCOMP_RET_ERRNO | (uint32_t)error);
}

/* What follows, of so many instructions, is for this number only. */
static void add_if(struct filter *filter, int number, unsigned instructions)
{
    add(filter, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, instructions);
}

static void add_refused(struct filter *filter, int number, int error)
{
    add_if(filter, number, 1);
    add_refusal(filter, error);
}

/* Ends a call whose first argument is none of these. */
static void add_one_of(struct filter *filter, int number, const int *allowed,
                       size_t count)
{
    add_if(filter, number, 2 * (unsigned)count + 2);
    add_load(filter, offsetof(struct seccomp_data, args[0]));
    for (size_t i = 0; i < count; i++) {
        add_if(filter, allowed[i], 1);
        add_end(filter, SECCOMP_RET_ALLOW);
    }
    add_refusal(filter, EPERM);
}

/* Calls of another ABI have other numbers. */
static void add_begin(struct filter *filter)
{
    filter->len = 0;
    add_load(filter, offsetof(struct seccomp_data, arch));
    add(filter, BPF_JMP | BPF_JEQ | BPF_K, OWN_ARCH, 1, 0);
    add_refusal(filter, EPERM);
    add_load(filter, offsetof(struct seccomp_data, nr));
    add(filter, BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1);
    add_refusal(filter, EPERM);
}

static enum err load(struct filter *filter, struct err_text *why)
{
    struct sock_fprog program = { .filter = filter->code };
    unsigned flags = SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_LOG;
    long result;

    add_end(filter, SECCOMP_RET_ALLOW);
    program.len = filter->len;
    result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    if (result == 0)
        return ERR_OK;
    err_text_set(why, "seccomp: %s",
                 result < 0 ? strerror(errno) : "a thread could not follow");
    return ERR_INTERNAL;
}

static enum err filter_calls(struct err_text *why)
{
    struct filter filter;

    add_begin(&filter);
    for (size_t i = 0; i < sizeof(REFUSED) / sizeof(REFUSED[0]); i++)
        add_refused(&filter, REFUSED[i], EPERM);
    /* Its flags are in memory, which no filter sees; clone() is used then. */
    add_refused(&filter, SYS_clone3, ENOSYS);
    add_if(&filter, SYS_clone, 4);
    add_load(&filter, offsetof(struct seccomp_data, args[0]));
    add(&filter, BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 1, 0);
    add_refusal(&filter, EPERM);
    add_end(&filter, SECCOMP_RET_ALLOW);
    add_one_of(&filter, SYS_socket, FAMILIES,
               sizeof(FAMILIES) / sizeof(FAMILIES[0]));
    return load(&filter, why);
}

/* ---- from outside */

static bool has_filters(void)
{
    uint32_t action = SECCOMP_RET_ERRNO;

    return OWN_ARCH != 0 &&
           syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

static unsigned count_threads(void)
{
    DIR *dir = opendir("/proc/self/task");
    const struct dirent *entry;
    unsigned count = 0;

    if (dir == NULL)
        return 0;
    while ((entry = readdir(dir)) != NULL)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

enum err confine_check(struct err_text *why)
{
    bool has_landlock = confine_landlock_abi() > 0;

    if (has_landlock && has_filters())
        return ERR_OK;
    err_text_set(why, "the kernel has no %s",
                 has_landlock ? "seccomp filters (CONFIG_SECCOMP_FILTER)"
                              : "landlock (CONFIG_SECURITY_LANDLOCK, and "
                                "landlock in lsm=)");
    return ERR_BADARG;
}

enum err confine_begin(const struct confine_wish *wish,
                       struct confine_result *out, struct err_text *why)
{
    unsigned abi = confine_landlock_abi(), threads = count_threads();
    enum err err = confine_check(why);

    if (err != ERR_OK)
        return err;
    if (threads != 1) {
        err_text_set(why, "there are %u threads, one expected", threads);
        return ERR_INTERNAL;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        err_text_set(why, "no_new_privs: %s", strerror(errno));
        return ERR_INTERNAL;
    }
    err = confine_files(wish, abi, why);
    if (err == ERR_OK)
        err = filter_calls(why);
    if (err == ERR_OK)
        *out = (struct confine_result){ abi, abi >= ABI_PORTS };
    return err;
}

enum err confine_sockets(const int *listening, size_t count,
                         struct err_text *why)
{
    struct filter filter;

    if (count > LISTENING_MAX) {
        err_text_set(why, "%zu sockets listen, at most %d expected", count,
                     LISTENING_MAX);
        return ERR_BADARG;
    }
    add_begin(&filter);
    add_refused(&filter, SYS_bind, EPERM);
    add_one_of(&filter, SYS_listen, listening, count);
    return load(&filter, why);
}
