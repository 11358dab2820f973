/* launch/cores.h - the cores this process may use, as the launcher and the system bind it. */
#ifndef SL_CORES_H
#define SL_CORES_H

/* Cores in this process's binding, at least 1. */
int sl_cores_usable(void);
/* Compute threads for one of `ranks_on_host` ranks: its own cores when the launcher bound it to a
 * part of the host, else its share of all; at least 1. */
int sl_cores_per_rank(int ranks_on_host);

#endif
