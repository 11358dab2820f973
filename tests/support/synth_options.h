/* tests/support/synth_options.h - the words that describe a synthetic model, e.g. "--layers 4
 * --type f16 --untied": make_model's command line, and what a golden says it is of. */
#ifndef SL_TEST_SYNTH_OPTIONS_H
#define SL_TEST_SYNTH_OPTIONS_H

#include "tests/support/synth_gguf.h"

/* argv[1..] change *shape; returns the index of the first word that is no option. An option or a
 * shape that cannot be ends the program with a usage line. What *shape points to is argv's. */
int synth_options_parse(int argc, char **argv, synth_shape *shape);

/* The same of words separated by spaces, which are cut in place and lent to *shape. */
void synth_options_parse_line(char *line, synth_shape *shape);

#endif
