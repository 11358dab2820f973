/* launch/machine/cores.c - asks hwloc, so hyperthreads of one core count once. */
#include "launch/machine/cores.h"

#include <hwloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "launch/machine/control_groups.h"
#include "runtime/base/log.h"

enum { PATH_BYTES = 4096 + 32 };

/* NULL: hwloc cannot say. Ended with hwloc_topology_destroy. */
static hwloc_topology_t open_topology(void)
{
    hwloc_topology_t topology;
    if (hwloc_topology_init(&topology) != 0) return NULL;
    if (hwloc_topology_load(topology) == 0) return topology;
    hwloc_topology_destroy(topology);
    return NULL;
}

/* Cores in the process's binding, in order, by their first processing unit: [count], the caller
 * frees. Returns how many; `all`: of the host. */
static int list_cores(int **cpus_out, int *all)
{
    int n = 0;
    *all = 1;
    *cpus_out = NULL;
    hwloc_topology_t topology = open_topology();
    if (!topology) return 0;
    hwloc_cpuset_t bound = hwloc_bitmap_alloc();
    int depth = hwloc_get_type_or_below_depth(topology, HWLOC_OBJ_CORE);
    *all = (int)hwloc_get_nbobjs_by_depth(topology, depth);
    *cpus_out = calloc((size_t)*all, sizeof **cpus_out);
    if (bound && hwloc_get_cpubind(topology, bound, HWLOC_CPUBIND_PROCESS) != 0)
        hwloc_bitmap_fill(bound);
    for (int i = 0; i < *all && *cpus_out && bound; i++) {
        hwloc_obj_t core = hwloc_get_obj_by_depth(topology, depth, (unsigned)i);
        if (!hwloc_bitmap_intersects(core->cpuset, bound)) continue;
        hwloc_bitmap_and(core->cpuset, core->cpuset, bound);
        (*cpus_out)[n++] = hwloc_bitmap_first(core->cpuset);
    }
    hwloc_bitmap_free(bound);
    hwloc_topology_destroy(topology);
    return n;
}

static void count(int *usable, int *all)
{
    int *cpus;
    *usable = list_cores(&cpus, all);
    if (*usable < 1) *usable = 1;
    free(cpus);
}

/* ---- quotas: man 7 cgroups ---- */

static uint64_t thousandths(uint64_t quota, uint64_t period)
{
    return period > 0 && quota < UINT64_MAX / 1000 ? quota * 1000 / period : UINT64_MAX;
}

/* "200000 100000", or "max 100000". */
static uint64_t quota_v2(const char *folder)
{
    char path[PATH_BYTES], text[64] = "", *end;
    snprintf(path, sizeof path, "%s/cpu.max", folder);
    FILE *file = fopen(path, "re");
    if (!file) return UINT64_MAX;
    bool set = fgets(text, sizeof text, file) != NULL;
    fclose(file);
    uint64_t quota = strtoull(text, &end, 10);
    return set && end > text ? thousandths(quota, strtoull(end, NULL, 10)) : UINT64_MAX;
}

static uint64_t quota_v1(const char *folder)
{
    char path[PATH_BYTES];
    uint64_t quota, period;
    snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder);
    if (!sl_control_groups_number(path, "", &quota)) return UINT64_MAX; /* -1 */
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
    if (!sl_control_groups_number(path, "", &period)) return UINT64_MAX;
    return thousandths(quota, period);
}

static uint64_t group_quota(const char *folder, sl_groups_version version)
{
    return version == SL_GROUPS_V1 ? quota_v1(folder) : quota_v2(folder);
}

uint64_t sl_cores_quota(const char *root)
{
    return sl_control_groups_least(root, "cpu", group_quota);
}

/* No more than one rank's share of the quota, in whole CPUs; at least 1. */
static int within_quota(int threads, int ranks)
{
    uint64_t share = sl_cores_quota("") / 1000 / (uint64_t)ranks;
    if (share < (uint64_t)threads) threads = (int)share;
    return threads > 0 ? threads : 1;
}

/* ---- how many ---- */

int sl_cores_usable(void)
{
    int usable, all;
    count(&usable, &all);
    return within_quota(usable, 1);
}

int sl_cores_per_rank(int ranks_on_host)
{
    int usable, all;
    count(&usable, &all);
    return within_quota(usable < all ? usable : usable / ranks_on_host, ranks_on_host);
}

/* More threads than the quota are stopped for most of the time, all at once. */
int sl_cores_threads(uint32_t wanted, int ranks_on_host)
{
    return wanted > 0 ? (int)wanted : sl_cores_per_rank(ranks_on_host);
}

void sl_cores_log_quota(int ranks_on_host, int threads, bool notes)
{
    uint64_t quota = sl_cores_quota("");
    double cpus = (double)quota / 1000;
    int fitting = sl_cores_per_rank(ranks_on_host);
    if (quota == UINT64_MAX) return;
    sl_debug("the control group's quota is %.2f CPUs, for %d ranks on this host", cpus,
             ranks_on_host);
    if (notes && threads > fitting && threads * ranks_on_host > cpus)
        sl_info("%d threads on each of %d ranks are more than the %.2f CPUs of the control group's "
                "quota: without -t it would be %d",
                threads, ranks_on_host, cpus, fitting);
}

/* Of so many cores. */
static int threads_on(int usable, int all, int ranks_on_host, int threads)
{
    return usable < all ? threads : threads * ranks_on_host; /* a part of the host is one rank's */
}

bool sl_cores_suffice(int ranks_on_host, int threads)
{
    int usable, all;
    count(&usable, &all);
    uint64_t quota = sl_cores_quota("") / 1000;
    return threads_on(usable, all, ranks_on_host, threads) <= usable &&
           (uint64_t)threads * (uint64_t)ranks_on_host <= quota;
}

bool sl_cores_assign(int index, int ranks_on_host, int threads, int *cpus)
{
    int *cores, all, usable = list_cores(&cores, &all);
    bool fills = usable > 0 && threads_on(usable, all, ranks_on_host, threads) == usable;
    int first = usable < all ? 0 : index * threads;
    for (int i = 0; i < threads && fills; i++) cpus[i] = cores[first + i];
    free(cores);
    return fills;
}

void sl_cores_machine(char *out, size_t out_bytes)
{
    int usable, all;
    count(&usable, &all);
    hwloc_topology_t topology = open_topology();
    const char *model = NULL;
    if (topology) {
        hwloc_obj_t package = hwloc_get_obj_by_type(topology, HWLOC_OBJ_PACKAGE, 0);
        if (package) model = hwloc_obj_get_info_by_name(package, "CPUModel");
    }
    snprintf(out, out_bytes, "%s, %d cores", model ? model : "unknown CPU", all);
    if (topology) hwloc_topology_destroy(topology);
}

void sl_cores_binding(char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, "unknown");
    hwloc_topology_t topology = open_topology();
    if (!topology) return;
    hwloc_cpuset_t bound = hwloc_bitmap_alloc();
    if (bound && hwloc_get_cpubind(topology, bound, HWLOC_CPUBIND_PROCESS) == 0)
        hwloc_bitmap_list_snprintf(out, out_bytes, bound);
    hwloc_bitmap_free(bound);
    hwloc_topology_destroy(topology);
}
