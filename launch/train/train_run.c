/* launch/train/train_run.c - see train_run.h. */
#include "launch/train/train_run.h"

#include <stdio.h>
#include <string.h>

#include "launch/machine/process.h"
#include "launch/machine/ranks.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/train/dense.h"

enum { TOLD_EVERY_S = 10 };

static int rank_of(const sl_train_run *r) { return sl_train_job_rank(r->job); }
static uint64_t ranks_of(const sl_train_run *r) { return sl_train_job_ranks(r->job); }

/* ---- opening ---- */

static sl_status name_file(const char *given, const char *output, const char *suffix, char *out,
                           size_t out_bytes)
{
    int n = given ? snprintf(out, out_bytes, "%s", given)
                  : snprintf(out, out_bytes, "%s%s", output, suffix);
    if (n < (int)out_bytes) return SL_OK;
    sl_error("a file name of %d bytes is too long", n);
    return SL_ERR_OPTION;
}

sl_status sl_train_run_name_files(sl_train_job *job, sl_train_run *run_out)
{
    const sl_settings *s = job->settings;
    sl_train_run *r = run_out;
    r->job = job;
    sl_status status = name_file(s->checkpoint, s->output, ".checkpoint", r->checkpoint_path,
                                 sizeof r->checkpoint_path);
    if (status != SL_OK) return status;
    return name_file(s->train_log, s->output, ".log.jsonl", r->log_path, sizeof r->log_path);
}

sl_status sl_train_run_open_model(sl_train_job *job)
{
    sl_model_setup *setup = &job->setup;
    sl_status status = sl_dense_begin((int)job->threads);
    if (status == SL_OK) status = sl_model_setup_open(setup, SL_SETUP_SHAPE | SL_SETUP_CHAT);
    if (status == SL_OK) status = sl_model_setup_open(setup, SL_SETUP_GATE_FITS);
    if (status == SL_OK) status = sl_model_setup_open(setup, SL_SETUP_KERNELS);
    return status;
}

static sl_status open_log(sl_train_run *r)
{
    if (rank_of(r) != 0) return SL_OK;
    r->job->log = fopen(r->log_path, r->point.round > 0 ? "ab" : "wb");
    if (r->job->log) return SL_OK;
    return sl_file_error("write", r->log_path);
}

sl_status sl_train_run_resume(sl_train_run *run, uint64_t hash, void *state, size_t state_bytes)
{
    sl_train_run *r = run;
    r->state = state;
    r->state_bytes = state_bytes;
    r->point = (sl_train_point){.run = hash};
    sl_status status = sl_train_checkpoint_load(r->checkpoint_path, &r->point, state, state_bytes);
    if (status == SL_OK && rank_of(r) == 0)
        sl_info("%s: going on after round %llu of %llu", r->checkpoint_path,
                (unsigned long long)r->point.round, (unsigned long long)r->rounds);
    return status == SL_OK || status == SL_END ? open_log(r) : status;
}

sl_status sl_train_run_check_ranks(const sl_train_run *run)
{
    bool same_run, same_round;
    sl_status status = sl_ranks_same(run->job->comm, run->point.run, &same_run);
    if (status == SL_OK) status = sl_ranks_same(run->job->comm, run->point.round, &same_round);
    if (status != SL_OK || (same_run && same_round)) return status;
    if (rank_of(run) == 0)
        sl_error(same_run ? "ranks found different checkpoints: %s must be one file that all see"
                          : "ranks do not train the same: model, gates, texts, options and threads "
                            "must be alike on all (checkpoint %s)",
                 run->checkpoint_path);
    return SL_ERR_OPTION;
}

/* ---- how far it is ---- */

uint32_t sl_train_run_length(const sl_train_run *run, uint64_t round)
{
    const sl_counts *lengths = &run->job->settings->lengths;
    if (run->round_tokens > 0) return run->round_tokens;
    uint64_t turn = round * ranks_of(run) / sl_train_texts_n(run->job->texts);
    return lengths->items[turn % lengths->n];
}

uint64_t sl_train_run_tokens(const sl_train_run *run, uint64_t round)
{
    uint64_t tokens = 0;
    for (uint64_t i = 0; i < round; i++) tokens += sl_train_run_length(run, i) * ranks_of(run);
    return tokens;
}

static double seconds_here(const sl_train_run *r)
{
    return (double)(sl_clock_now_ns() - r->began_ns) / (double)SL_SECOND;
}

double sl_train_run_seconds(const sl_train_run *run)
{
    return run->point.seconds + seconds_here(run);
}

