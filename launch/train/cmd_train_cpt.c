/* launch/train/cmd_train_cpt.c - `sluice train cpt`: gates tuned through the frozen model by
 * continual pre-training. A round is a piece of text a rank, read at several rates; gradients of
 * all ranks are added up, and every rank takes the same step. */
#include <math.h>
#include <stdbool.h>
#include <string.h>
#include <xxhash.h>

#include "launch/machine/memory.h"
#include "launch/machine/process.h"
#include "launch/machine/ranks.h"
#include "launch/output/report_train.h"
#include "launch/setup/local_stage.h"
#include "launch/train/train_job.h"
#include "launch/train/train_program.h"
#include "launch/train/train_run.h"
#include "runtime/base/limits.h"
#include "runtime/base/log.h"
#include "runtime/train/cpt.h"
#include "runtime/train/dense.h"

enum { HELD_OUT_PIECES = 1 };

static const double SOFTNESS_LEAST = 1e-3;

typedef struct {
    sl_train_job job; /* rank 0 alone has a log */
    sl_train_run run;
    sl_local_stage stage; /* for its weights */
    sl_cpt *cpt;
    void *storage;
    size_t storage_bytes;
    uint32_t window, sinks;
    double kept; /* of held-out text, at the last of the rates */
} tuning;

static int rank_of(const tuning *t) { return sl_train_job_rank(&t->job); }
static uint64_t ranks_of(const tuning *t) { return sl_train_job_ranks(&t->job); }
static const sl_gate *gate_of(const tuning *t) { return sl_model_setup_gate(&t->job.setup); }

/* ---- opening ---- */

/* Weights alone are wanted of the stage, so it has room for no more than a token. */
static sl_status open_weights(tuning *t)
{
    const sl_model_shape *s = &t->job.setup.shape;
    const sl_stage_options options = {.kernels = t->job.setup.kernels,
                                      .limits = {.rows_max = 1,
                                                 .spans_max = 1,
                                                 .controls_max = 1,
                                                 .ranks = 1,
                                                 .width = s->width,
                                                 .n_layers = s->n_layers,
                                                 .n_kv_heads = s->n_kv_heads},
                                      .sequences_max = 1,
                                      .context = 1,
                                      .policy = {.kind = SL_POLICY_FULL, .window = 1, .keep = 1},
                                      .n_pages = sl_full_heads(s, 0, s->n_layers)};
    sl_status status = sl_local_stage_open(t->job.setup.gguf, s, s->n_layers, &options,
                                           t->job.threads, &t->stage);
    if (status != SL_OK) return status;
    return sl_model_setup_check_gate(&t->job.setup, t->stage.tensors_hash);
}

static sl_status check_gated(const tuning *t)
{
    const sl_gate *gate = gate_of(t);
    for (uint32_t i = 0; i < gate->n_layers; i++)
        if (gate->layers[i].shape.span != SL_GATE_ABSENT) return SL_OK;
    sl_error("%s has no gate in any layer: make gates with sluice train init",
             t->job.settings->gate);
    return SL_ERR_OPTION;
}

static sl_status open_model(tuning *t)
{
    const sl_settings *s = t->job.settings;
    sl_status status = sl_train_run_open_model(&t->job);
    if (status == SL_OK) status = check_gated(t);
    if (status != SL_OK) return status;
    t->window = s->window != SL_NOT_GIVEN ? s->window : gate_of(t)->window;
    t->sinks = s->sinks != SL_NOT_GIVEN ? s->sinks : gate_of(t)->sinks;
    return open_weights(t);
}

static bool learns(const sl_settings *s, const char *loss)
{
    return strcmp(s->loss, loss) == 0 || strcmp(s->loss, "both") == 0;
}

