/* launch/bench/bench_profile.h - `sluice bench --profile`: where the time goes, step by step,
 * against what the machine can do at best. Knows steps and tokens, not which row of the bench they
 * are of. */
#ifndef SL_BENCH_PROFILE_H
#define SL_BENCH_PROFILE_H

#include <jansson.h>

#include "launch/bench/machine_peak.h"
#include "runtime/stage/profile.h"

typedef struct {
    sl_step_account steps[SL_STEPS]; /* of rank 0 */
    uint64_t n_tokens;               /* that they computed */
} sl_bench_profile;

/* Add what rank 0's steps took from `before` until `now` in one phase, for so many tokens. */
void sl_bench_profile_add(sl_bench_profile *profile, sl_phase phase, uint64_t n_tokens,
                          const sl_profile *before, const sl_profile *now);
/* [{"step", "us_per_token", "share", "gb_s", "of_read_roof", "gop_s", "of_ops_roof"}]. */
json_t *sl_bench_profile_json(const sl_bench_profile *profile, const sl_machine_peak *peak);
/* A table of it on stdout, behind a line that begins with `title`. */
void sl_bench_profile_print(const sl_bench_profile *profile, const char *title,
                            const sl_machine_peak *peak);

#endif
