/* launch/train/cmd_train_warm.c - `sluice train warm`: gates from forward passes alone. Rounds of
 * one piece a rank: first those of ridge regression, whose sums are added up over ranks, then those
 * of AdamW, whose gradients are. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "launch/machine/process.h"
#include "launch/machine/ranks.h"
#include "launch/output/report_train.h"
#include "launch/train/train_job.h"
#include "launch/train/train_pass.h"
#include "launch/train/train_program.h"
#include "launch/train/train_run.h"
#include "runtime/base/append.h"
#include "runtime/base/clock.h"
#include "runtime/base/limits.h"
#include "runtime/base/log.h"
#include "runtime/base/numbers.h"
#include "runtime/train/dense.h"
#include "runtime/train/warm.h"

enum { SLICE = 256, HELD_OUT_PIECES = 2 };
enum { WRITTEN_OUT_MAX = 10000 }; /* an R^2 further from 0 is told by its first digits */

static const double RIDGE = 1e-3;

typedef struct {
    sl_train_job job; /* rank 0 alone has a log */
    sl_train_pass pass;
    sl_warm *warm;
    void *storage;
    size_t storage_bytes;
    uint64_t ridge_rounds;
    sl_train_run run;
} training;

static int rank_of(const training *t) { return sl_train_job_rank(&t->job); }
static uint64_t ranks_of(const training *t) { return sl_train_job_ranks(&t->job); }

/* ---- opening ---- */

static const sl_gate *gate_of(const training *t) { return sl_model_setup_gate(&t->job.setup); }

/* What a window gate's heads see fits a stretch of text with its reach; the whole past does not. */
static sl_status check_spans(const sl_gate *gate, const char *path)
{
    for (uint32_t i = 0; i < gate->n_layers; i++) {
        const sl_gate_shape *s = &gate->layers[i].shape;
        if (s->span == SL_GATE_ABSENT || s->span == SL_GATE_WINDOW || s->heads == 0) continue;
        sl_error("%s, layer %u: gate heads of span %s cannot be trained by train warm: tune them "
                 "with train cpt, or make gates with --span window:BACK,AHEAD or --gate-heads 0",
                 path, i, sl_gate_span_name(s->span));
        return SL_ERR_UNSUPPORTED;
    }
    return SL_OK;
}

static sl_status open_model(training *t)
{
    const sl_settings *s = t->job.settings;
    sl_status status = sl_train_run_open_model(&t->job);
    if (status == SL_OK) status = check_spans(gate_of(t), s->gate);
    if (status != SL_OK) return status;
    const sl_gate *gate = gate_of(t);
    sl_train_pass_options options = {.gguf = t->job.setup.gguf,
                                     .kernels = t->job.setup.kernels,
                                     .shape = t->job.setup.shape,
                                     .tokens_max = t->job.longest,
                                     .window = s->window != SL_NOT_GIVEN ? s->window : gate->window,
                                     .sinks = s->sinks != SL_NOT_GIVEN ? s->sinks : gate->sinks,
                                     .threads = t->job.threads};
    status = sl_train_pass_open(&options, &t->pass);
    if (status != SL_OK) return status;
    return sl_model_setup_check_gate(&t->job.setup, t->pass.stage.tensors_hash);
}

static sl_status open_warm(training *t)
{
    sl_warm_options options = {.gate = gate_of(t),
                               .tokens_max = t->job.longest,
                               .slice = SLICE,
                               .threads = t->pass.stage.options.threads};
    sl_arena arena;
    sl_arena_init(&arena, NULL, 0);
    sl_warm_init(&options, &arena, &t->warm);
    t->storage_bytes = arena.used_bytes;
    sl_status status = sl_storage_take(t->storage_bytes, "gates in training", &t->storage);
    if (status != SL_OK) return status;
    sl_arena_init(&arena, t->storage, t->storage_bytes);
    sl_warm_init(&options, &arena, &t->warm);
    return SL_OK;
}