/* The system gives what is asked for, and ends who touches more than there is. */
static sl_status check_memory(const tuning *t)
{
    const uint64_t share = sl_memory_available_bytes() / 5 * 4 /
                           (uint64_t)sl_comm_ranks_on_host(t->job.comm);
    if (t->storage_bytes <= share) return SL_OK;
    sl_error("tuning on pieces of %u tokens takes %.1f GB beside the weights, and %.1f GB are left "
             "for this rank (80%% of the host's free memory, shared by its ranks): give shorter "
             "--lengths",
             t->job.longest, (double)t->storage_bytes / 1e9, (double)share / 1e9);
    return SL_ERR_MEMORY;
}

static sl_status open_cpt(tuning *t)
{
    const sl_settings *s = t->job.settings;
    const sl_cpt_options options = {.gate = gate_of(t),
                                    .model = {.shape = &t->job.setup.shape,
                                              .weights = &t->stage.weights,
                                              .kernels = t->job.setup.kernels,
                                              .sinks = t->sinks,
                                              .window = t->window,
                                              .tokens_max = t->job.longest,
                                              .threads = (int)t->job.threads},
                                    .lm = learns(s, "lm") ? 1 : 0,
                                    .kl = learns(s, "kl") ? 1 : 0,
                                    .eviction_loss = (float)s->eviction_loss,
                                    .softness = (float)s->softness,
                                    .clip = (float)s->clip};
    sl_arena arena;
    sl_arena_init(&arena, NULL, 0);
    sl_cpt_init(&options, &arena, &t->cpt);
    t->storage_bytes = arena.used_bytes;
    sl_status status = check_memory(t);
    if (status == SL_OK)
        status = sl_storage_take(t->storage_bytes, "the model and gates in training", &t->storage);
    if (status != SL_OK) return status;
    sl_arena_init(&arena, t->storage, t->storage_bytes);
    sl_cpt_init(&options, &arena, &t->cpt);
    return SL_OK;
}

/* Of a piece of n tokens, the prompt; gates that read prompts as one piece decide about no other
 * token. */
static uint32_t prompt_of(const tuning *t, uint32_t n)
{
    return sl_gate_has_prompt_span(gate_of(t)) ? n / 2 : 0;
}

/* Everything that the result depends on. */
static uint64_t hash_run(const tuning *t)
{
    const sl_settings *s = t->job.settings;
    const uint64_t numbers[] = {sl_train_texts_hash(t->job.texts),
                                sl_gate_file_hash(t->job.setup.gate_file),
                                sl_gguf_header_hash(t->job.setup.gguf) + t->stage.tensors_hash,
                                s->seed,
                                t->run.rounds,
                                s->rates_each,
                                t->window,
                                t->sinks,
                                ranks_of(t),
                                t->job.threads};
    const double reals[] = {s->rate,     s->repeat_share, s->eviction_loss,
                            s->softness, s->clip,         s->mean_share};
    uint64_t hash = XXH3_64bits(numbers, sizeof numbers);
    hash = XXH3_64bits_withSeed(reals, sizeof reals, hash);
    hash = XXH3_64bits_withSeed(s->loss, strlen(s->loss), hash);
    hash = XXH3_64bits_withSeed(s->rates.items, s->rates.n * sizeof *s->rates.items, hash);
    hash = XXH3_64bits_withSeed(s->lengths.items, s->lengths.n * sizeof *s->lengths.items, hash);
    hash = XXH3_64bits_withSeed(s->ahead.items, s->ahead.n * sizeof *s->ahead.items, hash);
    return XXH3_64bits_withSeed(t->job.setup.kernels->name, strlen(t->job.setup.kernels->name),
                                hash);
}

