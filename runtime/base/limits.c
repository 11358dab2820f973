/* runtime/base/limits.c - see limits.h. */
#include "runtime/base/limits.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "runtime/base/log.h"
#include "runtime/base/numbers.h"
#include "runtime/base/thread.h"

/* The largest that a system has. */
enum { PAGE_BYTES = 64 << 10 };

/* A vocabulary and its tables, a job's lines, buffers: what commands take in small pieces. */
static const uint64_t LEAST_BYTES = 32 << 20;

static uint64_t most(int which)
{
    struct rlimit limit;
    if (getrlimit((__rlimit_resource_t)which, &limit) != 0) return UINT64_MAX;
    return limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur;
}

/* A "Name:   123 kB" line of this process, in bytes. */
static uint64_t status_bytes(const char *name)
{
    char line[256];
    unsigned long long kilobytes = 0;
    size_t length = strlen(name);
    FILE *file = fopen("/proc/self/status", "re");
    if (!file) return 0;
    while (fgets(line, sizeof line, file))
        if (strncmp(line, name, length) == 0) kilobytes = strtoull(line + length, NULL, 10);
    fclose(file);
    return kilobytes * 1024;
}

sl_limit sl_limit_data(void) { return (sl_limit){most(RLIMIT_DATA), status_bytes("VmData:")}; }

sl_limit sl_limit_address(void) { return (sl_limit){most(RLIMIT_AS), status_bytes("VmSize:")}; }

uint64_t sl_limit_left(sl_limit limit)
{
    if (limit.most == UINT64_MAX) return UINT64_MAX;
    return sl_saturating_sub_u64(limit.most, limit.taken);
}

uint64_t sl_limit_enough(sl_limit limit, uint64_t bytes)
{
    return (limit.taken + bytes + 1023) / 1024;
}

static sl_status check(sl_limit limit, uint64_t bytes, const char *what, const char *option,
                       const char *of)
{
    bytes = (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    if (sl_limit_left(limit) >= bytes) return SL_OK;
    sl_error("ulimit %s is too low: %s takes %.1f MB of %s beside the %.1f MB that are taken, and "
             "the limit is %.1f MB: ulimit %s %llu at least",
             option, what, sl_megabytes(bytes), of, sl_megabytes(limit.taken),
             sl_megabytes(limit.most), option, (unsigned long long)sl_limit_enough(limit, bytes));
    return SL_ERR_MEMORY;
}

sl_status sl_limits_check(uint64_t bytes, const char *what)
{
    sl_status status = check(sl_limit_address(), bytes, what, "-v", "address space");
    return status == SL_OK ? check(sl_limit_data(), bytes, what, "-d", "the data segment") : status;
}

/* The first thread's stack grows until the soft limit, as that is when it grows. */
static sl_status raise_stack(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_STACK, &limit) != 0 || limit.rlim_cur >= SL_THREAD_STACK_BYTES)
        return SL_OK;
    limit.rlim_cur = limit.rlim_max < SL_THREAD_STACK_BYTES ? limit.rlim_max
                                                            : SL_THREAD_STACK_BYTES;
    bool raised = setrlimit(RLIMIT_STACK, &limit) == 0;
    if (raised && limit.rlim_cur >= SL_THREAD_STACK_BYTES) return SL_OK;
    sl_error("ulimit -s is too low: the limit is %.0f kB and cannot be raised; ulimit -s %zu is "
             "enough",
             (double)limit.rlim_cur / 1024, SL_THREAD_STACK_BYTES / 1024);
    return SL_ERR_MEMORY;
}

sl_status sl_limits_begin(void)
{
    mallopt(M_ARENA_MAX, 1);
    sl_thread_set_default_stack();
    return raise_stack();
}

sl_status sl_limits_check_least(void) { return sl_limits_check(LEAST_BYTES, "sluice"); }
