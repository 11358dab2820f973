/* launch/bench/machine_peak.h - what this machine can do at best with so many threads, measured:
 * bytes read from memory, and products of small integers. */
#ifndef SL_MACHINE_PEAK_H
#define SL_MACHINE_PEAK_H

#include "runtime/base/team.h"
#include "runtime/kernels/kernels.h"

typedef struct {
    double read_bytes_s; /* of memory far larger than any cache */
    double ops_s;        /* multiplications and additions of the kernel set */
} sl_machine_peak;

/* Takes about a second, and 256 MB. SL_ERR_MEMORY, logged. */
sl_status sl_machine_peak_measure(const sl_kernels *kernels, const sl_team_options *options,
                                  sl_machine_peak *peak_out);

#endif
