/* launch/train/train_run.h - a training run of many rounds, which may be stopped and go on: its
 * files, checkpoints, clock and end. Every rank holds the same state after every round, so rank 0's
 * checkpoint is all's. Knows nothing of what a round does. */
#ifndef SL_TRAIN_RUN_H
#define SL_TRAIN_RUN_H

#include "launch/train/train_checkpoint.h"
#include "launch/train/train_job.h"

typedef struct {
    sl_train_job *job;
    uint64_t rounds;
    sl_train_point point; /* rounds that are done */
    void *state;          /* what lasts from one round to the next, the trainer's */
    size_t state_bytes;
    char log_path[4096], checkpoint_path[4096];
    int64_t began_ns, told_ns, saved_ns;
    uint64_t tokens_before; /* of earlier sittings */
    uint32_t round_tokens;  /* of a round on one rank, in the mean; 0: as --lengths say */
} sl_train_run;

/* OpenBLAS, and of the model and its gates all but the weights. Errors are those of
 * sl_model_setup_open. */
sl_status sl_train_run_open_model(sl_train_job *job);
/* The files' names, as the settings say or beside the output. SL_ERR_OPTION, logged. */
sl_status sl_train_run_name_files(sl_train_job *job, sl_train_run *run_out);
/* Go on where a run of this hash, of everything that the result depends on, was stopped, and open
 * the log on rank 0. SL_ERR_OPTION, logged: the checkpoint is another run's. */
sl_status sl_train_run_resume(sl_train_run *run, uint64_t hash, void *state, size_t state_bytes);
/* That ranks train the same from the same point: hosts may see other files under the same names.
 * All ranks call it, and get the same. */
sl_status sl_train_run_check_ranks(const sl_train_run *run);

/* Pieces' lengths take turns, each text having its own at each length; alike on all ranks. Or
 * round_tokens. */
uint32_t sl_train_run_length(const sl_train_run *run, uint64_t round);
/* Tokens of all ranks in the rounds before this one. */
uint64_t sl_train_run_tokens(const sl_train_run *run, uint64_t round);
/* Earlier sittings included. */
double sl_train_run_seconds(const sl_train_run *run);
/* Tokens a second of this sitting. */
double sl_train_run_speed(const sl_train_run *run);
/* Whether it is time to say how far it is; then it is not for a while. */
bool sl_train_run_tells(sl_train_run *run);

/* Rounds until all are done: round(context), then a checkpoint if it is time. After a signal a
 * round may leave the state and run->point as they were. SL_ERR_JOB, said: a signal stopped it, and
 * the same command goes on. */
sl_status sl_train_run_rounds(sl_train_run *run, sl_status (*round)(void *context), void *context);

/* What a layer of the gate became, in memory from the arena; `type` is the settings'. */
typedef void sl_train_encode(const void *context, uint32_t layer, uint32_t type, sl_arena *arena,
                             sl_gate_layer *layer_out);
typedef struct {
    uint32_t window, sinks;
    double keep; /* the share kept at p = 0.5; 0: thresholds are to be found by calibration */
    uint64_t adapter_hash; /* of the LoRA adapter that they were tuned with; 0: none */
    sl_train_encode *encode;
    const void *context; /* of encode */
} sl_train_gates;

/* The gates that all ranks have now, to the output, and the checkpoint goes. All ranks call it. */
sl_status sl_train_run_end(const sl_train_run *run, const sl_train_gates *gates);

#endif
