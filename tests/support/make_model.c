/* tests/support/make_model.c - the command line of synth_gguf.h, for scripts and benchmarks. */
#include <stdio.h>

#include "tests/support/synth_options.h"

int main(int argc, char **argv)
{
    synth_shape shape = synth_shape_default();
    int file = synth_options_parse(argc, argv, &shape);
    if (file + 1 != argc) {
        fprintf(stderr, "usage: make_model [OPTIONS] OUT.gguf\n");
        return 2;
    }
    synth_gguf_save(&shape, argv[file]);
    return 0;
}
