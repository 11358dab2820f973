/* runtime/train/layer_pass.h - one layer of a frozen model over one text in f32, forward and
 * backward: every step that a layer's plan can have (model/shape.h, model/layer_weights.h). What
 * serving computes is runtime/stage/layer.h; the two agree but for rounding. */
#ifndef SL_LAYER_PASS_H
#define SL_LAYER_PASS_H

#include "runtime/model/weights.h"
#include "runtime/train/lora_pass.h"

typedef struct {
    const sl_model_shape *shape;
    const sl_weights *weights;
    const sl_kernels *kernels; /* for what is done to single rows */
    uint32_t sinks, window;    /* seen whatever became of them (attention_pass.h) */
    uint32_t tokens_max;
    int threads;
    /* Low ranks that are added to the maps, and learn; of a whole model. NULL: none. */
    sl_lora_pass *lora;
} sl_layer_pass_options;

typedef struct sl_layer_pass sl_layer_pass;

/* Room for what one layer computes, used by all of them in turn. Memory from the arena; a counting
 * arena measures. */
void sl_layer_pass_init(const sl_layer_pass_options *options, sl_arena *arena,
                        sl_layer_pass **pass_out);

/* Before the first layer of a text: its rotations. */
void sl_layer_pass_begin(sl_layer_pass *pass, uint32_t n_tokens);

/* The layer's input, normed: what its gate reads. [n_tokens][width], lent until the next call. */
const float *sl_layer_pass_norm(sl_layer_pass *pass, uint32_t layer, const float *x);

/* From the hidden state x [n_tokens][width] to that behind the layer, x_out, which may be x.
 * `layer`: of the stage. log_keep: as in attention_pass.h, or NULL. */
void sl_layer_pass_forward(sl_layer_pass *pass, uint32_t layer, const float *x,
                           const float *log_keep, float *x_out);

/* d_x [n_tokens][width], of what is behind the layer, becomes that of x, all else as it was given
 * to forward, whose steps are taken again. d_log_keep [n_kv_heads][n_tokens], or NULL. */
void sl_layer_pass_backward(sl_layer_pass *pass, uint32_t layer, const float *x,
                            const float *log_keep, float *d_x, float *d_log_keep);

#endif
