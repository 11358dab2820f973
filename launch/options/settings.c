/* launch/options/settings.c - the table of settings and argp over it. */
#include "launch/options/settings.h"

#include <argp.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/codec/codec.h"
#include "launch/machine/launcher.h"
#include "runtime/base/log.h"
#include "runtime/base/plain.h"
#include "runtime/gate/gate_file.h"
#include "runtime/gate/policy.h"
#include "runtime/kernels/kv_layout.h"

typedef enum {
    KIND_TEXT,
    KIND_COUNT,
    KIND_COUNTS,
    KIND_REALS,
    KIND_SEED,
    KIND_SIZE,
    KIND_REAL,
    KIND_FLAG
} kind;

typedef struct {
    const char *name;
    int key; /* a short option's letter, or 0 */
    const char *argument, *initial, *help;
    kind kind;
    size_t offset;
    unsigned commands;
    double least, most; /* of COUNT, COUNTS and REAL */
} setting;

enum {
    B = SL_COMMAND_BATCH,
    R = SL_COMMAND_RUN,
    E = SL_COMMAND_EVAL_PERPLEXITY,
    T = SL_COMMAND_TOKENIZE,
    S = SL_COMMAND_SHOW,
    N = SL_COMMAND_BENCH,
    C = SL_COMMAND_BENCH_CODEC,
    L = SL_COMMAND_BENCH_LINK,
    W = SL_COMMAND_SHOW_CACHE,
    I = SL_COMMAND_TRAIN_INIT,
    P = SL_COMMAND_PLAN,
    F = SL_COMMAND_BENCH_FIGURE3,
    A = SL_COMMAND_TRAIN_WARM,
    K = SL_COMMAND_TRAIN_CALIBRATE,
    TRAIN = A | K,
    Q = SL_COMMAND_EVAL_TASKS,
    H = SL_COMMAND_EVAL_NEEDLE,
    G = SL_COMMAND_EVAL_AGREEMENT,
    SERVING = B | R | E | Q | H | G,
    PIPELINE = SERVING | N,
    ALL = PIPELINE | T | S | C | L | W | I | P | F | TRAIN,
    POLICIED = PIPELINE | W | P | F,
};

#define AT(member) offsetof(sl_settings, member)

