/* launch/memory.c - reads /proc; a line that is not there counts as 0. */
#include "launch/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* The number of a "Name:   123 kB" line, in bytes. */
static uint64_t read_kilobytes(const char *path, const char *name)
{
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    char line[256];
    unsigned long long kilobytes = 0;
    size_t length = strlen(name);
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, name, length) != 0) continue;
        kilobytes = strtoull(line + length, NULL, 10);
        break;
    }
    fclose(file);
    return (uint64_t)kilobytes * 1024;
}

uint64_t sl_memory_peak_bytes(void) { return read_kilobytes("/proc/self/status", "VmHWM:"); }

uint64_t sl_memory_data_bytes(void) { return read_kilobytes("/proc/self/status", "VmData:"); }

uint64_t sl_memory_data_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_DATA, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return UINT64_MAX;
    return limit.rlim_cur;
}

uint64_t sl_memory_available_bytes(void)
{
    return read_kilobytes("/proc/meminfo", "MemAvailable:");
}
