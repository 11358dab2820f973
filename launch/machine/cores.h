/* launch/machine/cores.h - the cores this process may use, as the launcher and the system bind
 * it. */
#ifndef SL_CORES_H
#define SL_CORES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* CPU time that the quotas of this process's control groups leave (cpu.max of version 2,
 * cpu.cfs_quota_us of version 1), in thousandths of a CPU; UINT64_MAX: no quota. Read from under
 * `root`, "" is the real one. All ranks on a host are taken to share it. */
uint64_t sl_cores_quota(const char *root);
/* Cores in this process's binding, or fewer if the quota is less; at least 1. */
int sl_cores_usable(void);
/* Compute threads for one of `ranks_on_host` ranks: its own cores when the launcher bound it to a
 * part of the host, else its share of all; no more than its share of the quota; at least 1. */
int sl_cores_per_rank(int ranks_on_host);
/* Compute threads of a rank: as many as `wanted`, or sl_cores_per_rank if that is 0. */
int sl_cores_threads(uint32_t wanted, int ranks_on_host);
/* Say at -v what the quota is, and if `notes` where so many threads a rank are more than it. */
void sl_cores_log_quota(int ranks_on_host, int threads, bool notes);
/* Whether there is a core, and time of a quota, for each thread of all ranks on this host. */
bool sl_cores_suffice(int ranks_on_host, int threads);
/* The processing units to pin the threads of rank `index` of those on this host to, cpus [threads].
 * False, and nothing written, unless the job's threads fill the cores it was given, one each: on
 * fewer, or beside others, the system knows better. */
bool sl_cores_assign(int index, int ranks_on_host, int threads, int *cpus);

enum { SL_MACHINE_BYTES = 160 }; /* enough for it */
/* "AMD EPYC 9B45, 2 cores": what this host is, zero-terminated. */
void sl_cores_machine(char *out, size_t out_bytes);
/* The processing units this process is bound to, "0-1". */
void sl_cores_binding(char *out, size_t out_bytes);

#endif
