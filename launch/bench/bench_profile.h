/* launch/bench/bench_profile.h - `sluice bench --profile`: where the time of a row goes, against what the
 * machine can do at best. */
#ifndef SL_BENCH_PROFILE_H
#define SL_BENCH_PROFILE_H

#include "launch/bench/bench_rows.h"
#include "launch/bench/roof.h"

/* Add what rank 0's steps took from `before` until `now`, in the phase of the row's test. */
void sl_bench_profile_add(sl_bench_row *row, const sl_profile *before, const sl_profile *now);
/* [{"step", "us_per_token", "share", "gb_s", "of_read_roof", "gop_s", "of_ops_roof"}]. */
json_t *sl_bench_profile_json(const sl_bench_row *row, const sl_roof *roof);
/* A table of it on stdout. */
void sl_bench_profile_print(const sl_bench_row *row, const sl_roof *roof);

#endif