static const setting SETTINGS[] = {
    {"model", 'm', "FILE", NULL, "the model, a GGUF file", KIND_TEXT, AT(model),
     PIPELINE | T | C | L | W | I | P | F | TRAIN, 0, 0},
    {"input", 'i', "FILE", NULL, "requests, one JSON object a line", KIND_TEXT, AT(input), B, 0, 0},
    {"output", 'o', "FILE", NULL, "results; ids already there are not done again", KIND_TEXT,
     AT(output), B, 0, 0},
    {"retry-errors", 0, NULL, NULL, "do requests again whose result is an error", KIND_FLAG,
     AT(retry_errors), B, 0, 0},
    {"redo-changed", 0, NULL, NULL, "do requests again that were edited since they were answered",
     KIND_FLAG, AT(redo_changed), B, 0, 0},
    {"keep-changed", 0, NULL, NULL, "keep the old results of edited requests", KIND_FLAG,
     AT(keep_changed), B, 0, 0},
    {"restart", 0, NULL, NULL, "begin anew; an OUT that is there is kept as OUT.1", KIND_FLAG,
     AT(restart), B, 0, 0},
    {"hosts", 0, "FILE", NULL, "hosts as mpirun takes them, with # memory=SIZE", KIND_TEXT,
     AT(hosts), P, 0, 0},
    {"output", 'o', "NAME", NULL, "pictures and numbers are named after it", KIND_TEXT, AT(output),
     W | F, 0, 0},
    {"prompt", 'p', "TEXT", NULL, "the prompt", KIND_TEXT, AT(prompt), R | W, 0, 0},
    {"file", 'f', "FILE", NULL, "read the prompt from FILE (- is stdin)", KIND_TEXT, AT(file),
     R | W, 0, 0},
    {"layers", 0, "N,...", NULL, "draw attention maps of these layers", KIND_COUNTS, AT(layers), W,
     0, 1023},
    {"format", 0, "NAME", "png", "of pictures: png, svg", KIND_TEXT, AT(format), W | F, 0, 0},
    {"n-tokens", 'n', "N", "128", "tokens to generate at most", KIND_COUNT, AT(n_tokens), R, 1,
     1e9},
    {"chat", 0, NULL, NULL, "apply the model's chat template", KIND_FLAG, AT(chat), R, 0, 0},
    {"temperature", 0, "X", "0", "0 takes the most likely token", KIND_REAL, AT(temperature), R, 0,
     100},
    {"top-p", 0, "X", "1", "draw from the likeliest tokens that reach X", KIND_REAL, AT(top_p), R,
     0, 1},
    {"top-k", 0, "N", "0", "draw from the N likeliest; 0 is off", KIND_COUNT, AT(top_k), R, 0, 1e9},
    {"min-p", 0, "X", "0", "drop tokens below X times the likeliest", KIND_REAL, AT(min_p), R, 0,
     1},
    {"seed", 0, "N", "0", "of random draws", KIND_SEED, AT(seed), R | I | TRAIN | H, 0, 0},
    {"prompt", 'p', "N,...", "512", "prompts to time, in tokens; 0: none", KIND_COUNTS, AT(prompts),
     N, 0, 1 << 24},
    {"prompt", 'p', "N,...", "512,1024,2048,4096,8192,32768", "lengths of prompts, in tokens",
     KIND_COUNTS, AT(prompts), F, 1, 1 << 24},
    {"n-tokens", 'n', "N,...", "32", "tokens to generate and time; 0: none", KIND_COUNTS,
     AT(generates), N, 0, 1 << 24},
    {"depth", 'd', "N,...", "0", "tokens that are in the cache before", KIND_COUNTS, AT(depths), N,
     0, 1 << 24},
    {"sequences", 0, "N", "1", "sequences that generate together", KIND_COUNT, AT(sequences), N, 1,
     256},
    {"repeat", 'r', "N", "5", "times each is measured", KIND_COUNT, AT(repeat), N | F, 1, 1000},
    {"profile", 0, NULL, NULL, "where the time goes, by step, against what the machine can do",
     KIND_FLAG, AT(profile), N, 0, 0},
    {"compare", 0, NULL, NULL, "two files of --json results: what changed", KIND_FLAG, AT(compare),
     N, 0, 0},
    {"text", 0, "FILE", NULL, "the text to evaluate on", KIND_TEXT, AT(text), E | G, 0, 0},
    {"limit", 0, "N", "0", "pieces, evenly spaced; 0: all", KIND_COUNT, AT(limit), E | G, 0, 1e9},
    {"score", 0, "N", "0", "tokens at the end of each piece that are scored; 0: half", KIND_COUNT,
     AT(score), E | G, 0, 1 << 24},
    {"text", 0, "FILE", NULL, "the text to hide things in", KIND_TEXT, AT(text), H, 0, 0},
    {"lengths", 0, "N,...", "1024,2048,4096,8064", "of prompts, in tokens", KIND_COUNTS,
     AT(lengths), H, 256, 1 << 20},
    {"depths", 0, "N,...", "10,50,90", "where things are hidden, in percent of the text",
     KIND_COUNTS, AT(depths), H, 0, 100},
    {"limit", 0, "N", "4", "trials of each kind, length and depth", KIND_COUNT, AT(limit), H, 1,
     1e6},
    {"text", 0, "FILE", NULL, "take activations of this text", KIND_TEXT, AT(text), C, 0, 0},
    {"tasks", 0, "FILE,...", NULL, "questions with several answers", KIND_TEXT, AT(tasks), Q, 0, 0},
    {"limit", 0, "N", "0", "records of each file, evenly spaced; 0: all", KIND_COUNT, AT(limit), Q,
     0, 1e9},
    {"form", 0, "NAME", "cloze", "how they are asked: " SL_EVAL_FORM_NAMES, KIND_TEXT, AT(form), Q,
     0, 0},
    {"shots", 0, "N", "0", "other questions of the file, with their answers, before each",
     KIND_COUNT, AT(shots), Q, 0, 256},
    {"keep-out", 0, "FILE", NULL, "write who was kept: uint8 [layer][kv_head][token], a .npy file",
     KIND_TEXT, AT(keep_out), E, 0, 0},
    {"output", 'o', "FILE", NULL, "the gate file to write", KIND_TEXT, AT(output), I | TRAIN, 0, 0},
    {"output", 'o', "FILE", NULL, "draw a training log, to a .png or .svg", KIND_TEXT, AT(output),
     S, 0, 0},
    {"gate", 'g', "FILE", NULL, "the gate file to start from", KIND_TEXT, AT(gate), TRAIN, 0, 0},
    {"text", 0, "FILE,...", NULL, "texts to learn from", KIND_TEXT, AT(text), A, 0, 0},
    {"lengths", 0, "N,...", "8192", "tokens of the pieces, taking turns", KIND_COUNTS, AT(lengths),
     TRAIN, 64, 1 << 20},
    {"ridge-pieces", 0, "N", "32", "pieces for ridge regression; 0: start from the gates' weights",
     KIND_COUNT, AT(ridge_pieces), A, 0, 1e6},
    {"pieces", 0, "N", "96", "pieces for AdamW after it", KIND_COUNT, AT(pieces), A, 0, 1e6},
    {"text", 0, "FILE,...", NULL, "texts to measure on", KIND_TEXT, AT(text), K, 0, 0},
    {"pieces", 0, "N", "12", "pieces to measure, texts taking turns", KIND_COUNT, AT(pieces), K, 1,
     1e6},
    {"rates", 0, "X,...", "0.5,0.375,0.25,0.125,0.0625", "what shall be kept of eligible tokens",
     KIND_REALS, AT(rates), K, 1e-6, 1},
    {"windows", 0, "N,...", "16,128", "latest tokens that stay visible", KIND_COUNTS, AT(windows),
     K, 1, 1 << 20},
    {"rate", 0, "X", "0.001", "AdamW's learning rate at its highest", KIND_REAL, AT(rate), A, 1e-9,
     1},
    {"ahead", 0, "N,...", "15,32", "look-aheads of window gates, one for each step by chance",
     KIND_COUNTS, AT(ahead), A, 0, 1 << 20},
    {"repeat", 0, "X", "0.1", "of the pieces, so many are a passage and the order to repeat it",
     KIND_REAL, AT(repeat_share), A, 0, 1},
    {"checkpoint", 0, "FILE", NULL, "where a stopped run goes on from [OUTPUT.checkpoint]",
     KIND_TEXT, AT(checkpoint), A, 0, 0},
    {"checkpoint-minutes", 0, "X", "3", "between checkpoints", KIND_REAL, AT(checkpoint_minutes), A,
     0, 1e6},
    {"log", 0, "FILE", NULL, "the run's log, JSON lines [OUTPUT.log.jsonl]", KIND_TEXT,
     AT(train_log), A, 0, 0},
    {"log", 0, "FILE", NULL, "add what was found to a training run's log", KIND_TEXT, AT(train_log),
     K, 0, 0},
    {"span", 0, "SPAN", "window:96,32", "what gates see: window:BACK,AHEAD, causal, prompt",
     KIND_TEXT, AT(span), I, 0, 0},
    {"gate-heads", 0, "N,...", "3",
     "heads of each gate; 0: linear. More numbers: of as many runs of layers, first to last",
     KIND_COUNTS, AT(gate_heads), I, 0, SL_GATE_HEADS_MAX},
    {"gate-width", 0, "N,...", "16", "width of a gate head", KIND_COUNTS, AT(gate_width), I, 16,
     SL_GATE_WIDTH_MAX},
    {"gate-hidden", 0, "N,...", "0", "units of a hidden layer; 0: none", KIND_COUNTS,
     AT(gate_hidden), I, 0, SL_GATE_HIDDEN_MAX},
    {"own-kv", 0, NULL, NULL, "each gate head has keys and values of its own", KIND_FLAG,
     AT(own_kv), I, 0, 0},
    {"fill", 0, "NAME", "random", "weights: random, constant", KIND_TEXT, AT(fill), I, 0, 0},
    {"bias", 0, "X[,Y]", "0", "of the logits, from X in the first layer to Y in the last",
     KIND_TEXT, AT(bias), I, 0, 0},
    {"type", 0, "NAME", "q8_0", "of the weights: q8_0, f16", KIND_TEXT, AT(type), I | A, 0, 0},
    {"decode", 0, NULL, NULL, "ids on stdin to text", KIND_FLAG, AT(decode), T, 0, 0},
    {"no-special", 0, NULL, NULL, "special tokens in the text are text", KIND_FLAG, AT(no_special),
     T, 0, 0},
    {"context", 'c', "N", "0", "longest sequence in tokens; 0 is the model's (eval: 512)",
     KIND_COUNT, AT(context), SERVING | P, 0, 1 << 24},
    {"threads", 't', "N", "0", "compute threads of a rank; 0: cores or quota / ranks on a host",
     KIND_COUNT, AT(threads), PIPELINE | P | C | W | F | TRAIN, 0, 1024},
    {"chunk", 0, "N", "256", "prompt tokens that travel together", KIND_COUNT, AT(chunk),
     PIPELINE | P | C | L | F, 1, 4096},
    {"sequences", 0, "N", "16", "sequences computed at the same time", KIND_COUNT, AT(sequences),
     B | E | Q | H | P, 1, 1024},
    {"memory", 0, "SIZE", "0", "of each rank, e.g. 8G; 0: 80% of what is free", KIND_SIZE,
     AT(memory), PIPELINE | P, 0, 0},
    {"codec", 0, "NAME", "f32", "of activations between ranks: " SL_CODEC_NAMES, KIND_TEXT,
     AT(codec), PIPELINE, 0, 0},
    {"kv", 0, "NAME", "auto", "of keys and values in the cache: " SL_KV_NAMES, KIND_TEXT, AT(kv),
     PIPELINE | P | F, 0, 0},
    {"gate", 'g', "FILE", NULL, "Attention-Gates that decide what the cache keeps", KIND_TEXT,
     AT(gate), POLICIED, 0, 0},
    {"policy", 0, "NAME", NULL,
     "what the cache keeps: " SL_POLICY_NAMES " [gate with -g, else full]", KIND_TEXT, AT(policy),
     POLICIED, 0, 0},
    {"keep", 0, "RATE", NULL, "kept of tokens outside sinks and window [the gate's, else 0.5]",
     KIND_REAL, AT(keep), POLICIED, 1e-6, 1},
    {"retention", 0, "FILE", NULL, "what each layer kept in a run before: --json of batch or eval",
     KIND_TEXT, AT(retention), PIPELINE | P, 0, 0},
    {"sinks", 0, "N", NULL, "first tokens that stay visible [the gate's, else 4]", KIND_COUNT,
     AT(sinks), POLICIED | I | TRAIN, 0, 1 << 20},
    {"window", 0, "N", NULL, "latest tokens that stay visible [the gate's, else 128]", KIND_COUNT,
     AT(window), POLICIED | I | A, 1, 1 << 20},
    {"peer-timeout", 0, "S", "5", "seconds of silence after which a rank is lost", KIND_REAL,
     AT(peer_timeout_s), PIPELINE, 1, 86400},
    {"trust-model", 0, NULL, NULL, "do not read rank 0's file to compare copies", KIND_FLAG,
     AT(trust_model), PIPELINE, 0, 0},
    {"sums", 0, NULL, NULL,
     "what each layer's bytes hash to; kept in FILE.sums, or compared with it if it is there",
     KIND_FLAG, AT(sums), S, 0, 0},
    {"json", 0, NULL, NULL, "one JSON object on stdout", KIND_FLAG, AT(json), ALL, 0, 0},
    {"verbose", 'v', NULL, NULL, "say more", KIND_FLAG, AT(verbose), ALL, 0, 0},
    {"quiet", 'q', NULL, NULL, "say only errors", KIND_FLAG, AT(quiet), ALL, 0, 0},
};
enum { N_SETTINGS = sizeof SETTINGS / sizeof *SETTINGS, FIRST_KEY = 0x100 };
enum { TEXT_BYTES_MAX = 2048 };
enum { USAGE_KEY = 0x80 }; /* argp's complaints advise --usage */

