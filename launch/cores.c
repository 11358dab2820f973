/* launch/cores.c - asks hwloc, so hyperthreads of one core count once. */
#include "launch/cores.h"

#include <hwloc.h>
#include <stdio.h>
#include <stdlib.h>

/* NULL: hwloc cannot say. Ended with hwloc_topology_destroy. */
static hwloc_topology_t open_topology(void)
{
    hwloc_topology_t topology;
    if (hwloc_topology_init(&topology) != 0) return NULL;
    if (hwloc_topology_load(topology) == 0) return topology;
    hwloc_topology_destroy(topology);
    return NULL;
}

/* Cores in the process's binding, in order, by their first processing unit: [count], the caller frees.
 * Returns how many; `all`: of the host. */
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

int sl_cores_usable(void)
{
    int usable, all;
    count(&usable, &all);
    return usable;
}

int sl_cores_per_rank(int ranks_on_host)
{
    int usable, all;
    count(&usable, &all);
    int threads = usable < all ? usable : usable / ranks_on_host;
    return threads > 0 ? threads : 1;
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
    return threads_on(usable, all, ranks_on_host, threads) <= usable;
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
