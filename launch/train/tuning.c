/* launch/train/tuning.c - see tuning.h. */
#include "launch/train/tuning.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>
#include <xxhash.h>

#include "launch/machine/memory.h"
#include "launch/machine/process.h"
#include "launch/machine/ranks.h"
#include "launch/output/report_train.h"
#include "launch/train/lora_output.h"
#include "runtime/base/limits.h"
#include "runtime/base/log.h"
#include "runtime/train/dense.h"

static const double SOFTNESS_LEAST = 1e-3;

static int rank_of(const sl_tuning *t) { return sl_train_job_rank(&t->job); }
static uint64_t ranks_of(const sl_tuning *t) { return sl_train_job_ranks(&t->job); }

const sl_gate *sl_tuning_gate(const sl_tuning *tuning)
{
    return sl_model_setup_gate(&tuning->job.setup);
}

/* ---- opening ---- */

/* Weights alone are wanted of the stage, so it has room for no more than a token. */
static sl_status open_weights(sl_tuning *t)
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
    sl_status status = sl_local_stage_open(t->job.setup.gguf, NULL, s, s->n_layers, &options,
                                           t->job.threads, &t->stage);
    if (status != SL_OK) return status;
    return sl_model_setup_check_gate(&t->job.setup, t->stage.tensors_hash);
}

static sl_status check_gated(const sl_tuning *t)
{
    const sl_gate *gate = sl_tuning_gate(t);
    for (uint32_t i = 0; i < gate->n_layers; i++)
        if (gate->layers[i].shape.span != SL_GATE_ABSENT) return SL_OK;
    sl_error("%s has no gate in any layer: make gates with sluice train init",
             t->job.settings->gate);
    return SL_ERR_OPTION;
}

static sl_status open_model(sl_tuning *t)
{
    const sl_settings *s = t->job.settings;
    sl_status status = sl_train_run_open_model(&t->job);
    if (status == SL_OK) status = check_gated(t);
    if (status != SL_OK) return status;
    t->window = s->window != SL_NOT_GIVEN ? s->window : sl_tuning_gate(t)->window;
    t->sinks = s->sinks != SL_NOT_GIVEN ? s->sinks : sl_tuning_gate(t)->sinks;
    return open_weights(t);
}

static bool learns(const sl_settings *s, const char *loss)
{
    return strcmp(s->loss, loss) == 0 || strcmp(s->loss, "both") == 0;
}

/* The system gives what is asked for, and ends who touches more than there is. */
static sl_status check_memory(const sl_tuning *t)
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