static sl_status check_lengths(const tuning *t)
{
    const sl_counts *lengths = &t->job.settings->lengths;
    /* one is scored, and has a next one; or a half has something to evict, the other the window */
    const uint32_t behind = t->sinks + t->window + 2,
                   least = sl_gate_has_prompt_span(gate_of(t)) ? 2 * behind : behind;
    for (uint32_t i = 0; i < lengths->n; i++) {
        if (lengths->items[i] >= least) continue;
        sl_error("--lengths %u: in so short a piece nothing is evicted and scored behind %u sinks "
                 "and a window of %u: give %u or more",
                 lengths->items[i], t->sinks, t->window, least);
        return SL_ERR_OPTION;
    }
    return SL_OK;
}

static sl_status open_all(tuning *t)
{
    const sl_settings *s = t->job.settings;
    t->run.rounds = (s->pieces + ranks_of(t) - 1) / ranks_of(t);
    sl_status status = sl_train_run_name_files(&t->job, &t->run);
    if (status == SL_OK) status = open_model(t);
    if (status == SL_OK) status = check_lengths(t);
    if (status == SL_OK) status = sl_train_job_open_texts(&t->job, s->repeat_share);
    if (status == SL_OK) status = open_cpt(t);
    if (status == SL_OK)
        status = sl_limits_check(sl_dense_call_bytes((int)t->job.threads),
                                 "OpenBLAS, at its first call");
    if (status != SL_OK) return status;
    const sl_gate_numbers *numbers = sl_cpt_numbers(t->cpt);
    return sl_train_run_resume(&t->run, hash_run(t), numbers->state, numbers->state_bytes);
}

/* ---- a round ---- */

static uint64_t draw(const tuning *t, uint64_t what)
{
    const uint64_t key[2] = {t->run.point.round, what};
    return XXH3_64bits_withSeed(key, sizeof key, t->job.settings->seed);
}

/* The same on all ranks: rates are in as many runs as a piece is read, one is drawn of each. */
static double keep_of(const tuning *t, uint32_t reading)
{
    const sl_settings *s = t->job.settings;
    const uint32_t begin = reading * s->rates.n / s->rates_each,
                   end = (reading + 1) * s->rates.n / s->rates_each;
    return s->rates.items[begin + draw(t, reading) % (end - begin)];
}

static uint32_t ahead_of(const tuning *t)
{
    const sl_counts *given = &t->job.settings->ahead;
    return given->items[draw(t, UINT64_MAX) % given->n];
}

/* Up over the first twentieth, then down to nearly nothing as half a cosine. */
static double rate_at(const tuning *t, uint64_t round)
{
    const double done = (double)round / (double)t->run.rounds;
    const double rise = fmin((done + 0.5 / (double)t->run.rounds) / 0.05, 1);
    return t->job.settings->rate * rise * (0.02 + 0.98 * 0.5 * (1 + cos(M_PI * done)));
}

static sl_status not_finite(const tuning *t, const char *what)
{
    sl_error("round %llu: the %s is not finite: lower --rate, or look at the texts; the last "
             "checkpoint is kept",
             (unsigned long long)t->run.point.round + 1, what);
    return SL_ERR_FORMAT;
}

static sl_status read_piece(tuning *t, double *loss_out)
{
    const sl_settings *s = t->job.settings;
    const uint64_t round = t->run.point.round;
    const uint32_t n = sl_train_run_length(&t->run, round);
    sl_train_job_take_piece(&t->job, SL_TRAIN_PIECE, round * ranks_of(t) + (uint64_t)rank_of(t), n);
    const sl_cpt_text text = {t->job.tokens, n, ahead_of(t), prompt_of(t, n)};
    sl_cpt_read(t->cpt, &text);
    *loss_out = 0;
    for (uint32_t i = 0; i < s->rates_each; i++) {
        sl_cpt_told told;
        sl_cpt_gradient(t->cpt, keep_of(t, i), 1 / (float)(s->rates_each * ranks_of(t)), &told);
        const double loss = (learns(s, "lm") ? told.lm : 0) + (learns(s, "kl") ? told.kl : 0);
        *loss_out += loss / told.n / s->rates_each;
    }
    if (isfinite(*loss_out)) return SL_OK;
    return not_finite(t, "loss");
}

