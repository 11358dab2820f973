/* tests/support/synth_options.c - getopt_long over one table. */
#include "tests/support/synth_options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/matrix_types.h"
#include "tests/support/synth_vocab.h"

enum { SEED, LAYERS, WIDTH, FFN, HEADS, KV_HEADS, HEAD_DIM, VOCAB, CONTEXT, ROPE_BASE };
enum { TYPE = 100, ATTENTION_TYPE, FFN_TYPE, HEAD_TYPE, TIED, UNTIED, BIASED };
enum { ROPE_SCALING = 200, ROPE_FACTOR, ROPE_CONTEXT, ROPE_LLAMA3_KEYS, ROPE_FREQS };
enum { SPLIT = 300, ARCHITECTURE, WINDOW, WINDOW_PATTERN, KEY_BIAS, VECTOR_TYPE };

static const struct option options[] = {
    {"seed", required_argument, NULL, SEED},
    {"layers", required_argument, NULL, LAYERS},
    {"width", required_argument, NULL, WIDTH},
    {"ffn", required_argument, NULL, FFN},
    {"heads", required_argument, NULL, HEADS},
    {"kv-heads", required_argument, NULL, KV_HEADS},
    {"head-dim", required_argument, NULL, HEAD_DIM},
    {"vocab", required_argument, NULL, VOCAB},
    {"context", required_argument, NULL, CONTEXT},
    {"rope-base", required_argument, NULL, ROPE_BASE},
    {"type", required_argument, NULL, TYPE},
    {"attention-type", required_argument, NULL, ATTENTION_TYPE},
    {"ffn-type", required_argument, NULL, FFN_TYPE},
    {"head", required_argument, NULL, HEAD_TYPE},
    {"tied", no_argument, NULL, TIED},
    {"untied", no_argument, NULL, UNTIED},
    {"biased", no_argument, NULL, BIASED},
    {"rope-scaling", required_argument, NULL, ROPE_SCALING},
    {"rope-factor", required_argument, NULL, ROPE_FACTOR},
    {"rope-context", required_argument, NULL, ROPE_CONTEXT},
    {"rope-llama3-keys", no_argument, NULL, ROPE_LLAMA3_KEYS},
    {"rope-freqs", no_argument, NULL, ROPE_FREQS},
    {"split", required_argument, NULL, SPLIT},
    {"architecture", required_argument, NULL, ARCHITECTURE},
    {"window", required_argument, NULL, WINDOW},
    {"window-pattern", required_argument, NULL, WINDOW_PATTERN},
    {"vector-type", required_argument, NULL, VECTOR_TYPE},
    {"key-bias", required_argument, NULL, KEY_BIAS},
    {0},
};

static _Noreturn void usage(const char *why)
{
    fprintf(stderr, "synthetic model: %s\noptions:", why);
    for (const struct option *o = options; o->name; o++)
        fprintf(stderr, " [--%s%s]", o->name, o->has_arg ? " X" : "");
    char types[SL_TYPE_NAMES_MAX];
    sl_type_names(SL_TYPE_OF_MATRICES, types, sizeof types);
    fprintf(stderr, "\ntypes: %s\n", types);
    exit(2);
}

static uint32_t number(const char *text)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (end == text || *end || value > 1u << 30) usage("not a number in range");
    return (uint32_t)value;
}

static uint32_t type_number(const char *name)
{
    uint32_t types[MATRIX_TYPES_MAX];
    size_t n = matrix_types(types);
    for (size_t i = 0; i < n; i++)
        if (strcmp(name, sl_type_name(types[i])) == 0) return types[i];
    usage("unknown type");
}

static void set(synth_shape *shape, int option, const char *value)
{
    switch (option) {
    case SEED: shape->seed = number(value); break;
    case LAYERS: shape->layers = number(value); break;
    case WIDTH: shape->width = number(value); break;
    case FFN: shape->ffn = number(value); break;
    case HEADS: shape->heads = number(value); break;
    case KV_HEADS: shape->kv_heads = number(value); break;
    case HEAD_DIM: shape->head_dim = number(value); break;
    case VOCAB: shape->vocab = number(value); break;
    case CONTEXT: shape->context = number(value); break;
    case ROPE_BASE: shape->rope_base = (float)number(value); break;
    case TYPE: shape->attention_type = shape->ffn_type = type_number(value); break;
    case ATTENTION_TYPE: shape->attention_type = type_number(value); break;
    case FFN_TYPE: shape->ffn_type = type_number(value); break;
    case HEAD_TYPE: shape->head_type = type_number(value); break;
    case TIED: shape->tie = SYNTH_TIED; break;
    case UNTIED: shape->tie = SYNTH_UNTIED; break;
    case BIASED: shape->bias = SYNTH_BIASED; break;
    case ROPE_SCALING: shape->rope.type = value; break;
    case ROPE_FACTOR: shape->rope.factor = (float)number(value); break;
    case ROPE_CONTEXT: shape->rope.context = number(value); break;
    case ROPE_LLAMA3_KEYS: shape->rope.llama3_keys = true; break;
    case SPLIT: shape->parts = number(value); break;
    case VECTOR_TYPE: shape->vector_type = type_number(value); break;
    case KEY_BIAS: shape->key_bias = number(value); break;
    case ROPE_FREQS: shape->rope.freqs = true; break;
    case WINDOW: shape->window = number(value); break;
    case WINDOW_PATTERN: shape->window_pattern = number(value); break;
    case ARCHITECTURE:
        if (!synth_architecture_known(value)) usage("unknown architecture");
        shape->architecture = value;
        break;
    default: usage("unknown option");
    }
}

int synth_options_parse(int argc, char **argv, synth_shape *shape)
{
    int option;
    optind = 0; /* glibc: from the start, also a second time */
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) set(shape, option, optarg);
    if (shape->width % 32 || shape->ffn % 32 || shape->heads * shape->head_dim % 32)
        usage("widths must be whole blocks of 32");
    if (shape->kv_heads == 0 || shape->heads % shape->kv_heads)
        usage("KV heads must divide the heads");
    if (shape->head_dim == 0 || shape->head_dim % 16) usage("the head dimension is in steps of 16");
    if (shape->vocab < SYNTH_VOCAB_MIN) usage("the vocabulary is too small for all bytes");
    return optind;
}

void synth_options_parse_line(char *line, synth_shape *shape)
{
    enum { WORDS_MAX = 64 };
    char *argv[WORDS_MAX + 1] = {line}, *rest = NULL;
    int argc = 1;
    for (char *word = strtok_r(line, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        if (argc == WORDS_MAX) usage("too many words");
        argv[argc++] = word;
    }
    if (synth_options_parse(argc, argv, shape) != argc) usage("a word that is no option");
}
