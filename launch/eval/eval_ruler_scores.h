/* launch/eval/eval_ruler_scores.h - what `sluice eval ruler` measured, and what follows from it:
 * scores of trials, by policy, task and length; means with standard errors; shares of what the
 * full cache scores; the worst phase. Trials of one number are the same prompt under all
 * policies, so shares are compared pair by pair. Knows no model and prints nothing. */
#ifndef SL_EVAL_RULER_SCORES_H
#define SL_EVAL_RULER_SCORES_H

#include <stdbool.h>

#include "launch/eval/eval_ruler_tasks.h"

/* Equal parts of the phases, and of the depths. */
enum { SL_RULER_BUCKETS = 8, SL_RULER_ALL = -1 };
/* What the full cache has to score for a task to count. */
#define SL_RULER_SOLVED 0.5

/* error: the standard error; NAN where there are fewer than two trials. */
typedef struct {
    double mean, error;
} sl_ruler_estimate;

/* One trial. */
typedef struct {
    double score;        /* 0 .. 1; of likelihood: nats for each token */
    int8_t phase, depth; /* its buckets; SL_RULER_ALL: what is asked for is everywhere */
} sl_ruler_result;

/* Of one policy, task and length. */
typedef struct {
    bool was_run;
    sl_ruler_result *trials;          /* [n_trials] */
    uint64_t seen, kept, cache_bytes; /* sums over trials; cache_bytes: the most of each */
} sl_ruler_cell;

typedef struct {
    const char *policy;   /* static storage */
    double keep;          /* 0: the policy has none, or the gate its own threshold */
    sl_ruler_cell *cells; /* [n_tasks][n_lengths] */
} sl_ruler_run;

/* Run 0 is the full cache's. Ended with sl_ruler_scores_fini. */
typedef struct {
    uint32_t n_tasks, n_lengths, n_trials, n_runs;
    const sl_ruler_task *tasks[SL_RULER_TASKS];
    const uint32_t *lengths; /* lent */
    sl_ruler_run *runs;      /* [n_runs] */
} sl_ruler_scores;

/* "policy random, --keep 0.5", into name, which is returned. */
enum { SL_RULER_RUN_BYTES = 64 };
const char *sl_ruler_run_name(const sl_ruler_run *run, char name[SL_RULER_RUN_BYTES]);
bool sl_ruler_run_has_own(const sl_ruler_run *run); /* a gate at its own threshold */

/* Take room for the numbers above; policy and keep of the runs are the caller's to fill in.
 * SL_ERR_MEMORY; ended with fini also then. */
sl_status sl_ruler_scores_init(sl_ruler_scores *scores);
void sl_ruler_scores_fini(sl_ruler_scores *scores); /* all zero is fine */
uint64_t sl_ruler_scores_bytes(const sl_ruler_scores *scores);

uint32_t sl_ruler_cells(const sl_ruler_scores *scores);
const sl_ruler_task *sl_ruler_cell_task(const sl_ruler_scores *scores, uint32_t cell);
uint32_t sl_ruler_cell_length(const sl_ruler_scores *scores, uint32_t cell);
/* Part `bucket` of SL_RULER_BUCKETS that `value`, 0 .. < of, lies in. */
int8_t sl_ruler_bucket(double value, double of);

/* The full cache solves it, or it is a likelihood: the other policies run it. */
bool sl_ruler_cell_runs(const sl_ruler_scores *scores, uint32_t cell);
/* It counts in means: solved, and no likelihood. */
bool sl_ruler_cell_counts(const sl_ruler_scores *scores, uint32_t cell);

/* Mean score of a cell's trials of one phase, one depth or SL_RULER_ALL. NAN: there are none. */
sl_ruler_estimate sl_ruler_mean(const sl_ruler_scores *scores, uint32_t run, uint32_t cell,
                                int phase, int depth);
/* The same divided by the full cache's, trials paired; of likelihood: the full cache's perplexity
 * divided by this. NAN: the full cache scores nothing there. */
sl_ruler_estimate sl_ruler_of_full(const sl_ruler_scores *scores, uint32_t run, uint32_t cell,
                                   int phase);
/* Mean of that over the cells that count. NAN: none does. */
sl_ruler_estimate sl_ruler_mean_of_full(const sl_ruler_scores *scores, uint32_t run, int phase,
                                        uint32_t *n_cells_out);
/* The phase in which it is least, in a cell or, with `cell` n_cells, in the mean; SL_RULER_ALL:
 * there are no phases. */
int sl_ruler_worst_phase(const sl_ruler_scores *scores, uint32_t run, uint32_t cell,
                         sl_ruler_estimate *of_full_out);

/* What was kept of eligible tokens, in a cell or, with `cell` n_cells, in all that count; 1 where
 * there were none. */
double sl_ruler_retention(const sl_ruler_scores *scores, uint32_t run, uint32_t cell);

#endif
