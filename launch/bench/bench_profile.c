/* launch/bench/bench_profile.c - see bench_profile.h. */
#include "launch/bench/bench_profile.h"

#include <stdio.h>

void sl_bench_profile_add(sl_bench_row *row, const sl_profile *before, const sl_profile *now)
{
    bool decodes = row->test == SL_BENCH_DECODE;
    sl_phase phase = decodes ? SL_PHASE_DECODE : SL_PHASE_PROMPT;
    for (int i = 0; i < SL_STEPS; i++) {
        const sl_step_account *a = &before->steps[phase][i], *b = &now->steps[phase][i];
        row->steps[i].ns += b->ns - a->ns;
        row->steps[i].bytes += b->bytes - a->bytes;
        row->steps[i].ops += b->ops - a->ops;
    }
    row->n_profiled += decodes ? row->n : row->n + row->depth;
}

/* What is told of one step, or of all together. */
typedef struct {
    double us_per_token, share, bytes_s, ops_s;
} told;

static sl_step_account total_of(const sl_bench_row *row)
{
    sl_step_account all = {0};
    for (int i = 0; i < SL_STEPS; i++) {
        all.ns += row->steps[i].ns;
        all.bytes += row->steps[i].bytes;
        all.ops += row->steps[i].ops;
    }
    return all;
}

static told tell(const sl_bench_row *row, const sl_step_account *step)
{
    double ns = (double)step->ns, all_ns = (double)total_of(row).ns;
    if (ns <= 0 || row->n_profiled == 0) return (told){0};
    return (told){.us_per_token = ns / 1e3 / (double)row->n_profiled,
                  .share = ns / all_ns,
                  .bytes_s = step->bytes / ns * 1e9,
                  .ops_s = step->ops / ns * 1e9};
}

static double of(double x, double roof) { return roof > 0 ? x / roof : 0; }

json_t *sl_bench_profile_json(const sl_bench_row *row, const sl_roof *roof)
{
    json_t *steps = json_array();
    for (int i = 0; i < SL_STEPS; i++) {
        told t = tell(row, &row->steps[i]);
        json_array_append_new(steps,
                              json_pack("{s:s, s:f, s:f, s:f, s:f, s:f, s:f}", "step",
                                        sl_step_name((sl_step)i), "us_per_token", t.us_per_token,
                                        "share", t.share, "gb_s", t.bytes_s / 1e9, "of_read_roof",
                                        of(t.bytes_s, roof->read_bytes_s), "gop_s", t.ops_s / 1e9,
                                        "of_ops_roof", of(t.ops_s, roof->ops_s)));
    }
    return steps;
}

static void print_step(const char *name, told t, const sl_roof *roof)
{
    printf("  %-8s %12.2f %7.1f%% %8.1f %6.0f%% %9.0f %6.0f%%\n", name, t.us_per_token,
           100 * t.share, t.bytes_s / 1e9, 100 * of(t.bytes_s, roof->read_bytes_s), t.ops_s / 1e9,
           100 * of(t.ops_s, roof->ops_s));
}

void sl_bench_profile_print(const sl_bench_row *row, const sl_roof *roof)
{
    printf("\n%s %u at depth %u: steps of rank 0; roofs: %.1f GB/s read, %.0f GOP/s of int8\n"
           "  step     us per token    share     GB/s   roof     GOP/s   roof\n",
           sl_bench_test_name(row->test), row->n, row->depth, roof->read_bytes_s / 1e9,
           roof->ops_s / 1e9);
    for (int i = 0; i < SL_STEPS; i++)
        if (row->steps[i].ns > 0)
            print_step(sl_step_name((sl_step)i), tell(row, &row->steps[i]), roof);
    sl_step_account all = total_of(row);
    print_step("all", tell(row, &all), roof);
}
