/* launch/train/train_checkpoint.h - a training run between two steps, as a file: it goes on from
 * there to the same bytes. One file: a header with checksums, then the state as it lies in memory
 * (so on like CPUs). */
#ifndef SL_TRAIN_CHECKPOINT_H
#define SL_TRAIN_CHECKPOINT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "runtime/base/status.h"

typedef struct {
    uint64_t run;   /* a hash of everything the run depends on */
    uint64_t round; /* rounds of pieces that are done */
    double seconds; /* spent so far */
} sl_train_point;

/* The file appears whole and durable, or the old one stays. SL_ERR_FILE, logged. */
sl_status sl_train_checkpoint_save(const char *path, const sl_train_point *point, const void *state,
                                   size_t bytes);
/* Into state [bytes]. SL_END: there is no such file. SL_ERR_OPTION, logged: of another run (`run`
 * as given in *point). SL_ERR_FORMAT, logged: no checkpoint, or a torn one. SL_ERR_FILE. */
sl_status sl_train_checkpoint_load(const char *path, sl_train_point *point, void *state,
                                   size_t bytes);
/* The same of a file that is open; `path` is for messages. Where it fails, *point is as it was. */
sl_status sl_train_checkpoint_read(FILE *file, const char *path, sl_train_point *point, void *state,
                                   size_t bytes);

#endif
