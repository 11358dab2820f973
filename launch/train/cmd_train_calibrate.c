/* launch/train/cmd_train_calibrate.c - `sluice train calibrate`: the thresholds at which gates keep
 * the asked share, measured with the gates at work: what is evicted changes the hidden states that
 * later layers' gates read. Logits of a run give the next threshold, until the run keeps what was
 * asked. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/machine/process.h"
#include "launch/machine/ranks.h"
#include "launch/output/report_train.h"
#include "launch/setup/local_stage.h"
#include "launch/setup/lora_choice.h"
#include "launch/train/train_commands.h"
#include "launch/train/train_job.h"
#include "launch/train/train_options.h"
#include "runtime/base/append.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/stage/layer.h"

/* Logits are counted in bins; what is beyond goes to the outermost. */
enum { BINS = 1 << 16, ZERO_BIN = BINS / 2, BINS_PER_UNIT = 1 << 9, TURNS_MAX = 4 };

/* Tokens beyond its share for which a head's threshold rises by 1. A fixed threshold is off by 10
 * points between kinds of text; 32 holds the rate as well as 8 does, at 0.1% more perplexity. */
static const float STEER = 8;

static const double CLOSE_ENOUGH = 0.004; /* of the eligible tokens */

typedef struct {
    sl_train_job job;
    sl_gate gate; /* of the file, with the rows found so far */
    double *bins; /* [BINS] of all pieces and heads */
    /* [texts][n_layers][n_kv_heads]; behind them [texts], eligible tokens of a head */
    double *kept;
    sl_gate_calibration *rows; /* [windows * rates], what is found */
    float *retention;          /* [windows * rates][n_layers][n_kv_heads] */
    uint32_t n_found, n_runs;  /* rows; runs since the last one was found */
    int64_t told_ns;           /* when the last line said how far it is */
} calibration;

static uint32_t heads_of(const calibration *c)
{
    return c->job.setup.shape.n_layers * c->job.setup.shape.n_kv_heads;
}

/* KV head `head` of all layers' belongs to a layer with a gate. */
static bool is_gated(const calibration *c, uint32_t head)
{
    return c->gate.layers[head / c->job.setup.shape.n_kv_heads].shape.span != SL_GATE_ABSENT;
}

/* ---- one piece ---- */

static size_t bin_of(float logit)
{
    double bin = ((double)logit * BINS_PER_UNIT) + ZERO_BIN;
    if (isnan(bin) || bin >= BINS) return BINS - 1; /* what is not a number is kept */
    return bin < 0 ? 0 : (size_t)bin;
}

/* The lowest logit of a bin. */
static double logit_of(size_t bin) { return ((double)bin - ZERO_BIN) / BINS_PER_UNIT; }

typedef struct {
    calibration *calibration;
    const sl_policy *policy;
    uint32_t text;
} layer_counts;

/* A layer's gates have spoken: count the logits of eligible tokens, and who was kept. */
static void count_layer(void *context, const sl_layer_context *at, const sl_frame *frame,
                        uint32_t layer)
{
    const layer_counts *l = context;
    calibration *c = l->calibration;
    const sl_gates *gates = at->gates;
    uint32_t n = frame->n_rows, sinks = l->policy->sinks, window = l->policy->window;
    uint32_t delay = gates->layers[layer].delay;
    if (c->gate.layers[layer].shape.span == SL_GATE_ABSENT || n <= sinks + window) return;
    double *kept = c->kept + ((size_t)l->text * c->job.setup.shape.n_layers + layer) *
                                 c->job.setup.shape.n_kv_heads;
    for (uint32_t head = 0; head < c->job.setup.shape.n_kv_heads; head++) {
        const float *logits = gates->logits + (size_t)head * gates->options.rows_max;
        const uint8_t *flags = sl_frame_flags(frame, layer, head);
        for (uint32_t t = sinks; t + window < n; t++) { /* row t + delay tells token t's */
            c->bins[bin_of(logits[t + delay])] += 1;
            kept[head] += flags[t + window];
        }
    }
}