/* ---- values ---- */

static sl_status expected(const char *source, const char *value, const char *what)
{
    sl_error("%s: '%s' is not %s", source, value, what);
    return SL_ERR_OPTION;
}

static sl_status set_number(const setting *s, const char *source, const char *value, void *place)
{
    char *end, what[96];
    errno = 0;
    double number = strtod(value, &end);
    snprintf(what, sizeof what, "%s from %.10g to %.10g",
             s->kind == KIND_REAL ? "a number" : "a whole number", s->least, s->most);
    if (end == value || *end || errno || !(number >= s->least && number <= s->most))
        return expected(source, value, what);
    if (s->kind == KIND_REAL) {
        *(double *)place = number;
        return SL_OK;
    }
    if (number != floor(number) || number > UINT32_MAX) return expected(source, value, what);
    *(uint32_t *)place = (uint32_t)number;
    return SL_OK;
}

bool sl_settings_size(const char *text, uint64_t *bytes_out)
{
    static const char UNITS[] = "KMGT";
    char *end;
    errno = 0;
    double number = strtod(text, &end);
    const char *unit = *end ? strchr(UNITS, toupper((unsigned char)*end)) : NULL;
    for (const char *u = UNITS; unit && u <= unit; u++) number *= 1024;
    bool is_size = end != text && !errno && (!*end || (unit && !end[1]));
    if (!is_size || !(number >= 0 && number <= 1e15)) return false;
    *bytes_out = (uint64_t)number;
    return true;
}

