/* launch/bench/bench_profile.c - see bench_profile.h. */
#include "launch/bench/bench_profile.h"

#include <stdio.h>

#include "launch/json/json_object.h"

void sl_bench_profile_add(sl_bench_profile *profile, sl_phase phase, uint64_t n_tokens,
                          const sl_profile *before, const sl_profile *now)
{
    for (int i = 0; i < SL_STEPS; i++) {
        const sl_step_account *a = &before->steps[phase][i], *b = &now->steps[phase][i];
        profile->steps[i].ns += b->ns - a->ns;
        profile->steps[i].bytes += b->bytes - a->bytes;
        profile->steps[i].ops += b->ops - a->ops;
    }
    profile->n_tokens += n_tokens;
}

/* How fast one step was, or all together. */
typedef struct {
    double us_per_token, share, bytes_s, ops_s;
} speed;

static sl_step_account total_of(const sl_bench_profile *profile)
{
    sl_step_account all = {0};
    for (int i = 0; i < SL_STEPS; i++) {
        all.ns += profile->steps[i].ns;
        all.bytes += profile->steps[i].bytes;
        all.ops += profile->steps[i].ops;
    }
    return all;
}

static speed speed_of(const sl_bench_profile *profile, const sl_step_account *step)
{
    double ns = (double)step->ns, all_ns = (double)total_of(profile).ns;
    if (ns <= 0 || profile->n_tokens == 0) return (speed){0};
    return (speed){.us_per_token = ns / 1e3 / (double)profile->n_tokens,
                   .share = ns / all_ns,
                   .bytes_s = step->bytes / ns * 1e9,
                   .ops_s = step->ops / ns * 1e9};
}

static double share_of(double x, double peak) { return peak > 0 ? x / peak : 0; }

json_t *sl_bench_profile_json(const sl_bench_profile *profile, const sl_machine_peak *peak)
{
    json_t *steps = json_array();
    for (int i = 0; i < SL_STEPS; i++) {
        speed s = speed_of(profile, &profile->steps[i]);
        sl_json_object step = sl_json_begin();
        sl_json_set_text(&step, "step", sl_step_name((sl_step)i));
        sl_json_set_number(&step, "us_per_token", s.us_per_token);
        sl_json_set_number(&step, "share", s.share);
        sl_json_set_number(&step, "gb_s", s.bytes_s / 1e9);
        sl_json_set_number(&step, "of_read_roof", share_of(s.bytes_s, peak->read_bytes_s));
        sl_json_set_number(&step, "gop_s", s.ops_s / 1e9);
        sl_json_set_number(&step, "of_ops_roof", share_of(s.ops_s, peak->ops_s));
        json_array_append_new(steps, sl_json_end(&step));
    }
    return steps;
}

static void print_step(const char *name, speed s, const sl_machine_peak *peak)
{
    printf("  %-8s %12.2f %7.1f%% %8.1f %6.0f%% %9.0f %6.0f%%\n", name, s.us_per_token,
           100 * s.share, s.bytes_s / 1e9, 100 * share_of(s.bytes_s, peak->read_bytes_s),
           s.ops_s / 1e9, 100 * share_of(s.ops_s, peak->ops_s));
}

void sl_bench_profile_print(const sl_bench_profile *profile, const char *title,
                            const sl_machine_peak *peak)
{
    printf("\n%s: steps of rank 0; roofs: %.1f GB/s read, %.0f GOP/s of int8\n"
           "  step     us per token    share     GB/s   roof     GOP/s   roof\n",
           title, peak->read_bytes_s / 1e9, peak->ops_s / 1e9);
    for (int i = 0; i < SL_STEPS; i++)
        if (profile->steps[i].ns > 0)
            print_step(sl_step_name((sl_step)i), speed_of(profile, &profile->steps[i]), peak);
    sl_step_account all = total_of(profile);
    print_step("all", speed_of(profile, &all), peak);
}