/* A window takes a run of all pieces, and each of its rows some more. */
static void tell_piece(calibration *c, uint32_t window, uint32_t piece)
{
    const sl_settings *s = c->job.settings;
    int64_t now = sl_clock_now_ns();
    if (sl_train_job_rank(&c->job) != 0 || now - c->told_ns < 10 * SL_SECOND) return;
    c->told_ns = now;
    sl_info("%u of %u thresholds found; window %u, run %u: piece %u of %u", c->n_found,
            s->windows.n * s->rates.n, window, c->n_runs, piece + 1, s->pieces);
}

static sl_status run_pieces(calibration *c, sl_local_stage *local, layer_counts *l)
{
    const uint32_t ranks = (uint32_t)sl_train_job_ranks(&c->job);
    const uint32_t n_texts = sl_train_texts_n(c->job.texts);
    double *eligible = c->kept + (size_t)n_texts * heads_of(c);
    sl_status status = SL_OK;
    for (uint32_t i = (uint32_t)sl_train_job_rank(&c->job);
         status == SL_OK && i < c->job.settings->pieces; i += ranks) {
        uint32_t n = c->job.settings->lengths.items[i / n_texts % c->job.settings->lengths.n];
        l->text = i % n_texts;
        tell_piece(c, l->policy->window, i);
        sl_train_job_take_piece(&c->job, SL_TRAIN_PIECE, i, n);
        eligible[l->text] += sl_policy_eligible(l->policy, n);
        status = sl_local_stage_compute(local, c->job.tokens, n);
        if (sl_process_signal() != 0) {
            sl_error("stopped by a signal: nothing was written; the same command begins anew");
            status = SL_ERR_JOB;
        }
    }
    return status;
}

/* Counts of all pieces on all ranks, gates at work with this policy. */
static sl_status run(calibration *c, const sl_policy *policy)
{
    const sl_model_shape *s = &c->job.setup.shape;
    uint32_t n_texts = sl_train_texts_n(c->job.texts);
    size_t n_kept = (size_t)n_texts * heads_of(c) + n_texts;
    layer_counts counts = {.calibration = c, .policy = policy};
    c->n_runs++;
    sl_probe probe = {.context = &counts, .layer = count_layer};
    sl_stage_options options = {.kernels = c->job.setup.kernels,
                                .limits = {.rows_max = c->job.longest,
                                           .spans_max = 1,
                                           .controls_max = 1,
                                           .ranks = 1,
                                           .width = s->width,
                                           .n_layers = s->n_layers,
                                           .n_kv_heads = s->n_kv_heads,
                                           .flags = true},
                                .sequences_max = 1,
                                .context = c->job.longest,
                                .policy = *policy,
                                .gate = &c->gate,
                                .n_pages = sl_full_heads(s, 0, s->n_layers) *
                                           sl_cache_head_pages(policy->window, c->job.longest),
                                .probe = &probe};
    sl_local_stage local;
    memset(c->bins, 0, BINS * sizeof *c->bins);
    memset(c->kept, 0, n_kept * sizeof *c->kept);
    sl_status status = sl_local_stage_open(c->job.setup.gguf, &c->job.setup.lora, s, s->n_layers,
                                           &options, c->job.threads, &local);
    if (status == SL_OK) status = sl_model_setup_check_gate(&c->job.setup, local.tensors_hash);
    if (status == SL_OK) status = run_pieces(c, &local, &counts);
    sl_local_stage_close(&local);
    status = sl_ranks_agree(c->job.comm, status);
    if (status == SL_OK) status = sl_ranks_sum_doubles(c->job.comm, c->bins, BINS);
    return status == SL_OK ? sl_ranks_sum_doubles(c->job.comm, c->kept, n_kept) : status;
}

/* ---- one row of the table ---- */

/* The threshold that the last run's logits say keeps so much. */
static double threshold_for(const calibration *c, double keep)
{
    double total = 0, above = 0;
    for (size_t i = 0; i < BINS; i++) total += c->bins[i];
    size_t bin = BINS;
    while (bin > 0 && above < keep * total) above += c->bins[--bin];
    return logit_of(bin);
}

/* Of the last run's text, or of all texts, each counting alike. */
static double kept_of_text(const calibration *c, uint32_t text)
{
    double kept = 0,
           eligible = c->kept[(size_t)sl_train_texts_n(c->job.texts) * heads_of(c) + text];
    uint32_t n_gated = 0;
    for (uint32_t i = 0; i < heads_of(c); i++) {
        kept += c->kept[(size_t)text * heads_of(c) + i];
        n_gated += is_gated(c, i);
    }
    return kept / (eligible * n_gated);
}