static sl_status tell_round(tuning *t, double loss)
{
    if (rank_of(t) != 0) return SL_OK;
    const uint64_t round = t->run.point.round; /* done */
    const sl_train_round r = {.round = round,
                              .rounds = t->run.rounds,
                              .phase = "cpt",
                              .text = sl_train_texts_name(t->job.texts, (round - 1) * ranks_of(t)),
                              .context = sl_train_run_length(&t->run, round - 1),
                              .tokens = sl_train_run_tokens(&t->run, round),
                              .seconds = sl_train_run_seconds(&t->run),
                              .tok_s = sl_train_run_speed(&t->run),
                              .loss = loss,
                              .r2 = NAN,
                              .rate = rate_at(t, round - 1)};
    if (sl_train_run_tells(&t->run)) {
        char text[256];
        sl_report_train_describe(&r, text, sizeof text);
        sl_info("%s", text);
    }
    return sl_report_train_round(t->job.log, &r);
}

static sl_status run_round(void *context)
{
    tuning *t = context;
    sl_gate_numbers *numbers = sl_cpt_numbers(t->cpt);
    double loss;
    sl_status status = sl_ranks_agree(t->job.comm, read_piece(t, &loss));
    if (status == SL_OK && ranks_of(t) > 1)
        status = sl_ranks_sum_floats(t->job.comm, numbers->gradients, numbers->n);
    if (status == SL_OK && ranks_of(t) > 1) {
        status = sl_ranks_sum_doubles(t->job.comm, &loss, 1);
        loss /= (double)ranks_of(t);
    }
    if (status != SL_OK) return status;
    /* all ranks have the same gradients now, so all stop or none */
    status = sl_cpt_step(t->cpt, rate_at(t, t->run.point.round), t->job.settings->mean_share);
    if (status != SL_OK) return rank_of(t) == 0 ? not_finite(t, "gradient") : status;
    t->run.point.round++;
    return sl_ranks_agree(t->job.comm, tell_round(t, loss));
}

/* ---- how good it is ---- */

/* Sums over held-out pieces, which ranks share. */
typedef struct {
    double full_lm;
    sl_cpt_told told[SL_COUNTS_MAX]; /* of each rate */
} costs;

static void add_piece(tuning *t, uint64_t number, costs *sums)
{
    const sl_rates *rates = &t->job.settings->rates;
    const uint32_t length = sl_train_run_length(&t->run, number / ranks_of(t));
    sl_train_job_take_piece(&t->job, SL_HELD_OUT_PIECE, number, length);
    const sl_cpt_text text = {t->job.tokens, length, UINT32_MAX, prompt_of(t, length)};
    sl_cpt_read(t->cpt, &text);
    sums->full_lm += sl_cpt_full_lm(t->cpt);
    for (uint32_t i = 0; i < rates->n; i++) {
        sl_cpt_told told, *sum = &sums->told[i];
        sl_cpt_measure(t->cpt, rates->items[i], &told);
        sum->n += told.n, sum->lm += told.lm, sum->kl += told.kl;
        sum->n_eligible += told.n_eligible, sum->n_kept += told.n_kept;
    }
}

/* SL_ERR_FORMAT, logged: not finite. */
static sl_status tell_cost(const tuning *t, const costs *sums, uint32_t index)
{
    const sl_cpt_told *sum = &sums->told[index];
    const sl_train_cost cost = {.keep = t->job.settings->rates.items[index],
                                .kept = sum->n_kept / sum->n_eligible,
                                .rise = expm1((sum->lm - sums->full_lm) / sum->n),
                                .kl = sum->kl / sum->n};
    if (!isfinite(cost.rise) || !isfinite(cost.kl)) {
        sl_error("what the gates cost on held-out text is not finite: they are not written; lower "
                 "--rate, or look at the texts");
        return SL_ERR_FORMAT;
    }
    sl_info("held-out text, %.2f%% kept: perplexity %+.2f%%, KL %.4f", 100 * cost.kept,
            100 * cost.rise, cost.kl);
    return sl_report_train_cost(t->job.log, &cost);
}