double sl_train_run_speed(const sl_train_run *run)
{
    return (double)(sl_train_run_tokens(run, run->point.round) - run->tokens_before) /
           seconds_here(run);
}

bool sl_train_run_tells(sl_train_run *run)
{
    int64_t now_ns = sl_clock_now_ns();
    bool due = now_ns - run->told_ns > TOLD_EVERY_S * SL_SECOND || run->point.round == run->rounds;
    if (due) run->told_ns = now_ns;
    return due;
}

/* ---- the rounds ---- */

static sl_status save(sl_train_run *r)
{
    r->saved_ns = sl_clock_now_ns();
    if (rank_of(r) != 0) return SL_OK;
    sl_train_point point = r->point;
    point.seconds = sl_train_run_seconds(r);
    return sl_train_checkpoint_save(r->checkpoint_path, &point, r->state, r->state_bytes);
}

/* Is it time to save, or to stop? All ranks say the same. */
static sl_status between_rounds(sl_train_run *r)
{
    bool due = (double)(sl_clock_now_ns() - r->saved_ns) >
               r->job->settings->checkpoint_minutes * 60 * (double)SL_SECOND;
    bool stop, save_now;
    sl_status status = sl_ranks_any(r->job->comm, sl_process_signal() != 0, &stop);
    if (status == SL_OK) status = sl_ranks_any(r->job->comm, due, &save_now);
    if (status == SL_OK && (stop || save_now)) status = sl_ranks_agree(r->job->comm, save(r));
    if (status != SL_OK || !stop) return status;
    if (rank_of(r) == 0)
        sl_info("stopped after round %llu; the same command goes on from %s",
                (unsigned long long)r->point.round, r->checkpoint_path);
    return SL_ERR_JOB;
}

sl_status sl_train_run_rounds(sl_train_run *run, sl_status (*round)(void *context), void *context)
{
    run->began_ns = run->saved_ns = sl_clock_now_ns();
    run->tokens_before = sl_train_run_tokens(run, run->point.round);
    sl_status status = SL_OK;
    while (status == SL_OK && run->point.round < run->rounds) {
        status = round(context);
        if (status == SL_OK) status = between_rounds(run);
    }
    /* what comes behind the last round may be cut off, too */
    return status == SL_OK ? sl_ranks_agree(run->job->comm, save(run)) : status;
}

/* ---- the end ---- */

static sl_status write_gates(const sl_train_run *r, const sl_train_gates *made)
{
    const sl_settings *s = r->job->settings;
    sl_gate gate = *sl_model_setup_gate(&r->job->setup);
    uint32_t type = strcmp(s->type, "f16") == 0 ? SL_TYPE_F16 : SL_TYPE_Q8_0;
    gate.window = made->window;
    gate.sinks = made->sinks;
    gate.n_calibration = 0; /* thresholds of other weights */
    gate.threshold = 0;
    gate.keep = made->keep > 0 ? (float)made->keep : 1;
    gate.adapter_hash = made->adapter_hash;
    void *storage = NULL;
    size_t bytes = 0;
    sl_status status = SL_OK;
    for (int turn = 0; turn < 2 && status == SL_OK; turn++) { /* measure, then take */
        sl_arena arena;
        sl_arena_init(&arena, storage, bytes);
        gate.layers = sl_arena_array(&arena, sl_gate_layer, gate.n_layers);
        for (uint32_t i = 0; i < gate.n_layers; i++) {
            sl_gate_layer counted;
            made->encode(made->context, i, type, &arena, gate.layers ? &gate.layers[i] : &counted);
        }
        if (turn == 0) {
            bytes = arena.used_bytes;
            status = sl_storage_take(bytes, "gates", &storage);
        }
    }
    if (status == SL_OK) status = sl_gate_file_write(s->output, &gate);
    sl_storage_release(storage, bytes);
    if (status != SL_OK) return status;
    if (made->keep > 0)
        sl_info("%s: trained gates, which keep %.1f%%", s->output, 100 * made->keep);
    else
        sl_info("%s: trained gates, without thresholds: sluice train calibrate finds them",
                s->output);
    return SL_OK;
}

sl_status sl_train_run_end(const sl_train_run *run, const sl_train_gates *gates)
{
    sl_status status = SL_OK;
    if (rank_of(run) == 0) status = write_gates(run, gates);
    status = sl_ranks_agree(run->job->comm, status);
    if (status == SL_OK && rank_of(run) == 0) remove(run->checkpoint_path);
    return status;
}
