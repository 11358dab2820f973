/* launch/machine/control_groups.h - what the control groups (container, Slurm step) that this
 * process is in set of one resource: man 7 cgroups. */
#ifndef SL_CONTROL_GROUPS_H
#define SL_CONTROL_GROUPS_H

#include <stdbool.h>
#include <stdint.h>

typedef enum { SL_GROUPS_V1 = 1, SL_GROUPS_V2 = 2 } sl_groups_version;

/* The least that `read_limit` says of the folder of a group of this process, or of one that it is
 * in, in either version; UINT64_MAX: no limit, or none that can be read. `controller` is what
 * version 1 calls the resource ("memory", "cpu"). All is read from under `root`; "" is the real
 * one. */
uint64_t sl_control_groups_least(const char *root, const char *controller,
                                 uint64_t (*read_limit)(const char *folder,
                                                        sl_groups_version version));

/* The number after `name` at the beginning of a line of a small file; false: there is none. Takes
 * no memory: the peak is asked for while tokens flow. */
bool sl_control_groups_number(const char *path, const char *name, uint64_t *out);

#endif
