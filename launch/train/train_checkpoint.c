/* launch/train/train_checkpoint.c - see train_checkpoint.h. */
#include "launch/train/train_checkpoint.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <xxhash.h>

#include "runtime/base/file.h"
#include "runtime/base/log.h"

static const char MAGIC[8] = "SLTRAIN1";

typedef struct {
    char magic[8];
    uint64_t run, round, bytes, hash; /* of the state */
    double seconds;
    uint64_t header_hash; /* of what stands before it */
} header;

static uint64_t hash_header(const header *h)
{
    return XXH3_64bits(h, offsetof(header, header_hash));
}

sl_status sl_train_checkpoint_save(const char *path, const sl_train_point *point, const void *state,
                                   size_t bytes)
{
    header h = {.run = point->run,
                .round = point->round,
                .bytes = bytes,
                .hash = XXH3_64bits(state, bytes),
                .seconds = point->seconds};
    memcpy(h.magic, MAGIC, sizeof h.magic);
    h.header_hash = hash_header(&h);
    sl_file_fresh fresh;
    sl_status status = sl_file_fresh_begin(path, &fresh);
    if (status != SL_OK) return status;
    status = sl_file_write(fresh.file, path, &h, sizeof h);
    if (status == SL_OK) status = sl_file_write(fresh.file, path, state, bytes);
    return sl_file_fresh_end(&fresh, status);
}

sl_status sl_train_checkpoint_read(FILE *file, const char *path, sl_train_point *point, void *state,
                                   size_t bytes)
{
    header h;
    bool whole = fread(&h, sizeof h, 1, file) == 1 && !memcmp(h.magic, MAGIC, sizeof MAGIC) &&
                 h.header_hash == hash_header(&h) && isfinite(h.seconds) && h.seconds >= 0;
    if (!whole) {
        sl_error("%s is no checkpoint of a training run, or a torn one: remove it to start anew",
                 path);
        return SL_ERR_FORMAT;
    }
    if (h.run != point->run || h.bytes != bytes) {
        sl_error(
            "%s is of a run with other options, texts, model, ranks or threads: remove it to start "
            "anew, or name another with --checkpoint",
            path);
        return SL_ERR_OPTION;
    }
    if (fread(state, 1, bytes, file) != bytes || XXH3_64bits(state, bytes) != h.hash) {
        sl_error("%s is torn: remove it to start anew", path);
        return SL_ERR_FORMAT;
    }
    *point = (sl_train_point){.run = h.run, .round = h.round, .seconds = h.seconds};
    return SL_OK;
}

sl_status sl_train_checkpoint_load(const char *path, sl_train_point *point, void *state,
                                   size_t bytes)
{
    FILE *file = fopen(path, "rb");
    if (!file && errno == ENOENT) return SL_END;
    if (!file) return sl_file_error("read", path);
    sl_status status = sl_train_checkpoint_read(file, path, point, state, bytes);
    fclose(file);
    return status;
}