static double kept_of_all(const calibration *c)
{
    double total = 0, all = 0;
    for (size_t i = 0; i < BINS; i++) total += c->bins[i];
    for (size_t i = 0; i < (size_t)sl_train_texts_n(c->job.texts) * heads_of(c); i++)
        all += c->kept[i];
    return all / total;
}

static void take_retention(const calibration *c, float *retention)
{
    uint32_t n_texts = sl_train_texts_n(c->job.texts);
    double eligible = 0;
    for (uint32_t i = 0; i < n_texts; i++) eligible += c->kept[(size_t)n_texts * heads_of(c) + i];
    for (uint32_t i = 0; i < heads_of(c); i++) {
        double kept = 0;
        for (uint32_t text = 0; text < n_texts; text++)
            kept += c->kept[(size_t)text * heads_of(c) + i];
        retention[i] = is_gated(c, i) ? (float)(kept / eligible) : 1;
    }
}

static sl_status tell_row(const calibration *c, const sl_gate_calibration *row)
{
    const char *names[SL_TRAIN_TEXTS_MAX];
    double measured[SL_TRAIN_TEXTS_MAX], layers[SL_GATE_LAYERS_MAX];
    char text[512];
    uint32_t n_texts = sl_train_texts_n(c->job.texts), n_kv = c->job.setup.shape.n_kv_heads;
    size_t used = 0;
    sl_append(text, sizeof text, &used, "window %u, keep %.4g: threshold %.3f keeps %.2f%%; of",
              row->window, (double)row->keep, (double)row->threshold, 100 * kept_of_all(c));
    for (uint32_t i = 0; i < n_texts; i++) {
        names[i] = sl_train_texts_name(c->job.texts, i);
        measured[i] = kept_of_text(c, i);
        sl_append(text, sizeof text, &used, " %s %.1f%%", names[i], 100 * measured[i]);
    }
    for (uint32_t i = 0; i < c->job.setup.shape.n_layers; i++) {
        layers[i] = is_gated(c, i * n_kv) ? 0 : NAN;
        for (uint32_t h = 0; h < n_kv; h++)
            layers[i] += (double)row->retention[i * n_kv + h] / n_kv;
    }
    sl_info("%s", text);
    const sl_train_calibrated told = {.keep = (double)row->keep,
                                      .window = row->window,
                                      .threshold = (double)row->threshold,
                                      .n_texts = n_texts,
                                      .texts = names,
                                      .measured = measured,
                                      .n_layers = c->job.setup.shape.n_layers,
                                      .retention = layers};
    return c->job.log ? sl_report_train_calibrated(c->job.log, &told) : SL_OK;
}

/* Find one row, starting from the logits of the last run at this window. */
static sl_status find_row(calibration *c, sl_policy *policy, double keep, sl_gate_calibration *row)
{
    sl_status status = SL_OK;
    policy->keep = keep;
    for (int turn = 0; turn < TURNS_MAX; turn++) {
        policy->threshold = (float)threshold_for(c, keep);
        status = run(c, policy);
        if (status != SL_OK || fabs(kept_of_all(c) - keep) < CLOSE_ENOUGH) break;
    }
    if (status != SL_OK) return status;
    take_retention(c, (float *)row->retention);
    policy->steer = STEER;
    policy->share = row->retention;
    status = run(c, policy); /* as it will serve */
    policy->steer = 0;
    if (status != SL_OK) return status;
    row->steer = STEER;
    row->keep = (float)keep;
    row->window = policy->window;
    row->threshold = policy->threshold;
    c->n_found++;
    c->n_runs = 0;
    return sl_ranks_agree(c->job.comm, sl_train_job_rank(&c->job) == 0 ? tell_row(c, row) : SL_OK);
}

/* ---- the table ---- */

