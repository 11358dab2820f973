/* launch/bench/roof.h - what this machine can do at best with so many threads: memory read and products of
 * bytes, measured. */
#ifndef SL_ROOF_H
#define SL_ROOF_H

#include "runtime/base/team.h"
#include "runtime/kernels/kernels.h"

typedef struct {
    double read_bytes_s; /* of memory far larger than any cache */
    double ops_s;        /* of the kernel set: multiplications and additions */
} sl_roof;

/* A second, about, and 256 MB. SL_ERR_MEMORY, logged. */
sl_status sl_roof_measure(const sl_kernels *kernels, const sl_team_options *options,
                          sl_roof *roof_out);

#endif