/* Numbers with commas between, into counts or rates. */
static sl_status set_list(const setting *s, const char *source, const char *value, void *place)
{
    bool whole = s->kind == KIND_COUNTS;
    sl_counts *counts = place;
    sl_rates *rates = place;
    setting one = *s;
    char item[32], what[96];
    one.kind = whole ? KIND_COUNT : KIND_REAL;
    snprintf(what, sizeof what, "up to %d %s from %.10g to %.10g with commas between",
             SL_COUNTS_MAX, whole ? "whole numbers" : "numbers", s->least, s->most);
    uint32_t *n = whole ? &counts->n : &rates->n;
    *n = 0;
    for (const char *at = value;; at++) {
        size_t bytes = strcspn(at, ",");
        if (*n == SL_COUNTS_MAX || bytes >= sizeof item) return expected(source, value, what);
        snprintf(item, sizeof item, "%.*s", (int)bytes, at);
        void *slot = whole ? (void *)&counts->items[*n] : (void *)&rates->items[*n];
        sl_status status = set_number(&one, source, item, slot);
        if (status != SL_OK) return status;
        ++*n;
        at += bytes;
        if (!*at) return SL_OK;
    }
}

/* `source` is where the value comes from, for messages: "--name" or "SLUICE_NAME". */
static sl_status set_value(const setting *s, const char *source, const char *value,
                           sl_settings *settings)
{
    void *place = (char *)settings + s->offset;
    switch (s->kind) {
    case KIND_TEXT: *(const char **)place = value; return SL_OK;
    case KIND_FLAG: *(bool *)place = value == NULL || strcmp(value, "0") != 0; return SL_OK;
    case KIND_SIZE:
        return sl_settings_size(value, place) ? SL_OK
                                              : expected(source, value, "a size like 512M or 8G");
    case KIND_SEED: {
        char *end;
        errno = 0;
        *(uint64_t *)place = strtoull(value, &end, 0);
        return end == value || *end || errno ? expected(source, value, "a whole number") : SL_OK;
    }
    case KIND_COUNTS:
    case KIND_REALS: return set_list(s, source, value, place);
    case KIND_COUNT:
    case KIND_REAL: return set_number(s, source, value, place);
    }
    return SL_ERR_OPTION;
}