static sl_status open_cpt(sl_tuning *t)
{
    const sl_settings *s = t->job.settings;
    const sl_cpt_options options = {.gate = sl_tuning_gate(t),
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
                                    .clip = (float)s->clip,
                                    .lora = t->lora,
                                    .lora_seed = s->seed};
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

/* Everything that the result depends on. */
static uint64_t hash_run(const sl_tuning *t)
{
    const sl_settings *s = t->job.settings;
    const uint64_t numbers[] = {t->texts->hash(t),
                                sl_gate_file_hash(t->job.setup.gate_file),
                                sl_gguf_header_hash(t->job.setup.gguf) + t->stage.tensors_hash,
                                s->seed,
                                t->run.rounds,
                                s->rates_each,
                                t->window,
                                t->sinks,
                                ranks_of(t),
                                t->job.threads,
                                t->batch,
                                t->lora.rank};
    const double reals[] = {s->rate, s->repeat_share, s->eviction_loss,     s->softness,
                            s->clip, s->mean_share,   (double)t->lora.alpha};
    uint64_t hash = XXH3_64bits(numbers, sizeof numbers);
    hash = XXH3_64bits_withSeed(reals, sizeof reals, hash);
    hash = XXH3_64bits_withSeed(s->loss, strlen(s->loss), hash);
    hash = XXH3_64bits_withSeed(t->lora.adapts, sizeof t->lora.adapts, hash);
    hash = XXH3_64bits_withSeed(s->rates.items, s->rates.n * sizeof *s->rates.items, hash);
    hash = XXH3_64bits_withSeed(s->lengths.items, s->lengths.n * sizeof *s->lengths.items, hash);
    hash = XXH3_64bits_withSeed(s->ahead.items, s->ahead.n * sizeof *s->ahead.items, hash);
    return XXH3_64bits_withSeed(t->job.setup.kernels->name, strlen(t->job.setup.kernels->name),
                                hash);
}

static sl_status open_all(sl_tuning *t)
{
    const sl_settings *s = t->job.settings;
    const uint64_t texts = ranks_of(t) * t->batch; /* of a round */
    t->run.rounds = (s->pieces + texts - 1) / texts;
    sl_status status = sl_train_run_name_files(&t->job, &t->run);
    if (status == SL_OK) status = sl_lora_output_name(s->output, t->lora_path, sizeof t->lora_path);
    if (status == SL_OK) status = open_model(t);
    if (status == SL_OK) status = t->texts->open(t);
    if (status == SL_OK) status = open_cpt(t);
    if (status == SL_OK)
        status = sl_limits_check(sl_dense_call_bytes((int)t->job.threads),
                                 "OpenBLAS, at its first call");
    if (status != SL_OK) return status;
    const sl_gate_numbers *numbers = sl_cpt_numbers(t->cpt);
    return sl_train_run_resume(&t->run, hash_run(t), numbers->state, numbers->state_bytes);
}

/* ---- a round ---- */

static uint64_t draw(const sl_tuning *t, uint64_t what)
{
    const uint64_t key[2] = {t->run.point.round, what};
    return XXH3_64bits_withSeed(key, sizeof key, t->job.settings->seed);
}

/* The same on all ranks: rates are in as many runs as a text is read, one is drawn of each. */
static double keep_of(const sl_tuning *t, uint32_t text, uint32_t reading)
{
    const sl_settings *s = t->job.settings;
    const uint64_t drawn = draw(t, (uint64_t)text * SL_COUNTS_MAX + reading);
    const uint32_t begin = reading * s->rates.n / s->rates_each,
                   end = (reading + 1) * s->rates.n / s->rates_each;
    return s->rates.items[begin + drawn % (end - begin)];
}

static uint32_t ahead_of(const sl_tuning *t)
{
    const sl_counts *given = &t->job.settings->ahead;
    return given->items[draw(t, UINT64_MAX) % given->n];
}

/* Up over the first twentieth, then down to nearly nothing as half a cosine. */
static double rate_at(const sl_tuning *t, uint64_t round)
{
    const double done = (double)round / (double)t->run.rounds;
    const double rise = fmin((done + 0.5 / (double)t->run.rounds) / 0.05, 1);
    return t->job.settings->rate * rise * (0.02 + 0.98 * 0.5 * (1 + cos(M_PI * done)));
}

static sl_status not_finite(const sl_tuning *t, const char *what)
{
    sl_error("round %llu: the %s is not finite: lower --rate, or look at the texts; the last "
             "checkpoint is kept",
             (unsigned long long)t->run.point.round + 1, what);
    return SL_ERR_FORMAT;
}

/* Number `index` of the round's texts; its loss is added. After a signal the rest is left out. */
static void read_text(sl_tuning *t, uint32_t index, double *loss)
{
    const sl_settings *s = t->job.settings;
    const uint64_t first = (t->run.point.round * ranks_of(t) + (uint64_t)rank_of(t)) * t->batch;
    const float weight = 1 / (float)(s->rates_each * ranks_of(t) * t->batch);
    sl_cpt_text text;
    t->texts->take(t, SL_TRAIN_PIECE, first + index, &text);
    text.ahead = ahead_of(t);
    sl_cpt_read(t->cpt, &text);
    for (uint32_t i = 0; i < s->rates_each && sl_process_signal() == 0; i++) {
        sl_cpt_told told;
        sl_cpt_gradient(t->cpt, keep_of(t, index, i), weight, &told);
        const double sum = (learns(s, "lm") ? told.lm : 0) + (learns(s, "kl") ? told.kl : 0);
        *loss += sum / told.n / s->rates_each / t->batch;
    }
}

static sl_status read_texts(sl_tuning *t, double *loss_out)
{
    *loss_out = 0;
    for (uint32_t i = 0; i < t->batch && sl_process_signal() == 0; i++) read_text(t, i, loss_out);
    if (isfinite(*loss_out)) return SL_OK;
    return not_finite(t, "loss");
}

/* Gradients and the loss, of all ranks. */
static sl_status add_up(sl_tuning *t, double *loss)
{
    sl_gate_numbers *numbers = sl_cpt_numbers(t->cpt);
    sl_lora_pass *lora = sl_cpt_lora(t->cpt);
    if (ranks_of(t) == 1) return SL_OK;
    sl_status status = sl_ranks_sum_floats(t->job.comm, numbers->gradients, numbers->n);
    if (status == SL_OK && lora)
        status = sl_ranks_sum_floats(t->job.comm, lora->gradients, sl_lora_pass_n(lora));
    if (status == SL_OK) status = sl_ranks_sum_doubles(t->job.comm, loss, 1);
    *loss /= (double)ranks_of(t);
    return status;
}

static sl_status tell_round(sl_tuning *t, double loss)
{
    if (rank_of(t) != 0) return SL_OK;
    const uint64_t round = t->run.point.round; /* done */
    const sl_train_round r = {.round = round,
                              .rounds = t->run.rounds,
                              .phase = t->phase,
                              .text = t->texts->name(t, (round - 1) * ranks_of(t) * t->batch),
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

/* A round takes minutes on long texts, and who sends SIGTERM waits for seconds: a round that a
 * signal comes upon is left off, and done again by the run that goes on. */
static sl_status run_round(void *context)
{
    sl_tuning *t = context;
    double loss;
    bool left_off;
    sl_status status = sl_ranks_agree(t->job.comm, read_texts(t, &loss));
    if (status == SL_OK) status = sl_ranks_any(t->job.comm, sl_process_signal() != 0, &left_off);
    if (status != SL_OK || left_off) return status;
    status = add_up(t, &loss);
    if (status != SL_OK) return status;
    /* all ranks have the same gradients now, so all stop or none */
    status = sl_cpt_step(t->cpt, rate_at(t, t->run.point.round), t->job.settings->mean_share);
    if (status != SL_OK) return rank_of(t) == 0 ? not_finite(t, "gradient") : status;
    t->run.point.round++;
    return sl_ranks_agree(t->job.comm, tell_round(t, loss));
}

/* ---- how good it is ---- */

/* Sums over held-out texts, which ranks share. */
typedef struct {
    double full_lm;
    sl_cpt_told told[SL_COUNTS_MAX]; /* of each rate */
} costs;

static void add_text(sl_tuning *t, uint64_t number, costs *sums)
{
    const sl_rates *rates = &t->job.settings->rates;
    sl_cpt_text text;
    t->texts->take(t, SL_HELD_OUT_PIECE, number, &text);
    text.ahead = UINT32_MAX;
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
static sl_status tell_cost(const sl_tuning *t, const costs *sums, uint32_t index)
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

static sl_status tell_held_out(sl_tuning *t)
{
    const uint64_t n = t->texts->n_held_out(t);
    costs sums = {0};
    for (uint64_t i = (uint64_t)rank_of(t); i < n; i += ranks_of(t)) add_text(t, i, &sums);
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

/* On rank 0: the adapter first, since a run whose gates are there has ended. */
static sl_status write_lora(sl_tuning *t)
{
    const sl_lora_pass *lora = sl_cpt_lora(t->cpt);
    if (rank_of(t) != 0 || !lora) return SL_OK;
    return sl_lora_output_write(t->lora_path, t->job.setup.gguf, &t->job.setup.shape, lora,
                                &t->lora_hash);
}

static sl_status tune(sl_tuning *t)
{
    sl_status status = sl_train_run_rounds(&t->run, run_round, t);
    if (status != SL_OK) return status;
    sl_cpt_take_mean(t->cpt);
    status = tell_held_out(t);
    if (status != SL_OK) return status;
    status = sl_ranks_agree(t->job.comm, write_lora(t));
    const sl_train_gates gates = {.window = t->window,
                                  .sinks = t->sinks,
                                  .keep = t->job.settings->eviction_loss > 0 ? t->kept : 0,
                                  .adapter_hash = t->lora_hash,
                                  .encode = encode,
                                  .context = sl_cpt_numbers(t->cpt)};
    return status == SL_OK ? sl_train_run_end(&t->run, &gates) : status;
}

static sl_status open_and_tune(void *context)
{
    sl_tuning *t = context;
    sl_status status = sl_ranks_agree(t->job.comm, open_all(t));
    if (status == SL_OK) status = sl_train_run_check_ranks(&t->run);
    if (status == SL_OK) status = tune(t);
    sl_storage_release(t->storage, t->storage_bytes);
    sl_local_stage_close(&t->stage);
    t->texts->close(t);
    return status;
}

sl_status sl_tuning_settings(sl_settings *settings, const char *command)
{
    sl_settings *s = settings;
    if (s->rates_each == 0) s->rates_each = s->rates.n < 2 ? 1 : 2;
    if (!s->model || !s->gate || !s->output) {
        sl_error("%s needs a model (-m), gates to start from (-g) and where tuned gates go (-o)",
                 command);
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
        sl_error("--eviction-loss holds one rate, which gates do not see: give one in --rates");
        return SL_ERR_OPTION;
    }
    if (s->rates_each > s->rates.n) {
        sl_error("--rates-each %u: of %u --rates each piece is read at so many different ones",
                 s->rates_each, s->rates.n);
        return SL_ERR_OPTION;
    }
    return sl_train_check_type(s);
}

int sl_tuning_run(const sl_settings *settings, sl_tuning *tuning)
{
    return sl_train_job_run(settings, &tuning->job, open_and_tune, tuning);
}
