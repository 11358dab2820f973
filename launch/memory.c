/* launch/memory.c - reads /proc and /sys; a line that is not there counts as 0. */
#include "launch/memory.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

/* The number after `name` at the beginning of a line; false: there is none. Takes no memory: the
 * peak is asked for while tokens flow. */
static bool read_number(const char *path, const char *name, uint64_t *out)
{
    char text[4096]; /* longer than any of these files */
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    ssize_t bytes = read(file, text, sizeof text - 1);
    close(file);
    text[bytes > 0 ? bytes : 0] = '\0';
    size_t length = strlen(name);
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        char *end;
        if (strncmp(line, name, length) != 0) continue;
        uint64_t number = strtoull(line + length, &end, 10);
        if (end == line + length) continue;
        *out = number;
        return true;
    }
    return false;
}

/* The number of a "Name:   123 kB" line, in bytes. */
static uint64_t read_kilobytes(const char *path, const char *name)
{
    uint64_t kilobytes = 0;
    read_number(path, name, &kilobytes);
    return kilobytes * 1024;
}

uint64_t sl_memory_peak_bytes(void) { return read_kilobytes("/proc/self/status", "VmHWM:"); }

uint64_t sl_memory_data_bytes(void) { return read_kilobytes("/proc/self/status", "VmData:"); }

uint64_t sl_memory_data_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_DATA, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return UINT64_MAX;
    return limit.rlim_cur;
}

/* ---- control groups: man 7 cgroups ---- */

/* What differs between the two versions. In use is what cannot be given back: not the page cache. */
typedef struct {
    const char *mount, *limit, *in_use;
} group_version;

static const group_version V2 = {"/sys/fs/cgroup", "memory.max", "anon "};
static const group_version V1 = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "total_rss "};

static uint64_t group_left(const char *folder, const group_version *version)
{
    char path[PATH_BYTES + 32];
    uint64_t limit, in_use = 0;
    snprintf(path, sizeof path, "%s/%s", folder, version->limit);
    if (!read_number(path, "", &limit)) return UINT64_MAX; /* "max" */
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    read_number(path, version->in_use, &in_use);
    return limit > in_use ? limit - in_use : 0;
}

/* A group and those it is in: the least counts. Inside a container the path is often the host's and
 * not there; the mount's own files then are the group's. */
static uint64_t groups_left(const char *root, const group_version *version, const char *group)
{
    char folder[PATH_BYTES];
    int top = snprintf(folder, sizeof folder, "%s%s", root, version->mount);
    snprintf(folder + top, sizeof folder - (size_t)top, "%s", group);
    uint64_t least = UINT64_MAX;
    for (;;) {
        uint64_t left = group_left(folder, version);
        if (left < least) least = left;
        char *slash = strrchr(folder + top, '/');
        if (!slash) return least;
        *slash = '\0';
    }
}

uint64_t sl_memory_group_bytes(const char *root)
{
    char path[PATH_BYTES], line[PATH_BYTES / 2];
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *file = fopen(path, "r");
    if (!file) return UINT64_MAX;
    uint64_t least = UINT64_MAX;
    while (fgets(line, sizeof line, file)) { /* "0::/group" or "4:memory:/group" */
        line[strcspn(line, "\n")] = '\0';
        const char *group = strchr(line, '/'), *v1 = strstr(line, ":memory:");
        if (!group || (strncmp(line, "0::", 3) != 0 && !(v1 && v1 < group))) continue;
        uint64_t left = groups_left(root, v1 ? &V1 : &V2, group);
        if (left < least) least = left;
    }
    fclose(file);
    return least;
}

uint64_t sl_memory_available_bytes(void)
{
    uint64_t host = read_kilobytes("/proc/meminfo", "MemAvailable:");
    uint64_t group = sl_memory_group_bytes("");
    return group < host ? group : host;
}

uint64_t sl_memory_stack_bytes(void)
{
    pthread_attr_t attributes;
    size_t size = 8 << 20;
    if (pthread_getattr_default_np(&attributes) == 0) {
        pthread_attr_getstacksize(&attributes, &size);
        pthread_attr_destroy(&attributes);
    }
    return size;
}
