/* tests/fuzz/fuzz_sums.c - MODEL.sums: any text is an error or gives sums whose text is read again
 * as them. Since a checksum keeps nearly all inputs out, the input is taken as it is, and once more
 * with the checksum it should have. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "runtime/model/sums.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/tiny_model.h"

enum { LAYERS = 3 };

static void check(const sl_gguf *gguf, const char *text, size_t bytes)
{
    sl_sums sums, again;
    size_t n;
    SL_ASSERT(sl_sums_init(gguf, LAYERS, &sums) == SL_OK);
    int errors = sl_log_errors();
    sl_status status = sl_sums_parse("input", text, bytes, &sums);
    SL_ASSERT(sl_log_errors() - errors == (status != SL_OK)); /* it says why, once */
    if (status == SL_OK) {
        char *out = sl_sums_text(gguf, &sums, &n);
        SL_ASSERT(out && sl_sums_init(gguf, LAYERS, &again) == SL_OK);
        SL_ASSERT(sl_sums_parse("input", out, n, &again) == SL_OK);
        SL_ASSERT(memcmp(again.sums, sums.sums, sums.n * sizeof *sums.sums) == 0);
        sl_sums_fini(&again);
        free(out);
    }
    sl_sums_fini(&sums);
}

static tiny_model model;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    tiny_model_open(TINY_WITHOUT_BOS, &model);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 64);
    SL_ASSERT(text);
    memcpy(text, data, size);
    check(model.gguf, text, size);
    int n = snprintf(text + size, 64, "checksum %016llx\n",
                     (unsigned long long)XXH3_64bits(text, size));
    check(model.gguf, text, size + (size_t)n);
    free(text);
    return 0;
}
