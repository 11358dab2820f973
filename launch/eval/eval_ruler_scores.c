/* launch/eval/eval_ruler_scores.c - see eval_ruler_scores.h. All sums go over trials in their
 * order, so that they do not depend on which ended first. */
#include "launch/eval/eval_ruler_scores.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/gate/policy.h"

static const sl_ruler_estimate NONE = {NAN, NAN};

uint32_t sl_ruler_cells(const sl_ruler_scores *scores)
{
    return scores->n_tasks * scores->n_lengths;
}

const sl_ruler_task *sl_ruler_cell_task(const sl_ruler_scores *scores, uint32_t cell)
{
    return scores->tasks[cell / scores->n_lengths];
}

uint32_t sl_ruler_cell_length(const sl_ruler_scores *scores, uint32_t cell)
{
    return scores->lengths[cell % scores->n_lengths];
}

bool sl_ruler_run_has_own(const sl_ruler_run *run)
{
    return run->keep == 0 && strcmp(run->policy, sl_policy_name(SL_POLICY_GATE)) == 0;
}

const char *sl_ruler_run_name(const sl_ruler_run *run, char name[SL_RULER_RUN_BYTES])
{
    if (run->keep > 0)
        snprintf(name, SL_RULER_RUN_BYTES, "policy %s, --keep %g", run->policy, run->keep);
    else
        snprintf(name, SL_RULER_RUN_BYTES, "policy %s%s", run->policy,
                 sl_ruler_run_has_own(run) ? " at its own threshold" : "");
    return name;
}

sl_status sl_ruler_scores_init(sl_ruler_scores *scores)
{
    scores->runs = calloc(scores->n_runs, sizeof *scores->runs);
    for (uint32_t r = 0; scores->runs && r < scores->n_runs; r++) {
        sl_ruler_run *run = &scores->runs[r];
        run->cells = calloc(sl_ruler_cells(scores), sizeof *run->cells);
        for (uint32_t c = 0; run->cells && c < sl_ruler_cells(scores); c++) {
            run->cells[c].trials = calloc(scores->n_trials, sizeof *run->cells[c].trials);
            if (!run->cells[c].trials) return SL_ERR_MEMORY;
        }
        if (!run->cells) return SL_ERR_MEMORY;
    }
    return scores->runs ? SL_OK : SL_ERR_MEMORY;
}

void sl_ruler_scores_fini(sl_ruler_scores *scores)
{
    for (uint32_t r = 0; scores->runs && r < scores->n_runs; r++) {
        sl_ruler_cell *cells = scores->runs[r].cells;
        for (uint32_t c = 0; cells && c < sl_ruler_cells(scores); c++) free(cells[c].trials);
        free(cells);
    }
    free(scores->runs);
    *scores = (sl_ruler_scores){0};
}

uint64_t sl_ruler_scores_bytes(const sl_ruler_scores *scores)
{
    uint64_t cell = sizeof(sl_ruler_cell) + scores->n_trials * sizeof(sl_ruler_result);
    return scores->n_runs * (sizeof(sl_ruler_run) + sl_ruler_cells(scores) * cell);
}

int8_t sl_ruler_bucket(double value, double of) { return (int8_t)(value / of * SL_RULER_BUCKETS); }

/* ---- which count ---- */

static bool is_solved(const sl_ruler_scores *scores, uint32_t cell)
{
    return sl_ruler_mean(scores, 0, cell, SL_RULER_ALL, SL_RULER_ALL).mean >= SL_RULER_SOLVED;
}

bool sl_ruler_cell_runs(const sl_ruler_scores *scores, uint32_t cell)
{
    return sl_ruler_cell_task(scores, cell)->is_likelihood || is_solved(scores, cell);
}

bool sl_ruler_cell_counts(const sl_ruler_scores *scores, uint32_t cell)
{
    return !sl_ruler_cell_task(scores, cell)->is_likelihood && is_solved(scores, cell);
}

/* ---- estimates ---- */

static const sl_ruler_result *trials_of(const sl_ruler_scores *scores, uint32_t run, uint32_t cell)
{
    return scores->runs[run].cells[cell].trials;
}

static bool is_of(const sl_ruler_result *trial, int phase, int depth)
{
    return (phase == SL_RULER_ALL || trial->phase == phase) &&
           (depth == SL_RULER_ALL || trial->depth == depth);
}

/* Mean of x [i] - ratio * y [i] over trials of one phase and depth, and the error of that mean;
 * y may be NULL. */
