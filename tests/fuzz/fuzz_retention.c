/* tests/fuzz/fuzz_retention.c - the input's first byte says how many layers and heads the model
 * has, the rest is what an earlier run printed. */
#include <stdlib.h>

#include "launch/setup/retention.h"
#include "runtime/base/log.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    sl_model_shape shape = {.n_layers = 1 + (data[0] & 7U),
                            .n_kv_heads = 1 + (data[0] >> 3 & 7U),
                            .kinds = {{.window = data[0] >> 6}}};
    uint32_t n_layers = shape.n_layers;
    double *keep = malloc(n_layers * sizeof *keep); /* of its exact size, for the sanitizer */
    SL_ASSERT(keep);
    sl_status status = sl_retention_parse("fuzz", (const char *)data + 1, size - 1, &shape, keep);
    for (uint32_t i = 0; status == SL_OK && i < n_layers; i++)
        SL_ASSERT(keep[i] >= 0 && keep[i] <= 1 + 1e-9);
    free(keep);
    return 0;
}
