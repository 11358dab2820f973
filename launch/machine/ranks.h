/* launch/machine/ranks.h - the ranks of this process's job: how every command opens them, works
 * beside them without falling silent, agrees with them and ends. */
#ifndef SL_RANKS_H
#define SL_RANKS_H

#include <stdbool.h>

#include "comm/comm.h"

/* Open the transport of this process, "mpi" when a launcher started it, else "self": collective,
 * ended with sl_ranks_close. The log knows the rank from here on, a failed assertion ends the whole
 * job, and with several ranks signals are noted (process.h). SL_ERR_OPTION: the launcher started
 * more processes than MPI finds ranks. SL_ERR_JOB. Logged. */
sl_status sl_ranks_open(sl_comm **comm_out);

/* What a noted signal does to work that is attended. */
typedef enum { SL_SIGNAL_ENDS_JOB, SL_SIGNAL_IS_WORKS_OWN } sl_signal_use;

/* Run work(context) while the neighbours are watched (sl_comm_attend): its status. A rank that is
 * lost meanwhile, silent for peer_timeout_s (0: 5 s), ends the whole job, and so does a signal,
 * both with a line that says what this rank was doing. SL_SIGNAL_IS_WORKS_OWN: `work` itself ends
 * soon, and in order. */
sl_status sl_ranks_attend(sl_comm *comm, double peer_timeout_s, sl_signal_use signal_use,
                          sl_status (*work)(void *context), void *context);
/* Run it for so long and no longer: the last things of a job that is about to be aborted, which
 * nothing may delay. False: `work` may still be at it, and its memory in use. */
bool sl_ranks_work_briefly(sl_status (*work)(void *context), void *context, int64_t patience_ns);

/* The worst status of all ranks. Attended. SL_ERR_PEER: one does not answer. */
sl_status sl_ranks_agree(sl_comm *comm, sl_status status);

/* x [n] = the sum of all ranks' x (comm/reduction.h). Attended, as are the next two. SL_ERR_PEER,
 * logged. Without memory for it the whole job ends. */
sl_status sl_ranks_sum_doubles(sl_comm *comm, double *x, size_t n);
sl_status sl_ranks_sum_floats(sl_comm *comm, float *x, size_t n);
/* Whether all ranks have the same value; whether any rank says so. */
sl_status sl_ranks_same(sl_comm *comm, uint64_t value, bool *same_out);
sl_status sl_ranks_any(sl_comm *comm, bool mine, bool *any_out);

/* Close, after work that ended in order and with the same code on all ranks, all of it written: the
 * exit code of this process, which is `code` but in one case. A code that says that some requests
 * failed reaches the user without a launcher's alarm: mpirun of Open MPI 4 is asked for it
 * (sl_comm_close_with); under other launchers rank 0 alone ends with it, last, and the others with
 * 0. */
int sl_ranks_close(sl_comm *comm, int code);
/* End the whole job, as after SL_ERR_PEER: does not return. */
_Noreturn void sl_ranks_abort(sl_comm *comm, int code);
/* The same, logged, where memory lacks for a gathering that the other ranks enter: they would
 * wait. */
_Noreturn void sl_ranks_abort_memory(sl_comm *comm);

#endif
