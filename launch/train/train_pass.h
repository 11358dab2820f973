/* launch/train/train_pass.h - pieces of text through the whole model on this rank, watched: what
 * each layer's gate would read, and what it should say. */
#ifndef SL_TRAIN_PASS_H
#define SL_TRAIN_PASS_H

#include "launch/setup/local_stage.h"
#include "runtime/train/teacher.h"
#include "runtime/train/warm.h"

typedef struct {
    const sl_gguf *gguf;
    const sl_kernels *kernels;
    sl_model_shape shape;
    uint32_t tokens_max;
    uint32_t window, sinks; /* what is never evicted is not learned */
    uint32_t threads;       /* 0: all cores */
} sl_train_pass_options;

typedef struct {
    sl_train_pass_options options;
    sl_local_stage stage;
    sl_probe probe;
    sl_teacher *teacher;
    sl_warm_piece piece; /* of the last pass; room for tokens_max */
    float *x, *target;
    void *storage;
    size_t storage_bytes;
    int64_t teacher_ns; /* so far */
} sl_train_pass;

/* SL_ERR_MEMORY, SL_ERR_OPTION, logged. Ended with sl_train_pass_close, also after an error. The
 * pass stays where it is. */
sl_status sl_train_pass_open(const sl_train_pass_options *options, sl_train_pass *pass);
void sl_train_pass_close(sl_train_pass *pass); /* all zero is fine */

/* Tokens of a piece of n that have a target. */
uint32_t sl_train_pass_targets(const sl_train_pass *pass, uint32_t n);

/* pass->piece from n tokens; lent until the next. */
sl_status sl_train_pass_run(sl_train_pass *pass, const int32_t *tokens, uint32_t n);

#endif