static sl_ruler_estimate estimate(const sl_ruler_scores *scores, const sl_ruler_result *x,
                                  const sl_ruler_result *y, double ratio, int phase, int depth)
{
    double n = 0, sum = 0, squares = 0;
    for (uint32_t i = 0; i < scores->n_trials; i++) {
        if (!is_of(&x[i], phase, depth)) continue;
        sum += x[i].score - (y ? ratio * y[i].score : 0);
        n++;
    }
    if (n == 0) return NONE;
    double mean = sum / n;
    for (uint32_t i = 0; i < scores->n_trials; i++) {
        if (!is_of(&x[i], phase, depth)) continue;
        double off = x[i].score - (y ? ratio * y[i].score : 0) - mean;
        squares += off * off;
    }
    return (sl_ruler_estimate){mean, n > 1 ? sqrt(squares / (n * (n - 1))) : NAN};
}

sl_ruler_estimate sl_ruler_mean(const sl_ruler_scores *scores, uint32_t run, uint32_t cell,
                                int phase, int depth)
{
    return estimate(scores, trials_of(scores, run, cell), NULL, 0, phase, depth);
}

/* A ratio of two means has the error of x - ratio * y, divided by the mean of y. */
sl_ruler_estimate sl_ruler_of_full(const sl_ruler_scores *scores, uint32_t run, uint32_t cell,
                                   int phase)
{
    const sl_ruler_result *x = trials_of(scores, run, cell), *full = trials_of(scores, 0, cell);
    if (sl_ruler_cell_task(scores, cell)->is_likelihood) {
        sl_ruler_estimate more = estimate(scores, x, full, 1, phase, SL_RULER_ALL);
        double share = exp(-more.mean);
        return (sl_ruler_estimate){share, share * more.error};
    }
    double of_x = sl_ruler_mean(scores, run, cell, phase, SL_RULER_ALL).mean;
    double of_full = sl_ruler_mean(scores, 0, cell, phase, SL_RULER_ALL).mean;
    if (!(of_full > 0)) return NONE;
    double ratio = of_x / of_full;
    double error = estimate(scores, x, full, ratio, phase, SL_RULER_ALL).error;
    return (sl_ruler_estimate){ratio, error / of_full};
}

/* Cells are independent of each other. */
sl_ruler_estimate sl_ruler_mean_of_full(const sl_ruler_scores *scores, uint32_t run, int phase,
                                        uint32_t *n_cells_out)
{
    double sum = 0, squares = 0;
    uint32_t n = 0;
    for (uint32_t cell = 0; cell < sl_ruler_cells(scores); cell++) {
        if (!sl_ruler_cell_counts(scores, cell)) continue;
        sl_ruler_estimate of_cell = sl_ruler_of_full(scores, run, cell, phase);
        if (isnan(of_cell.mean)) continue;
        sum += of_cell.mean;
        squares += of_cell.error * of_cell.error;
        n++;
    }
    if (n_cells_out) *n_cells_out = n;
    return n > 0 ? (sl_ruler_estimate){sum / n, sqrt(squares) / n} : NONE;
}

int sl_ruler_worst_phase(const sl_ruler_scores *scores, uint32_t run, uint32_t cell,
                         sl_ruler_estimate *of_full_out)
{
    int worst = SL_RULER_ALL;
    *of_full_out = NONE;
    for (int phase = 0; phase < SL_RULER_BUCKETS; phase++) {
        sl_ruler_estimate found = cell < sl_ruler_cells(scores)
                                      ? sl_ruler_of_full(scores, run, cell, phase)
                                      : sl_ruler_mean_of_full(scores, run, phase, NULL);
        if (isnan(found.mean) || (worst != SL_RULER_ALL && found.mean >= of_full_out->mean))
            continue;
        worst = phase;
        *of_full_out = found;
    }
    return worst;
}

double sl_ruler_retention(const sl_ruler_scores *scores, uint32_t run, uint32_t cell)
{
    uint64_t seen = 0, kept = 0;
    for (uint32_t c = 0; c < sl_ruler_cells(scores); c++) {
        const sl_ruler_cell *of = &scores->runs[run].cells[c];
        bool wanted = cell < sl_ruler_cells(scores) ? c == cell : sl_ruler_cell_counts(scores, c);
        if (!wanted) continue;
        seen += of->seen;
        kept += of->kept;
    }
    return seen > 0 ? (double)kept / (double)seen : 1;
}