/* Defaults, then SLUICE_NAME_LIKE_THIS. */
static sl_status set_before_options(sl_command command, sl_settings *settings)
{
    for (int i = 0; i < N_SETTINGS; i++) {
        const setting *s = &SETTINGS[i];
        if (!(s->commands & command)) continue;
        char variable[64] = "SLUICE_";
        size_t n = strlen(variable);
        for (const char *c = s->name; *c && n + 1 < sizeof variable; c++)
            variable[n++] = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
        variable[n] = '\0';
        const char *value = s->kind == KIND_COUNTS ? NULL
                                                   : getenv(variable); /* run's have the names */
        if (value && !*value) value = NULL;
        sl_status status = SL_OK;
        if (s->initial) status = set_value(s, s->name, s->initial, settings);
        if (status == SL_OK && value) status = set_value(s, variable, value, settings);
        if (status != SL_OK) return status;
    }
    return SL_OK;
}

/* ---- argp ---- */

typedef struct {
    sl_command command;
    sl_settings *settings;
    sl_status status;
} parsing;

static int key_of(int i) { return SETTINGS[i].key ? SETTINGS[i].key : FIRST_KEY + i; }

static error_t on_option(int key, char *value, struct argp_state *state)
{
    parsing *p = state->input;
    if (key == ARGP_KEY_ARG) {
        size_t room = sizeof p->settings->words / sizeof *p->settings->words;
        if (p->settings->n_words == room) return ARGP_ERR_UNKNOWN;
        p->settings->words[p->settings->n_words++] = value;
        return 0;
    }
    if (key == '?' || key == USAGE_KEY) {
        unsigned what = key == '?' ? ARGP_HELP_SHORT_USAGE | ARGP_HELP_LONG | ARGP_HELP_DOC
                                   : ARGP_HELP_USAGE;
        if (sl_launcher_prints()) argp_state_help(state, stdout, what);
        p->status = SL_END;
        return ECANCELED;
    }
    for (int i = 0; i < N_SETTINGS; i++) {
        if (key != key_of(i) || !(SETTINGS[i].commands & p->command)) continue;
        char source[40];
        snprintf(source, sizeof source, "--%s", SETTINGS[i].name);
        p->status = set_value(&SETTINGS[i], source, value, p->settings);
        return p->status == SL_OK ? 0 : ECANCELED;
    }
    return ARGP_ERR_UNKNOWN;
}