static sl_status find_rows(calibration *c)
{
    const sl_settings *s = c->job.settings;
    sl_gate_calibration *row = c->rows;
    for (uint32_t w = 0; w < s->windows.n; w++) {
        sl_policy policy = {.kind = SL_POLICY_GATE,
                            .sinks = c->gate.sinks,
                            .window = s->windows.items[w],
                            .keep = 1,
                            .has_threshold = true,
                            .threshold = -INFINITY};
        sl_status status = run(c, &policy);
        for (uint32_t i = 0; status == SL_OK && i < s->rates.n; i++)
            status = find_row(c, &policy, s->rates.items[i], row++);
        if (status != SL_OK) return status;
    }
    return SL_OK;
}

static sl_status write_gate(calibration *c)
{
    if (sl_train_job_rank(&c->job) != 0) return SL_OK;
    const sl_gate_calibration *first = &c->gate.calibration[0];
    for (uint32_t i = 0; i < c->gate.n_calibration; i++)
        if (c->gate.calibration[i].window == c->gate.window &&
            (first->window != c->gate.window || c->gate.calibration[i].keep > first->keep))
            first = &c->gate.calibration[i];
    c->gate.threshold = first->threshold; /* without --keep: the mildest row of its own window */
    c->gate.keep = first->keep;
    return sl_gate_file_write(c->job.settings->output, &c->gate);
}

/* ---- opening ---- */

static sl_status take_room(calibration *c)
{
    uint32_t n_texts = sl_train_texts_n(c->job.texts);
    uint32_t n_rows = c->job.settings->windows.n * c->job.settings->rates.n;
    c->bins = malloc(BINS * sizeof *c->bins);
    c->kept = malloc(((size_t)n_texts * heads_of(c) + n_texts) * sizeof *c->kept);
    c->retention = calloc((size_t)n_rows * heads_of(c), sizeof *c->retention);
    c->rows = calloc(n_rows, sizeof *c->rows);
    bool good = c->bins && c->kept && c->retention && c->rows;
    if (!good) return SL_ERR_MEMORY;
    c->gate.calibration = c->rows; /* was the file's */
    c->gate.n_calibration = n_rows;
    for (uint32_t i = 0; i < n_rows; i++)
        c->rows[i].retention = c->retention + (size_t)i * heads_of(c);
    return SL_OK;
}

static sl_status open_log(calibration *c)
{
    if (!c->job.settings->train_log || sl_train_job_rank(&c->job) != 0) return SL_OK;
    c->job.log = fopen(c->job.settings->train_log, "ab");
    if (c->job.log) return SL_OK;
    return sl_file_error("write", c->job.settings->train_log);
}

/* Rates are of tokens that leave the window. */
static sl_status check_lengths(const calibration *c)
{
    const sl_counts *lengths = &c->job.settings->lengths;
    uint32_t visible = c->gate.sinks + sl_counts_most(&c->job.settings->windows);
    for (uint32_t i = 0; i < lengths->n; i++) {
        if (lengths->items[i] > visible) continue;
        sl_error("--lengths %u: no token of so short a piece leaves %u sinks and a window of %u",
                 lengths->items[i], c->gate.sinks, visible - c->gate.sinks);
        return SL_ERR_OPTION;
    }
    return SL_OK;
}

/* Thresholds are of the model with its adapter, so the gate file names it, or has named it. */
static sl_status take_adapter(calibration *c)
{
    const sl_lora *lora = &c->job.setup.lora;
    const char *gate = c->job.settings->gate;
    if (lora->n > 1) {
        sl_error("--lora: a gate file is for one adapter, not for %u: give one", lora->n);
        return SL_ERR_OPTION;
    }
    const uint64_t hash = lora->n == 1 ? sl_lora_file_hash(lora->items[0].file) : 0;
    if (c->gate.adapter_hash != 0 && c->gate.adapter_hash != hash) {
        sl_error("%s was tuned with the LoRA adapter of hash %016llx, which %s: give the adapter "
                 "that train sft wrote beside it with --lora",
                 gate, (unsigned long long)c->gate.adapter_hash,
                 lora->n > 0 ? "is not that of --lora" : "is not given");
        return SL_ERR_OPTION;
    }
    c->gate.adapter_hash = hash;
    return SL_OK;
}

