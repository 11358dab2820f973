/* launch/options/settings.h - every setting of the command line, one table row each: name, short
 * key, default, help, environment variable, commands that take it. --help, parsing and environment
 * all read that table (settings.c); nothing else knows option names. The front door of
 * launch/options, which knows what may be asked for, not how it is done. */
#ifndef SL_SETTINGS_H
#define SL_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/status.h"

enum { SL_COUNTS_MAX = 16 };
#define SL_NOT_GIVEN UINT32_MAX
typedef struct {
    uint32_t n, items[SL_COUNTS_MAX];
} sl_counts;
/* Of those given: n > 0. */
static inline uint32_t sl_counts_most(const sl_counts *counts)
{
    uint32_t most = counts->items[0];
    for (uint32_t i = 1; i < counts->n; i++)
        if (counts->items[i] > most) most = counts->items[i];
    return most;
}
typedef struct {
    uint32_t n;
    double items[SL_COUNTS_MAX];
} sl_rates;

#define SL_EVAL_FORM_NAMES "cloze, labels" /* of --form */

/* Values after parsing; text is lent by argv or the environment. */
typedef struct {
    const char *model;
    uint32_t threads; /* 0: usable cores / ranks on this host */
    bool json, verbose, quiet;

    /* the pipeline: equal on all ranks */
    uint32_t chunk, context, sequences;
    uint64_t memory; /* 0: most of what the host has free */
    const char *codec, *kv, *gate, *policy;
    double keep;            /* 0: not given */
    const char *retention;  /* JSON of an earlier run */
    uint32_t sinks, window; /* SL_NOT_GIVEN */
    double peer_timeout_s;
    bool trust_model;

    /* batch */
    const char *input, *output;
    bool retry_errors, restart, redo_changed, keep_changed;

    /* run */
    const char *prompt, *file;
    uint32_t n_tokens;
    bool chat;
    double temperature, top_p, min_p;
    uint32_t top_k;
    uint64_t seed;

    const char *text, *keep_out; /* eval */
    const char *tasks, *form;
    uint32_t shots, score;
    uint32_t limit;

    /* bench */
    sl_counts prompts, generates, depths;
    uint32_t repeat;
    bool compare, profile;

    bool sums; /* show model */

    const char *hosts; /* plan */

    sl_counts layers; /* show cache */
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

    bool decode, no_special; /* tokenize */

    char **argv;          /* the options as they were given, behind the command's name */
    const char *words[4]; /* arguments that are no options */
    uint32_t n_words;
} sl_settings;

typedef enum {
    SL_COMMAND_BATCH = 1,
    SL_COMMAND_RUN = 2,
    SL_COMMAND_EVAL_PERPLEXITY = 4,
    SL_COMMAND_TOKENIZE = 8,
    SL_COMMAND_SHOW = 16,
    SL_COMMAND_BENCH = 32,
    SL_COMMAND_BENCH_CODEC = 64,
    SL_COMMAND_BENCH_LINK = 128,
    SL_COMMAND_SHOW_CACHE = 256,
    SL_COMMAND_TRAIN_INIT = 512,
    SL_COMMAND_PLAN = 1024,
    SL_COMMAND_BENCH_FIGURE3 = 2048,
    SL_COMMAND_TRAIN_WARM = 4096,
    SL_COMMAND_TRAIN_CALIBRATE = 8192,
    SL_COMMAND_EVAL_TASKS = 16384,
    SL_COMMAND_EVAL_NEEDLE = 32768,
    SL_COMMAND_EVAL_AGREEMENT = 65536,
} sl_command;

/* Parse argv (argv[0] is the command's name) for one command: defaults, then SLUICE_* variables,
 * then options. `usage` and `about` open --help, `examples` close it.
 * SL_END: --help was asked for and printed. SL_ERR_OPTION: logged with what was expected. */
sl_status sl_settings_parse(sl_command command, const char *usage, const char *about,
                            const char *examples, int argc, char **argv, sl_settings *settings_out);

/* "512M", "8G", a plain number: bytes. false: it is no size. */
bool sl_settings_size(const char *text, uint64_t *bytes_out);

/* A row of the table, for the pages made from it. */
typedef struct {
    const char *name;
    char letter;                           /* 0: it has none */
    const char *argument, *initial, *help; /* NULL: takes none; has no default */
    bool file;                             /* the argument is a file's name */
} sl_option;
/* The index-th option of a command, in the table's order; false: there are no more. */
bool sl_settings_option(sl_command command, size_t index, sl_option *option_out);

#endif
