/* launch/options/settings.h - what a command line asks for, after parsing: plain values that
 * commands read. Which command takes which is said by options (option.h), not here. */
#ifndef SL_SETTINGS_H
#define SL_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/status.h"

#define SL_NOT_GIVEN UINT32_MAX

/* Numbers with commas between. */
enum { SL_COUNTS_MAX = 16 };
typedef struct {
    uint32_t n, items[SL_COUNTS_MAX];
} sl_counts;
typedef struct {
    uint32_t n;
    double items[SL_COUNTS_MAX];
} sl_rates;

/* Of those given: n > 0. */
static inline uint32_t sl_counts_most(const sl_counts *counts)
{
    uint32_t most = counts->items[0];
    for (uint32_t i = 1; i < counts->n; i++)
        if (counts->items[i] > most) most = counts->items[i];
    return most;
}

static inline uint32_t sl_counts_least(const sl_counts *counts)
{
    uint32_t least = counts->items[0];
    for (uint32_t i = 1; i < counts->n; i++)
        if (counts->items[i] < least) least = counts->items[i];
    return least;
}

enum { SL_WRITTEN_MAX = 4 };

/* Text is lent by argv or the environment. A setting that several commands use stands with the
 * first. */
typedef struct {
    const char *model;
    uint32_t threads; /* 0: usable cores / ranks on this host */
    bool json, verbose, quiet;

    /* the pipeline: equal on all ranks */
    uint32_t chunk, context, sequences;
    uint64_t memory; /* 0: most of what the host has free */
    const char *codec, *kv, *gate, *policy;
    const char *lora;       /* FILE[=SCALE],...; NULL: no adapters */
    double keep;            /* 0: not given */
    const char *retention;  /* JSON of an earlier run */
    uint32_t sinks, window; /* SL_NOT_GIVEN */
    bool same_visible;      /* not given, they are the gate's under every policy: for comparisons */
    double peer_timeout_s;
    bool trust_model;

    /* batch */
    const char *input, *output;
    bool retry_errors, restart, redo_changed, keep_changed;

    /* run */
    const char *prompt, *file;
    uint32_t n_tokens;
    bool chat;
    const char *chat_template; /* NULL: the model's own */
    const char *template_date; /* "2025-03-04"; NULL: templates are told none */
    double temperature, top_p, min_p;
    uint32_t top_k;
    uint64_t seed;

    /* eval */
    const char *text, *keep_out;
    const char *tasks, *form, *policies;
    uint32_t shots, score;
    uint32_t limit;

    /* bench */
    sl_counts prompts, generates, depths;
    uint32_t repeat;
    bool compare, profile;

    /* show model */
    bool sums;

    /* plan */
    const char *hosts;

    /* show cache */
    sl_counts layers;
    const char *format;

    /* train init */
    const char *span, *fill, *bias, *type;
    sl_counts gate_heads, gate_width, gate_hidden; /* of layers in as many runs, first to last */
    bool own_kv;

    /* train warm, train calibrate; text is the eval's */
    sl_counts lengths, ahead, windows;
    sl_rates rates;
    uint32_t ridge_pieces, pieces;
    double rate, repeat_share, checkpoint_minutes;
    const char *checkpoint, *train_log;

    /* train cpt */
    const char *loss;
    double eviction_loss, softness, clip, mean_share;
    uint32_t rates_each; /* 0: not given */

    /* train sft */
    const char *records, *lora_maps;
    uint32_t batch, lora_rank;
    double lora_alpha;

    /* tokenize */
    bool decode, no_special;

    char **argv;          /* as it was given: the command's word, its options, NULL */
    const char *words[4]; /* arguments that are no options */
    uint32_t n_words;
    const struct sl_option *written[SL_WRITTEN_MAX]; /* those given that name files to write */
    uint32_t n_written;
} sl_settings;

#endif