static sl_status open_all(calibration *c)
{
    const sl_settings *s = c->job.settings;
    sl_status status = sl_model_setup_open(&c->job.setup,
                                           SL_SETUP_KERNELS | SL_SETUP_SHAPE | SL_SETUP_CHAT);
    if (status == SL_OK) status = sl_model_setup_open(&c->job.setup, SL_SETUP_GATE);
    if (status != SL_OK) return status;
    c->gate = *sl_model_setup_gate(&c->job.setup);
    if (s->sinks != SL_NOT_GIVEN) c->gate.sinks = s->sinks;
    status = check_lengths(c);
    if (status != SL_OK) return status;
    status = sl_model_setup_open(&c->job.setup, SL_SETUP_GATE_FITS | SL_SETUP_LORA);
    if (status == SL_OK) status = take_adapter(c);
    if (status == SL_OK) status = sl_train_job_open_texts(&c->job, 0);
    if (status == SL_OK) status = take_room(c);
    return status == SL_OK ? open_log(c) : status;
}

static void close_all(calibration *c)
{
    free(c->rows);
    free(c->retention);
    free(c->kept);
    free(c->bins);
}

/* Hosts may see other files under the same names. */
static sl_status check_ranks(const calibration *c)
{
    bool same;
    sl_status status = sl_ranks_same(c->job.comm, sl_lora_hash(&c->job.setup.lora), &same);
    if (status != SL_OK || same) return status;
    if (sl_train_job_rank(&c->job) == 0)
        sl_error("ranks have different adapters: --lora must be the same file on all hosts");
    return SL_ERR_OPTION;
}

static sl_status open_and_calibrate(void *context)
{
    calibration *c = context;
    sl_status status = sl_ranks_agree(c->job.comm, open_all(c));
    if (status == SL_OK) status = check_ranks(c);
    if (status == SL_OK) status = find_rows(c);
    if (status == SL_OK) status = sl_ranks_agree(c->job.comm, write_gate(c));
    close_all(c);
    return status;
}

static int train_calibrate_command(sl_settings *settings)
{
    if (!settings->model || !settings->gate || !settings->output || !settings->text) {
        sl_error("train calibrate needs a model (-m), gates (-g), texts (--text) and where the "
                 "gates with "
                 "thresholds go (-o)");
        return SL_EXIT_USAGE;
    }
    calibration c = {0};
    return sl_train_job_run(settings, &c.job, open_and_calibrate, &c);
}

static const sl_option MEASURING[] = {
    {"text", 0, "FILE,...", NULL, "texts to measure on", SL_SETS_LIST_READ(text)},
    {"pieces", 0, "N", "12", "pieces to measure, texts taking turns",
     SL_SETS_COUNT(pieces, 1, 1e6)},
    {"rates", 0, "X,...", "0.5,0.375,0.25,0.125,0.0625", "what shall be kept of eligible tokens",
     SL_SETS_REALS(rates, 1e-6, 1)},
    {"windows", 0, "N,...", "16,128", "latest tokens that stay visible",
     SL_SETS_COUNTS(windows, 1, 1 << 20)},
    {"log", 0, "FILE", NULL, "add what was found to a training run's log",
     SL_SETS_WRITTEN(train_log)},
    {0},
};

const sl_command sl_cmd_train_calibrate = {
    .name = "train calibrate",
    .summary = "find the thresholds at which gates keep what is asked",
    .usage = "-m MODEL -g GATE --text FILE,... -o GATE",
    .about =
        "Run gates over texts of several kinds and find, for each rate and window, the "
        "threshold that keeps so much in the mean of all pieces, layers and heads; a table of "
        "them goes into the gate file, with what each head kept. Use texts that the gates were "
        "not trained on, as long as what will be served.",
    .examples =
        "  sluice train calibrate -m model.gguf -g warm.gguf --text "
        "novel.txt,wiki.txt,chat.jsonl -o gate.gguf\n"
        "  sluice train calibrate -m model.gguf -g warm.gguf --text novel.txt --rates 0.5,0.25 "
        "--windows 128 -o gate.gguf",
    .groups = {sl_options_model, sl_options_lora, sl_options_chat_template, sl_options_seed,
               sl_train_options_output, sl_train_options_gate, sl_train_options_lengths, MEASURING,
               sl_options_threads, sl_options_sinks, sl_options_talk},
    .run = train_calibrate_command,
};
