/* launch/eval/eval_ruler_report.c - see eval_ruler_report.h. */
#include "launch/eval/eval_ruler_report.h"

#include <math.h>
#include <stdio.h>

#include "launch/eval/eval_ruler_scores.h"
#include "launch/json/json_object.h"
#include "launch/machine/process.h"
#include "launch/output/report.h"

enum { BUCKET_PHASES = SL_RULER_PHASE / SL_RULER_BUCKETS };

/* ---- for people ---- */

/* "97.5% +- 1.1", in a column. */
static void print_share(sl_ruler_estimate e)
{
    char text[64];
    if (isnan(e.mean))
        snprintf(text, sizeof text, "-");
    else if (isnan(e.error))
        snprintf(text, sizeof text, "%.1f%%", 100 * e.mean);
    else
        snprintf(text, sizeof text, "%.1f%% +- %.1f", 100 * e.mean, 100 * e.error);
    printf("  %15s", text);
}

static void print_score(const sl_ruler_scores *scores, uint32_t run, uint32_t cell)
{
    sl_ruler_estimate e = sl_ruler_mean(scores, run, cell, SL_RULER_ALL, SL_RULER_ALL);
    if (!sl_ruler_cell_task(scores, cell)->is_likelihood)
        print_share(e);
    else
        printf("  %10.4f nats", e.mean);
}

static void print_policy(const sl_ruler_scores *scores, uint32_t run, uint32_t cell)
{
    const sl_ruler_run *r = &scores->runs[run];
    printf("%-10s", r->policy);
    if (r->keep > 0)
        printf(" %7.4g", r->keep);
    else
        printf(" %7s", sl_ruler_run_has_own(r) ? "own" : "-");
    printf(" %6.1f%%", 100 * sl_ruler_retention(scores, run, cell));
}

static void print_worst(const sl_ruler_scores *scores, uint32_t run, uint32_t cell)
{
    sl_ruler_estimate worst;
    int phase = sl_ruler_worst_phase(scores, run, cell, &worst);
    if (run == 0 || phase == SL_RULER_ALL) return;
    print_share(worst);
    printf(" at %d-%d", phase * BUCKET_PHASES, (phase + 1) * BUCKET_PHASES - 1);
}

static void print_cells(const sl_ruler_scores *scores)
{
    printf("%-10s %6s  %-10s %7s %7s  %15s  %15s  %15s\n", "task", "tokens", "policy", "keep",
           "kept", "score", "of full", "worst phase");
    for (uint32_t cell = 0; cell < sl_ruler_cells(scores); cell++)
        for (uint32_t run = 0; run < scores->n_runs; run++) {
            if (!scores->runs[run].cells[cell].was_run) continue;
            printf("%-10s %6u  ", sl_ruler_cell_task(scores, cell)->name,
                   sl_ruler_cell_length(scores, cell));
            print_policy(scores, run, cell);
            print_score(scores, run, cell);
            if (run > 0) print_share(sl_ruler_of_full(scores, run, cell, SL_RULER_ALL));
            if (!sl_ruler_cell_runs(scores, cell)) printf("  not solved, left out");
            print_worst(scores, run, cell);
            printf("\n");
        }
}

sl_status sl_ruler_report_print(const sl_ruler_scores *scores)
{
    uint32_t n = 0, all = sl_ruler_cells(scores);
    print_cells(scores);
    (void)sl_ruler_mean_of_full(scores, 0, SL_RULER_ALL, &n);
    printf("\nmean of the %u tasks and lengths of which the full cache solves half\n", n);
    for (uint32_t run = 1; run < scores->n_runs && n > 0; run++) {
        print_policy(scores, run, all);
        print_share(sl_ruler_mean_of_full(scores, run, SL_RULER_ALL, NULL));
        printf(" of full; worst phase");
        print_worst(scores, run, all);
        printf("\n");
    }
    return sl_process_flush_stdout();
}

/* ---- for programs ---- */

static void set_estimate(sl_json_object *object, const char *name, const char *error_name,
                         sl_ruler_estimate e)
{
    sl_json_set_item(object, name, sl_report_real(e.mean));
    sl_json_set_item(object, error_name, sl_report_real(e.error));
}

static void set_policy(sl_json_object *object, const sl_ruler_run *run)
{
    sl_json_set_text(object, "policy", run->policy);
    sl_json_set_item(object, "keep", sl_report_real(run->keep > 0 ? run->keep : NAN));
}

