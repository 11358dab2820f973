/* launch/bench/bench_figure3.h - `sluice bench figure3`: peak memory and time of prompts against
 * their length, with the full cache and a pruned one (Zeng et al., arXiv:2410.12876, figure 3). */
#ifndef SL_BENCH_FIGURE3_H
#define SL_BENCH_FIGURE3_H

#include "launch/options/settings.h"

/* Each point is a `sluice bench` of its own, since a process's peak never falls. Writes NAME.csv
 * point by point, then draws NAME.png or .svg; tells a table or JSON on stdout. SL_ERR_OPTION:
 * nothing to compare with; SL_ERR_FILE: a file, a child or gnuplot failed; what was measured is in
 * the CSV. A point that does not fit in memory is left out, and its cells are empty. */
sl_status sl_bench_figure3(const sl_settings *settings);

#endif
