/* tests/fuzz/fuzz_checkpoint.c - the input is a checkpoint of a training run: as it is, and with
 * its checksums made right, so that what lies behind them is reached too. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "launch/train/train_checkpoint.h"
#include "runtime/base/log.h"
#include "tests/fuzz/fuzz.h"

enum { STATE_BYTES = 16, HEADER_BYTES = 56, HASH_AT = 32, HEADER_HASH_AT = 48, RUN = 7 };

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    return 0;
}

static sl_status load(const uint8_t *bytes, size_t size, uint8_t *state, sl_train_point *point)
{
    FILE *file = fmemopen((void *)bytes, size, "r");
    SL_ASSERT(file);
    *point = (sl_train_point){.run = RUN, .round = 1, .seconds = 2};
    sl_status status = sl_train_checkpoint_read(file, "fuzz", point, state, STATE_BYTES);
    fclose(file);
    SL_ASSERT(status == SL_OK || (point->round == 1 && point->seconds == 2));
    SL_ASSERT(point->run == RUN);
    return status;
}

static void seal(uint8_t *bytes)
{
    XXH64_hash_t hash = XXH3_64bits(bytes + HEADER_BYTES, STATE_BYTES);
    memcpy(bytes + HASH_AT, &hash, sizeof hash);
    hash = XXH3_64bits(bytes, HEADER_HASH_AT);
    memcpy(bytes + HEADER_HASH_AT, &hash, sizeof hash);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0; /* fmemopen wants a byte */
    uint8_t *state = malloc(STATE_BYTES);
    sl_train_point point;
    SL_ASSERT(state);
    if (load(data, size, state, &point) == SL_OK)
        SL_ASSERT(memcmp(state, data + HEADER_BYTES, STATE_BYTES) == 0);
    if (size >= HEADER_BYTES + STATE_BYTES) {
        uint8_t *sealed = malloc(size);
        SL_ASSERT(sealed);
        memcpy(sealed, data, size);
        seal(sealed);
        if (load(sealed, size, state, &point) == SL_OK)
            SL_ASSERT(memcmp(state, sealed + HEADER_BYTES, STATE_BYTES) == 0);
        free(sealed);
    }
    free(state);
    return 0;
}