/* Everything that the result depends on. */
static uint64_t hash_run(const training *t)
{
    const sl_settings *s = t->job.settings;
    const sl_train_pass_options *p = &t->pass.options;
    uint64_t numbers[] = {sl_train_texts_hash(t->job.texts),
                          sl_gate_file_hash(t->job.setup.gate_file),
                          sl_gguf_header_hash(t->job.setup.gguf) + t->pass.stage.tensors_hash,
                          s->seed,
                          t->ridge_rounds,
                          t->run.rounds,
                          p->window,
                          p->sinks,
                          ranks_of(t),
                          (uint64_t)t->pass.stage.options.threads};
    double reals[] = {s->rate, s->repeat_share};
    uint64_t hash = XXH3_64bits(numbers, sizeof numbers);
    hash = XXH3_64bits_withSeed(reals, sizeof reals, hash);
    hash = XXH3_64bits_withSeed(s->lengths.items, s->lengths.n * sizeof *s->lengths.items, hash);
    return XXH3_64bits_withSeed(s->ahead.items, s->ahead.n * sizeof *s->ahead.items, hash);
}

/* Pieces too short for any token to leave the window and be asked for teach nothing. */
static sl_status check_lengths(const training *t)
{
    const sl_counts *lengths = &t->job.settings->lengths;
    for (uint32_t i = 0; i < lengths->n; i++) {
        if (sl_train_pass_targets(&t->pass, lengths->items[i]) > 0) continue;
        sl_error("--lengths %u: no token of so short a piece is asked for beyond a window of %u",
                 lengths->items[i], t->pass.options.window);
        return SL_ERR_OPTION;
    }
    return SL_OK;
}

/* The pieces a count of them comes to, dealt out to ranks: at least one each unless there are
 * none. */
static uint64_t rounds_for(const training *t, uint32_t pieces)
{
    return (pieces + ranks_of(t) - 1) / ranks_of(t);
}

static sl_status open_all(training *t)
{
    const sl_settings *s = t->job.settings;
    t->ridge_rounds = rounds_for(t, s->ridge_pieces);
    t->run.rounds = t->ridge_rounds + rounds_for(t, s->pieces);
    sl_status status = sl_train_run_name_files(&t->job, &t->run);
    if (status == SL_OK) status = open_model(t);
    if (status == SL_OK) status = check_lengths(t);
    if (status == SL_OK) status = sl_train_job_open_texts(&t->job, s->repeat_share);
    if (status == SL_OK) status = open_warm(t);
    if (status == SL_OK)
        status = sl_limits_check(sl_dense_call_bytes((int)t->job.threads),
                                 "OpenBLAS, at its first call");
    if (status != SL_OK) return status;
    size_t bytes;
    void *state = sl_warm_state(t->warm, &bytes);
    return sl_train_run_resume(&t->run, hash_run(t), state, bytes);
}

static void close_all(training *t)
{
    sl_storage_release(t->storage, t->storage_bytes);
    sl_train_pass_close(&t->pass);
}

/* ---- a round ---- */

static sl_status take_piece(training *t, sl_piece_kind kind, uint64_t number, uint32_t n)
{
    sl_train_job_take_piece(&t->job, kind, number, n);
    return sl_train_pass_run(&t->pass, t->job.tokens, n);
}

static sl_status ridge_round(training *t, sl_status status)
{
    size_t n;
    double *sums = sl_warm_ridge_sums(t->warm, &n);
    /* What all ranks had before is on all of them; only rank 0's may count when they add up. */
    if (rank_of(t) != 0) memset(sums, 0, n * sizeof *sums);
    if (status == SL_OK) sl_warm_ridge_add(t->warm, &t->pass.piece);
    status = sl_ranks_agree(t->job.comm, status);
    if (status == SL_OK) status = sl_ranks_sum_doubles(t->job.comm, sums, n);
    if (status == SL_OK && t->run.point.round + 1 == t->ridge_rounds)
        status = sl_ranks_agree(t->job.comm, sl_warm_ridge_solve(t->warm, RIDGE));
    return status;
}

/* Down from `rate` as a quarter of a cosine, after a rise over the first twentieth. */
static double rate_at(const training *t, uint64_t round)
{
    double done = (double)(round - t->ridge_rounds) / (double)(t->run.rounds - t->ridge_rounds);
    double rise = done < 0.05 ? (done + 0.002) / 0.05 : 1;
    return t->job.settings->rate * fmin(rise, 1) * 0.5 * (1 + cos(3.14159265358979323846 * done));
}

