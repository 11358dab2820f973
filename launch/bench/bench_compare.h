/* launch/bench/bench_compare.h - `sluice bench --compare A B`: what changed between two runs. */
#ifndef SL_BENCH_COMPARE_H
#define SL_BENCH_COMPARE_H

#include "launch/options/settings.h"

/* Print, for every row that both files of `bench --json` have, the ratio of the second one's median
 * to the first one's; rows differ if there are three measures at least and their ranges do not
 * meet. What the two were measured with, where it differs, is warned of. SL_ERR_FILE,
 * SL_ERR_FORMAT. */
sl_status sl_bench_compare(const sl_settings *settings, const char *path_a, const char *path_b);

#endif
