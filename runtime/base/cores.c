/* cores.c - see cores.h.  Control groups: version 2, cgroups(7). */
#include "base/cores.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_MAX = 512 };

/* The first line of a file; false when there is none. */
static int read_line(const char *path, char text[TEXT_MAX])
{
    FILE *file = fopen(path, "re");
    int is_read = 0;

    if (file == NULL)
        return 0;
    is_read = fgets(text, TEXT_MAX, file) != NULL;
    fclose(file);
    if (is_read)
        text[strcspn(text, "\n")] = '\0';
    return is_read;
}

unsigned cores_of_quota(const char *text)
{
    char *end;
    double quota = strtod(text, &end);
    double period = *end == ' ' ? strtod(end + 1, NULL) : 0;
    unsigned whole;

    if (end == text || !(quota > 0) || !(period > 0) || quota / period > 65536)
        return 0;
    whole = (unsigned)(quota / period);
    return whole * period < quota ? whole + 1 : whole;
}

/* 0: no limit. */
static unsigned quota(void)
{
    char group[TEXT_MAX], path[TEXT_MAX + 64], text[TEXT_MAX];

    if (!read_line("/proc/self/cgroup", group) ||
        strncmp(group, "0::", strlen("0::")) != 0)
        return 0;
    snprintf(path, sizeof(path), "/sys/fs/cgroup%s/cpu.max",
             group + strlen("0::"));
    return read_line(path, text) ? cores_of_quota(text) : 0;
}

static unsigned runnable_on(void)
{
    cpu_set_t set;
    long online;

    if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0)
        return (unsigned)CPU_COUNT(&set);
    online = sysconf(_SC_NPROCESSORS_ONLN); /* of more than a set can hold */
    return online > 0 ? (unsigned)online : 1;
}

unsigned cores_usable(void)
{
    unsigned cores = runnable_on();
    unsigned most = quota();

    return most > 0 && most < cores ? most : cores;
}
