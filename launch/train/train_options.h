/* launch/train/train_options.h - the options that several commands of training share. */
#ifndef SL_TRAIN_OPTIONS_H
#define SL_TRAIN_OPTIONS_H

#include "launch/options/option.h"

/* The gates that are read and written, and how they are stored; the pieces of texts. */
extern const sl_option sl_train_options_gate[], sl_train_options_output[], sl_train_options_type[],
    sl_train_options_lengths[];
/* The gates that are written where an adapter is, too: gate.gguf and gate.lora.gguf. */
extern const sl_option sl_train_options_outputs[];

#endif
