/* launch/machine/memory.c - reads /proc and /sys; a line that is not there counts as 0. */
#include "launch/machine/memory.h"

#include <stdio.h>

#include "launch/machine/control_groups.h"
#include "runtime/base/numbers.h"

enum { PATH_BYTES = 4096 };

/* The number of a "Name:   123 kB" line, in bytes. */
static uint64_t read_kilobytes(const char *path, const char *name)
{
    uint64_t kilobytes = 0;
    sl_control_groups_number(path, name, &kilobytes);
    return kilobytes * 1024;
}

uint64_t sl_memory_peak_bytes(void) { return read_kilobytes("/proc/self/status", "VmHWM:"); }

uint64_t sl_memory_used_bytes(void)
{
    return read_kilobytes("/proc/self/status", "VmRSS:") +
           read_kilobytes("/proc/self/status", "VmSwap:");
}

/* In use is what cannot be given back: not the page cache. */
static uint64_t group_left(const char *folder, sl_groups_version version)
{
    bool v1 = version == SL_GROUPS_V1;
    char path[PATH_BYTES + 32];
    uint64_t limit, in_use = 0;
    snprintf(path, sizeof path, "%s/%s", folder, v1 ? "memory.limit_in_bytes" : "memory.max");
    if (!sl_control_groups_number(path, "", &limit)) return UINT64_MAX; /* "max" */
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    sl_control_groups_number(path, v1 ? "total_rss " : "anon ", &in_use);
    return sl_saturating_sub_u64(limit, in_use);
}

uint64_t sl_memory_group_bytes(const char *root)
{
    return sl_control_groups_least(root, "memory", group_left);
}

uint64_t sl_memory_available_bytes(void)
{
    uint64_t host = read_kilobytes("/proc/meminfo", "MemAvailable:");
    uint64_t group = sl_memory_group_bytes("");
    return group < host ? group : host;
}
