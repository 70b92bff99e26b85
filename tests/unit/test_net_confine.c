/* test_net_confine.c - confine.h: in children, for it cannot be undone. */
#include "net/confine.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* 0, or the line at which a child found something else than expected. */
#define EXPECT(condition)    \
    do {                     \
        if (!(condition))    \
            return __LINE__; \
    } while (0)

static void run_child(int (*fn)(void))
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        int line = fn();

        if (line > 0)
            print_error("a child found otherwise at line %d\n", line);
        _exit(line > 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* skip() of cmocka is told as a failure, in TAP. */
static bool can_be_confined(void)
{
    struct err_text why;

    if (confine_check(&why) == ERR_OK)
        return true;
    print_message("# left out: %s\n", why.text);
    return false;
}

static enum err begin(struct err_text *why)
{
    static const struct confine_rule rules[] = {
        { "/proc", false },
        { "/etc/hosts", false },
        { "/tmp", true },
        { "/nowhere/to/be/found", false },
    };
    static const uint16_t ports[] = { 53 };
    const struct confine_wish wish = { rules, 4, ports, 1 };
    struct confine_result result = { 0 };
    enum err err = confine_begin(&wish, &result, why);

    if (err == ERR_OK && result.has_ports != (result.landlock_abi >= 4))
        return ERR_INTERNAL;
    return err;
}

/* Makes one system call fail as on a kernel that has it not. */
static void take_away(unsigned number)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { 4, code };

    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    (void)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

static int find_no_landlock(void)
{
    struct err_text why = { .text = "" };

    take_away(444);
    EXPECT(begin(&why) == ERR_BADARG);
    EXPECT(strstr(why.text, "the kernel has no landlock") != NULL);
    EXPECT(open("/etc/passwd", O_RDONLY) >= 0); /* nothing was given up */
    return 0;
}

static int find_no_filters(void)
{
    struct err_text why = { .text = "" };

    take_away(SYS_seccomp);
    EXPECT(begin(&why) == ERR_BADARG);
    EXPECT(strstr(why.text, "the kernel has no seccomp") != NULL);
    return 0;
}

static void test_what_the_kernel_lacks_is_named(void **state)
{
    (void)state;
    if (!can_be_confined())
        return;
    run_child(find_no_landlock);
    run_child(find_no_filters);
}

static void *wait_for_lock(void *lock)
{
    pthread_mutex_lock(lock);
    return NULL;
}

static int begin_with_two_threads(void)
{
    struct err_text why = { .text = "" };
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_t thread;

    pthread_mutex_lock(&lock);
    EXPECT(pthread_create(&thread, NULL, wait_for_lock, &lock) == 0);
    EXPECT(begin(&why) == ERR_INTERNAL);
    EXPECT(strcmp(why.text, "there are 2 threads, one expected") == 0);
    return 0;
}

static void test_a_second_thread_is_refused(void **state)
{
    (void)state;
    if (!can_be_confined())
        return;
    run_child(begin_with_two_threads);
}

static bool is_refused(long result, int error)
{
    return result < 0 && errno == error;
}

static int open_files(void)
{
    struct err_text why = { .text = "" };
    char path[64];

    EXPECT(begin(&why) == ERR_OK);
    EXPECT(open("/etc/hosts", O_RDONLY) >= 0);
    EXPECT(is_refused(open("/etc/hosts", O_WRONLY), EACCES));
    EXPECT(is_refused(open("/etc/passwd", O_RDONLY), EACCES));
    EXPECT(is_refused(open("/etc", O_RDONLY | O_DIRECTORY), EACCES));
    EXPECT(is_refused(open("/proc/version", O_WRONLY), EACCES));
    EXPECT(is_refused(mkdir("/tmp/tidepool-confine-folder", 0700), EACCES));
    snprintf(path, sizeof(path), "/tmp/tidepool-confine-%d", (int)getpid());
    EXPECT(open(path, O_WRONLY | O_CREAT | O_EXCL, 0600) >= 0);
    EXPECT(is_refused(open(path, O_RDONLY), EACCES));
    EXPECT(unlink(path) == 0);
    return 0;
}

static void *nothing(void *ud)
{
    return ud;
}

static int make_processes(void)
{
    struct err_text why = { .text = "" };
    char *words[] = { "true", NULL };
    pthread_t thread;

    EXPECT(begin(&why) == ERR_OK);
    EXPECT(is_refused(fork(), EPERM));
    EXPECT(is_refused(execv("/bin/true", words), EPERM));
    EXPECT(is_refused(syscall(SYS_ptrace, 0, 0, 0, 0), EPERM));
    EXPECT(is_refused(syscall(SYS_io_uring_setup, 1, NULL), EPERM));
    EXPECT(pthread_create(&thread, NULL, nothing, NULL) == 0);
    EXPECT(pthread_join(thread, NULL) == 0);
    EXPECT(kill(getppid(), 0) == 0);
    return 0;
}

static int bind_any(int fd)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

    return bind(fd, (struct sockaddr *)&address, sizeof(address));
}

static int use_sockets(void)
{
    struct err_text why = { .text = "" };
    int first, second;

    EXPECT(begin(&why) == ERR_OK);
    EXPECT(is_refused(socket(AF_PACKET, SOCK_DGRAM, 0), EPERM));
    first = socket(AF_INET, SOCK_STREAM, 0);
    second = socket(AF_INET, SOCK_STREAM, 0);
    EXPECT(bind_any(first) == 0);
    EXPECT(confine_sockets(&first, 1, &why) == ERR_OK);
    EXPECT(is_refused(bind_any(second), EPERM));
    EXPECT(is_refused(listen(second, 1), EPERM));
    EXPECT(listen(first, 1) == 0);
    return 0;
}

static void test_what_was_given_up_is_refused(void **state)
{
    (void)state;
    if (!can_be_confined())
        return;
    run_child(open_files);
    run_child(make_processes);
    run_child(use_sockets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_the_kernel_lacks_is_named),
        cmocka_unit_test(test_a_second_thread_is_refused),
        cmocka_unit_test(test_what_was_given_up_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
