/* launch/train/train_options.c - the table of options that several commands of training share. */
#include "launch/train/train_options.h"

const sl_option sl_train_options_gate[] = {
    {"gate", 'g', "FILE", NULL, "the gate file to start from", SL_SETS_READ(gate)},
    {0},
};

const sl_option sl_train_options_output[] = {
    {"output", 'o', "FILE", NULL, "the gate file to write", SL_SETS_TEXT(output),
     .file = SL_FILE_WRITTEN_AFTER_GATE},
    {0},
};

const sl_option sl_train_options_outputs[] = {
    {"output", 'o', "FILE", NULL, "the gate file to write", SL_SETS_TEXT(output),
     .file = SL_FILE_WRITTEN_AFTER_GATE, .beside = ".lora.gguf", .instead = ".gguf"},
    {0},
};

const sl_option sl_train_options_type[] = {
    {"type", 0, "NAME", "q8_0", "of the weights: q8_0, f16", SL_SETS_TEXT(type)},
    {0},
};

const sl_option sl_train_options_lengths[] = {
    {"lengths", 0, "N,...", "8192", "tokens of the pieces, taking turns",
     SL_SETS_COUNTS(lengths, 64, 1 << 20)},
    {0},
};