/* The look-ahead of a slice: of the given ones, by chance, the same on all ranks. */
static uint32_t ahead_of(const training *t, uint64_t round, uint32_t slice)
{
    const sl_counts *given = &t->job.settings->ahead;
    const uint64_t key[2] = {round, slice};
    uint32_t ahead =
        given->items[XXH3_64bits_withSeed(key, sizeof key, t->job.settings->seed) % given->n];
    return sl_min_u32(ahead, t->pass.options.window - 1); /* as in serving */
}

static sl_status adamw_round(training *t, sl_status status)
{
    size_t n;
    float *gradients = sl_warm_gradients(t->warm, &n), share = 1.0F / (float)ranks_of(t);
    double rate = rate_at(t, t->run.point.round);
    uint32_t slices = sl_warm_slices(t->warm, &t->pass.piece); /* alike: pieces are */
    status = sl_ranks_agree(t->job.comm, status);
    for (uint32_t slice = 0; status == SL_OK && slice < slices; slice++) {
        sl_warm_gradient(t->warm, &t->pass.piece, slice, ahead_of(t, t->run.point.round, slice));
        if (ranks_of(t) > 1) {
            status = sl_ranks_sum_floats(t->job.comm, gradients, n);
            for (size_t i = 0; i < n; i++) gradients[i] *= share;
        }
        if (status == SL_OK) sl_warm_step(t->warm, (float)rate);
    }
    return status;
}

/* Fits of all ranks in sl_warm_fits; their mean loss and R^2. SL_ERR_FORMAT, logged: not finite. */
static sl_status total_fits(training *t, double *loss_out, double *r2_out)
{
    uint32_t n_layers = gate_of(t)->n_layers, n_fitted = 0;
    sl_warm_fit *fits = sl_warm_fits(t->warm);
    sl_status status = sl_ranks_sum_doubles(t->job.comm, &fits[0].n,
                                            n_layers * sizeof *fits / sizeof(double));
    double loss = 0, r2 = 0;
    for (uint32_t i = 0; status == SL_OK && i < n_layers; i++) {
        if (fits[i].n == 0) continue;
        if (!isfinite(fits[i].loss)) {
            if (rank_of(t) == 0)
                sl_error(
                    "round %llu: the loss of layer %u is not finite: lower --rate, or look at the "
                    "texts; the last checkpoint is kept",
                    (unsigned long long)t->run.point.round + 1, i);
            return SL_ERR_FORMAT;
        }
        loss += fits[i].loss / fits[i].n;
        r2 += sl_warm_fit_r2(&fits[i]);
        n_fitted++;
    }
    *loss_out = n_fitted > 0 ? loss / n_fitted : NAN;
    *r2_out = n_fitted > 0 ? r2 / n_fitted : NAN;
    return status;
}

/* ---- telling ---- */

static sl_status tell_round(training *t, double loss, double r2)
{
    if (rank_of(t) != 0) return SL_OK;
    uint64_t round = t->run.point.round; /* done */
    bool ridge = round <= t->ridge_rounds;
    sl_train_round r = {.round = round,
                        .rounds = t->run.rounds,
                        .phase = ridge ? "ridge" : "adamw",
                        .text = sl_train_texts_name(t->job.texts, (round - 1) * ranks_of(t)),
                        .context = sl_train_run_length(&t->run, round - 1),
                        .tokens = sl_train_run_tokens(&t->run, round),
                        .seconds = sl_train_run_seconds(&t->run),
                        .tok_s = sl_train_run_speed(&t->run),
                        .loss = loss,
                        .r2 = r2,
                        .rate = ridge ? 0 : rate_at(t, round - 1)};
    if (sl_train_run_tells(&t->run)) {
        char text[256];
        sl_report_train_describe(&r, text, sizeof text);
        sl_info("%s", text);
    }
    return sl_report_train_round(t->job.log, &r);
}

static sl_status tell_layers(training *t, const char *phase, double loss, double r2)
{
    uint32_t n_layers = gate_of(t)->n_layers;
    double layers[SL_GATE_LAYERS_MAX];
    const sl_warm_fit *fits = sl_warm_fits(t->warm);
    for (uint32_t i = 0; i < n_layers; i++)
        layers[i] = fits[i].n > 0 ? sl_warm_fit_r2(&fits[i]) : NAN;
    sl_info("held-out text after %s: loss %.4f, R2 %.3f in the mean; by layer:", phase, loss, r2);
    for (uint32_t i = 0; i < n_layers; i += 10) {
        char line[192];
        size_t used = 0;
        sl_append(line, sizeof line, &used, "  layer %3u", i);
        for (uint32_t k = i; k < n_layers && k < i + 10; k++) {
            bool readable = fabs(layers[k]) < WRITTEN_OUT_MAX;
            if (gate_of(t)->layers[k].shape.span == SL_GATE_ABSENT)
                sl_append(line, sizeof line, &used, " %6s", "-");
            else
                sl_append(line, sizeof line, &used, readable ? " %6.3f" : " %6.3g", layers[k]);
        }
        sl_info("%s", line);
    }
    return sl_report_train_held_out(t->job.log, phase, layers, n_layers);
}

