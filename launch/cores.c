/* launch/cores.c - asks hwloc, so hyperthreads of one core count once. */
#include "launch/cores.h"

#include <hwloc.h>
#include <stdio.h>

/* NULL: hwloc cannot say. Ended with hwloc_topology_destroy. */
static hwloc_topology_t open_topology(void)
{
    hwloc_topology_t topology;
    if (hwloc_topology_init(&topology) != 0) return NULL;
    if (hwloc_topology_load(topology) == 0) return topology;
    hwloc_topology_destroy(topology);
    return NULL;
}

static void count(int *usable, int *all)
{
    *usable = *all = 1;
    hwloc_topology_t topology = open_topology();
    if (topology) {
        hwloc_cpuset_t bound = hwloc_bitmap_alloc();
        int depth = hwloc_get_type_or_below_depth(topology, HWLOC_OBJ_CORE);
        *all = (int)hwloc_get_nbobjs_by_depth(topology, depth);
        *usable = *all;
        if (bound && hwloc_get_cpubind(topology, bound, HWLOC_CPUBIND_PROCESS) == 0) {
            *usable = 0;
            for (int i = 0; i < *all; i++) {
                hwloc_obj_t core = hwloc_get_obj_by_depth(topology, depth, (unsigned)i);
                *usable += hwloc_bitmap_intersects(core->cpuset, bound);
            }
        }
        hwloc_bitmap_free(bound);
        hwloc_topology_destroy(topology);
    }
    if (*usable < 1) *usable = 1;
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
