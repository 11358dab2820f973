/* tests/support/make_lora.c - the command line of made_lora.h, for scripts: an adapter for a
 * model, whose hash is printed. */
#include <stdio.h>

#include "runtime/model/weights.h"
#include "tests/support/made_lora.h"

static made_lora made;

int main(int argc, char **argv)
{
    sl_gguf *gguf;
    sl_model_shape shape;
    made_lora_options o = {.strength = 0.5F};
    bool all = argc == 8 && strcmp(argv[7], "all") == 0;
    if (argc != 8 || !(all || strcmp(argv[7], "attention") == 0)) {
        fprintf(stderr,
                "usage: make_lora MODEL.gguf OUT.gguf SEED RANK ALPHA TYPE|mixed attention|all\n");
        return 2;
    }
    o.seed = strtoull(argv[3], NULL, 10);
    o.rank = (uint32_t)strtoul(argv[4], NULL, 10);
    o.maps = all ? MADE_LORA_ALL : MADE_LORA_ATTENTION;
    o.type = MADE_LORA_MIXED;
    if (strcmp(argv[6], "mixed") != 0 && !sl_type_named(argv[6], &o.type)) return 2;
    if (sl_gguf_open(argv[1], &gguf) != SL_OK) return 1;
    if (sl_model_shape_read(gguf, &shape) != SL_OK) return 1;
    sl_text name;
    char architecture[32] = "";
    if (sl_gguf_text(gguf, "general.architecture", &name))
        snprintf(architecture, sizeof architecture, "%.*s", (int)name.bytes, name.data);
    made_lora_open(&made, &o, &shape);
    sl_status status = sl_lora_file_write(argv[2], architecture, strtof(argv[5], NULL),
                                          made.updates, made.n);
    made_lora_close(&made);
    sl_lora_file *file;
    if (status == SL_OK) status = sl_lora_file_open(argv[2], gguf, &shape, &file);
    if (status == SL_OK) {
        printf("%016llx\n", (unsigned long long)sl_lora_file_hash(file));
        sl_lora_file_close(file);
    }
    sl_gguf_close(gguf);
    return status == SL_OK ? 0 : 1;
}