/* argp_parse, whose complaints quote the words of a command line as they are: collected, and shown
 * as plain.h has it. Both argp and getopt write to the variable `stderr`; sl_error does not. */
static error_t parse_plainly(const struct argp *argp, int argc, char **argv, unsigned flags,
                             parsing *p)
{
    char *said = NULL;
    size_t bytes = 0;
    FILE *shown = stderr, *collected = open_memstream(&said, &bytes);
    if (collected) stderr = collected;
    error_t error = argp_parse(argp, argc, argv, flags, NULL, p);
    stderr = shown;
    if (collected && fclose(collected) == 0) sl_plain_write(stderr, said, bytes);
    free(said);
    return error;
}

static void with_default(const setting *s, char *out, size_t out_bytes)
{
    bool tell = s->initial && strcmp(s->initial, "0") != 0;
    if (tell)
        snprintf(out, out_bytes, "%s [%s]", s->help, s->initial);
    else
        snprintf(out, out_bytes, "%s", s->help);
}

static sl_status parse(sl_command command, const char *usage, const char *about,
                       const char *examples, int argc, char **argv, sl_settings *settings_out)
{
    *settings_out = (sl_settings){.sinks = SL_NOT_GIVEN, .window = SL_NOT_GIVEN};
    sl_status status = set_before_options(command, settings_out);
    if (status != SL_OK) return status;

    char helps[N_SETTINGS][160];
    struct argp_option options[N_SETTINGS + 3] = {{0}};
    int n = 0;
    for (int i = 0; i < N_SETTINGS; i++) {
        const setting *s = &SETTINGS[i];
        if (!(s->commands & command)) continue;
        with_default(s, helps[i], sizeof helps[i]);
        options[n++] = (struct argp_option){
            .name = s->name, .key = key_of(i), .arg = s->argument, .doc = helps[i]};
    }
    options[n++] = (struct argp_option){.name = "help", .key = '?', .doc = "this text"};
    options[n] = (struct argp_option){.name = "usage", .key = USAGE_KEY, .flags = OPTION_HIDDEN};
    char text[TEXT_BYTES_MAX]; /* argp's form: \v stands where the options go */
    int text_bytes = snprintf(text, sizeof text, "%s\v%s", about, examples);
    SL_ASSERT(text_bytes < (int)sizeof text);
    struct argp argp = {.options = options, .parser = on_option, .args_doc = usage, .doc = text};
    parsing p = {.command = command, .settings = settings_out, .status = SL_OK};
    char name[32], *command_name = argv[0];
    snprintf(name, sizeof name, "sluice %s", command_name);
    argv[0] = name; /* what "Usage:" and argp's own complaints begin with */
    unsigned flags = ARGP_NO_HELP | ARGP_NO_EXIT | (sl_launcher_prints() ? 0 : ARGP_NO_ERRS);
    setenv("ARGP_HELP_FMT", "no-dup-args-note,rmargin=96", 0);
    error_t error = parse_plainly(&argp, argc, argv, flags, &p);
    argv[0] = command_name;
    settings_out->argv = argv;
    if (p.status != SL_OK) return p.status;
    if (error) return SL_ERR_OPTION; /* argp has said what was wrong */
    if (settings_out->n_words > 0 && !(command & (S | N))) {
        sl_error("'%s' is no option: see sluice %s --help", settings_out->words[0], command_name);
        return SL_ERR_OPTION;
    }
    return SL_OK;
}

sl_status sl_settings_parse(sl_command command, const char *usage, const char *about,
                            const char *examples, int argc, char **argv, sl_settings *settings_out)
{
    if (!sl_launcher_prints()) sl_log_set_level(SL_LOG_NONE); /* all ranks would say the same */
    sl_status status = parse(command, usage, about, examples, argc, argv, settings_out);
    sl_log_set_level(settings_out->quiet     ? SL_LOG_ERROR
                     : settings_out->verbose ? SL_LOG_DEBUG
                                             : SL_LOG_INFO);
    return status;
}

bool sl_settings_option(sl_command command, size_t index, sl_option *option_out)
{
    for (int i = 0; i < N_SETTINGS; i++) {
        const setting *s = &SETTINGS[i];
        if (!(s->commands & command) || index-- > 0) continue;
        *option_out = (sl_option){.name = s->name,
                                  .letter = (char)s->key,
                                  .argument = s->argument,
                                  .initial = s->initial,
                                  .help = s->help,
                                  .file = s->argument && !strcmp(s->argument, "FILE")};
        return true;
    }
    return false;
}
