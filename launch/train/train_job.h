/* launch/train/train_job.h - what the training commands of many ranks have in common: the ranks, a
 * model and its gates, texts, and the piece of text at hand. Lives as long as the command. Knows
 * nothing of what is learned or measured from the pieces. */
#ifndef SL_TRAIN_JOB_H
#define SL_TRAIN_JOB_H

#include <stdio.h>

#include "comm/comm.h"
#include "launch/setup/model_setup.h"
#include "launch/train/train_texts.h"

typedef struct {
    const sl_settings *settings;
    sl_comm *comm;
    uint32_t threads;     /* of this rank */
    uint32_t longest;     /* of --lengths: tokens of the longest piece */
    sl_model_setup setup; /* nothing is open at first */

    sl_train_texts *texts; /* from sl_train_job_open_texts */
    int32_t *tokens;       /* [longest], the piece at hand */
    FILE *log;             /* NULL, or opened by the command */
} sl_train_job;

/* Run the command on this rank: open the ranks, run work(context) attended, close what the job
 * holds, then the ranks. A signal is left to `work`. `job` is a member of `context`, and filled in
 * here. Returns the exit code. */
int sl_train_job_run(const sl_settings *settings, sl_train_job *job,
                     sl_status (*work)(void *context), void *context);

int sl_train_job_rank(const sl_train_job *job);
uint64_t sl_train_job_ranks(const sl_train_job *job);

/* Open the texts of --text and take room for a piece; the setup's tokenizer is open. `repeat`: the
 * share of pieces that repeat a passage. Errors are those of sl_train_texts_open. */
sl_status sl_train_job_open_texts(sl_train_job *job, double repeat);
/* Make piece `number`, of n tokens, the one at hand. */
void sl_train_job_take_piece(sl_train_job *job, sl_piece_kind kind, uint64_t number, uint32_t n);

/* --type of the gate to write. SL_ERR_OPTION, logged. */
sl_status sl_train_check_type(const sl_settings *settings);

#endif