/* R^2 by layer on held-out pieces, which ranks share. */
static sl_status tell_held_out(training *t, const char *phase)
{
    uint64_t n = (uint64_t)sl_train_texts_n(t->job.texts) * HELD_OUT_PIECES;
    sl_status status = SL_OK;
    sl_warm_fits_reset(t->warm);
    for (uint64_t i = (uint64_t)rank_of(t); status == SL_OK && i < n; i += ranks_of(t)) {
        status = take_piece(t, SL_HELD_OUT_PIECE, i, sl_train_run_length(&t->run, i / ranks_of(t)));
        if (status == SL_OK) sl_warm_measure(t->warm, &t->pass.piece, UINT32_MAX);
    }
    double loss, r2;
    status = sl_ranks_agree(t->job.comm, status);
    if (status == SL_OK) status = total_fits(t, &loss, &r2);
    if (status != SL_OK) return status;
    return sl_ranks_agree(t->job.comm, rank_of(t) == 0 ? tell_layers(t, phase, loss, r2) : SL_OK);
}

/* ---- the run ---- */

static sl_status run_round(void *context)
{
    training *t = context;
    uint64_t round = t->run.point.round;
    bool ridge = round < t->ridge_rounds;
    double loss = NAN, r2 = NAN;
    sl_status status = take_piece(t, SL_TRAIN_PIECE, round * ranks_of(t) + (uint64_t)rank_of(t),
                                  sl_train_run_length(&t->run, round));
    sl_warm_fits_reset(t->warm);
    status = ridge ? ridge_round(t, status) : adamw_round(t, status);
    if (status == SL_OK && !ridge) status = total_fits(t, &loss, &r2);
    if (status != SL_OK) return status;
    t->run.point.round++;
    status = sl_ranks_agree(t->job.comm, tell_round(t, loss, r2));
    if (status == SL_OK && t->run.point.round == t->ridge_rounds)
        status = tell_held_out(t, "ridge");
    return status;
}

static void encode(const void *context, uint32_t layer, uint32_t type, sl_arena *arena,
                   sl_gate_layer *layer_out)
{
    sl_warm_encode(context, layer, type, arena, layer_out);
}

static sl_status train(training *t)
{
    sl_status status = sl_train_run_rounds(&t->run, run_round, t);
    if (status == SL_OK && t->run.rounds > t->ridge_rounds) status = tell_held_out(t, "adamw");
    if (status != SL_OK) return status;
    const sl_train_gates gates = {.window = t->pass.options.window,
                                  .sinks = t->pass.options.sinks,
                                  .encode = encode,
                                  .context = t->warm};
    return sl_train_run_end(&t->run, &gates);
}

static sl_status check_settings(const sl_settings *s)
{
    if (!s->model || !s->gate || !s->output || !s->text) {
        sl_error(
            "train warm needs a model (-m), gates to start from (-g, of sluice train init), texts "
            "(--text) and where trained gates go (-o)");
        return SL_ERR_OPTION;
    }
    if (s->ridge_pieces + s->pieces > 0) return sl_train_check_type(s);
    sl_error("nothing to do: --ridge-pieces and --pieces are both 0");
    return SL_ERR_OPTION;
}

static sl_status open_and_train(void *context)
{
    training *t = context;
    sl_status status = sl_ranks_agree(t->job.comm, open_all(t));
    if (status == SL_OK) status = sl_train_run_check_ranks(&t->run);
    if (status == SL_OK) status = train(t);
    close_all(t);
    return status;
}

int sl_train_warm(sl_settings *settings)
{
    if (check_settings(settings) != SL_OK) return SL_EXIT_USAGE;
    training t = {0};
    return sl_train_job_run(settings, &t.job, open_and_train, &t);
}