static sl_status tell_held_out(tuning *t)
{
    const uint64_t n = (uint64_t)sl_train_texts_n(t->job.texts) * HELD_OUT_PIECES;
    costs sums = {0};
    for (uint64_t i = (uint64_t)rank_of(t); i < n; i += ranks_of(t)) add_piece(t, i, &sums);
    sl_status status = sl_ranks_sum_doubles(t->job.comm, &sums.full_lm,
                                            sizeof sums / sizeof(double));
    if (status != SL_OK) return status;
    for (uint32_t i = 0; status == SL_OK && rank_of(t) == 0 && i < t->job.settings->rates.n; i++) {
        t->kept = sums.told[i].n_kept / sums.told[i].n_eligible;
        status = tell_cost(t, &sums, i);
    }
    return sl_ranks_agree(t->job.comm, status);
}

/* ---- the run ---- */

static void encode(const void *context, uint32_t layer, uint32_t type, sl_arena *arena,
                   sl_gate_layer *layer_out)
{
    sl_gate_numbers_encode(context, layer, type, arena, layer_out);
}

static sl_status tune(tuning *t)
{
    sl_status status = sl_train_run_rounds(&t->run, run_round, t);
    if (status != SL_OK) return status;
    sl_cpt_take_mean(t->cpt);
    status = tell_held_out(t);
    if (status != SL_OK) return status;
    const sl_train_gates gates = {.window = t->window,
                                  .sinks = t->sinks,
                                  .keep = t->job.settings->eviction_loss > 0 ? t->kept : 0,
                                  .encode = encode,
                                  .context = sl_cpt_numbers(t->cpt)};
    return sl_train_run_end(&t->run, &gates);
}

static sl_status check_settings(const sl_settings *s)
{
    if (!s->model || !s->gate || !s->output || !s->text) {
        sl_error("train cpt needs a model (-m), gates to start from (-g), texts (--text) and where "
                 "tuned gates go (-o)");
        return SL_ERR_OPTION;
    }
    if (strcmp(s->loss, "lm") != 0 && strcmp(s->loss, "kl") != 0 && strcmp(s->loss, "both") != 0) {
        sl_error("--loss: '%s' is not lm, kl or both", s->loss);
        return SL_ERR_OPTION;
    }
    if (s->softness > 0 && s->softness < SOFTNESS_LEAST) {
        sl_error("--soft %g: 0, or %g and more", s->softness, SOFTNESS_LEAST);
        return SL_ERR_OPTION;
    }
    if (s->eviction_loss > 0 && s->rates.n > 1) {
        sl_error("--eviction-loss holds one rate, which gates do not see: give one in --rates, and "
                 "--rates-each 1");
        return SL_ERR_OPTION;
    }
    if (s->rates_each > s->rates.n) {
        sl_error("--rates-each %u: of %u --rates each piece is read at so many different ones",
                 s->rates_each, s->rates.n);
        return SL_ERR_OPTION;
    }
    return sl_train_check_type(s);
}

static sl_status open_and_tune(void *context)
{
    tuning *t = context;
    sl_status status = sl_ranks_agree(t->job.comm, open_all(t));
    if (status == SL_OK) status = sl_train_run_check_ranks(&t->run);
    if (status == SL_OK) status = tune(t);
    sl_storage_release(t->storage, t->storage_bytes);
    sl_local_stage_close(&t->stage);
    return status;
}

int sl_train_cpt(sl_settings *settings)
{
    if (check_settings(settings) != SL_OK) return SL_EXIT_USAGE;
    tuning t = {0};
    return sl_train_job_run(settings, &t.job, open_and_tune, &t);
}
