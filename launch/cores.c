/* launch/cores.c - asks hwloc, so hyperthreads of one core count once. */
#include "launch/cores.h"

#include <hwloc.h>

static void count(int *usable, int *all)
{
    *usable = *all = 1;
    hwloc_topology_t topology;
    if (hwloc_topology_init(&topology) != 0) return;
    if (hwloc_topology_load(topology) == 0) {
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
    }
    hwloc_topology_destroy(topology);
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
