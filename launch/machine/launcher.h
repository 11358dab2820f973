/* launch/machine/launcher.h - what the environment says of who started this process: mpirun, srun
 * and their like number the processes they start there, and say how many there are. */
#ifndef SL_LAUNCHER_H
#define SL_LAUNCHER_H

#include <stdbool.h>

#include "runtime/base/status.h"

/* The rank that a launcher whose processes find each other by MPI gave this one; NULL: none did. */
const char *sl_launcher_rank(void);

/* Whether this process prints what is printed once, for what is said before the transport is open
 * (--help). */
bool sl_launcher_prints(void);

/* Compare what MPI found with what was started. SL_ERR_OPTION: fewer ranks than processes, as when
 * launcher and MPI do not know each other; then each process would do the whole job, all into the
 * same files. Logged, by the first process with the cure. More ranks than one launcher says are
 * fine: it may speak of a part of the job. */
sl_status sl_launcher_check(int ranks);

#endif