static void set_worst(sl_json_object *object, const sl_ruler_scores *scores, uint32_t run,
                      uint32_t cell)
{
    sl_ruler_estimate worst;
    int phase = sl_ruler_worst_phase(scores, run, cell, &worst);
    if (phase == SL_RULER_ALL) {
        sl_json_set_null(object, "worst_phase");
        return;
    }
    sl_json_object of = sl_json_begin();
    sl_json_set_count(&of, "from", (uint64_t)phase * BUCKET_PHASES);
    sl_json_set_count(&of, "to", ((uint64_t)phase + 1) * BUCKET_PHASES - 1);
    set_estimate(&of, "of_full", "of_full_se", worst);
    sl_json_set_item(object, "worst_phase", sl_json_end(&of));
}

/* Means of a cell's eighths, of phases or of depths. */
static json_t *eighths(const sl_ruler_scores *scores, uint32_t run, uint32_t cell, bool of_phases)
{
    if (scores->runs[run].cells[cell].trials[0].phase == SL_RULER_ALL) return json_null();
    json_t *array = json_array();
    for (int i = 0; i < SL_RULER_BUCKETS; i++) {
        sl_ruler_estimate e = sl_ruler_mean(scores, run, cell, of_phases ? i : SL_RULER_ALL,
                                            of_phases ? SL_RULER_ALL : i);
        array = sl_json_append(array, sl_report_real(e.mean));
    }
    return array;
}

static json_t *cell_json(const sl_ruler_scores *scores, uint32_t run, uint32_t cell)
{
    const sl_ruler_cell *c = &scores->runs[run].cells[cell];
    sl_json_object object = sl_json_begin();
    sl_json_set_text(&object, "task", sl_ruler_cell_task(scores, cell)->name);
    sl_json_set_count(&object, "tokens", sl_ruler_cell_length(scores, cell));
    set_policy(&object, &scores->runs[run]);
    sl_json_set_count(&object, "trials", scores->n_trials);
    sl_json_set_flag(&object, "solved", sl_ruler_cell_counts(scores, cell));
    set_estimate(&object, "score", "score_se",
                 sl_ruler_mean(scores, run, cell, SL_RULER_ALL, SL_RULER_ALL));
    set_estimate(&object, "of_full", "of_full_se",
                 sl_ruler_of_full(scores, run, cell, SL_RULER_ALL));
    sl_json_set_number(&object, "retention", sl_ruler_retention(scores, run, cell));
    sl_json_set_number(&object, "cache_bytes", (double)c->cache_bytes / scores->n_trials);
    sl_json_set_item(&object, "phases", eighths(scores, run, cell, true));
    sl_json_set_item(&object, "depths", eighths(scores, run, cell, false));
    set_worst(&object, scores, run, cell);
    return sl_json_end(&object);
}

static json_t *policy_json(const sl_ruler_scores *scores, uint32_t run)
{
    uint32_t n = 0, all = sl_ruler_cells(scores);
    sl_json_object object = sl_json_begin();
    set_policy(&object, &scores->runs[run]);
    sl_json_set_number(&object, "retention", sl_ruler_retention(scores, run, all));
    sl_ruler_estimate mean = sl_ruler_mean_of_full(scores, run, SL_RULER_ALL, &n);
    sl_json_set_count(&object, "cells", n);
    set_estimate(&object, "of_full", "of_full_se", mean);
    json_t *phases = json_array();
    for (int i = 0; i < SL_RULER_BUCKETS; i++)
        phases = sl_json_append(phases,
                                sl_report_real(sl_ruler_mean_of_full(scores, run, i, NULL).mean));
    sl_json_set_item(&object, "phases", phases);
    set_worst(&object, scores, run, all);
    return sl_json_end(&object);
}

void sl_ruler_report_json(const sl_ruler_scores *scores, sl_json_object *object)
{
    json_t *cells = json_array(), *policies = json_array();
    for (uint32_t run = 0; run < scores->n_runs; run++) {
        for (uint32_t cell = 0; cell < sl_ruler_cells(scores); cell++)
            if (scores->runs[run].cells[cell].was_run)
                cells = sl_json_append(cells, cell_json(scores, run, cell));
        policies = sl_json_append(policies, policy_json(scores, run));
    }
    sl_json_set_item(object, "cells", cells);
    sl_json_set_item(object, "policies", policies);
}
