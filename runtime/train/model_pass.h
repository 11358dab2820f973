/* runtime/train/model_pass.h - a frozen model, or a run of its layers, over one text in f32,
 * forward and backward. Gates are asked what each layer keeps, and told what keeping more would
 * have changed. Layers' inputs are kept, all else is computed again on the way back. */
#ifndef SL_MODEL_PASS_H
#define SL_MODEL_PASS_H

#include "runtime/train/layer_pass.h"

typedef struct sl_model_pass sl_model_pass;

/* Memory from the arena; a counting arena measures. */
void sl_model_pass_init(const sl_layer_pass_options *options, sl_arena *arena,
                        sl_model_pass **pass_out);

/* Layers are numbered as in the stage; those that slide are not asked. NULL for either function:
 * all is kept, nobody learns. */
typedef struct {
    void *context;
    /* From the layer's normed input [n_tokens][width]: log_keep [n_kv_heads][n_tokens]
     * (attention_pass.h). */
    void (*decide)(void *context, uint32_t layer, const float *normed, uint32_t n_tokens,
                   float *log_keep);
    /* The same input, and the gradient by log_keep; the last layer first. Nothing flows back
     * through what gates read. */
    void (*learn)(void *context, uint32_t layer, const float *normed, uint32_t n_tokens,
                  const float *d_log_keep);
} sl_model_pass_gates;

/* The hidden state of ids [n_tokens] before the first layer. Of a first stage. */
void sl_model_pass_embed(sl_model_pass *pass, const int32_t *ids, uint32_t n_tokens);
/* [tokens_max][width], where it stands: embed fills it in, or who got it from the stage before. */
float *sl_model_pass_input(sl_model_pass *pass);

/* All layers: what is behind the last one, [n_tokens][width], lent until the next pass. */
const float *sl_model_pass_forward(sl_model_pass *pass, uint32_t n_tokens,
                                   const sl_model_pass_gates *gates);
/* Of a last stage: the rows that the head reads, normed; and from their gradients those of what
 * forward gave, in place. */
void sl_model_pass_norm(const sl_model_pass *pass, const float *x, float *normed_out);
void sl_model_pass_norm_backward(const sl_model_pass *pass, const float *x, float *d_x);

/* d_x [n_tokens][width], of what forward gave, becomes that of the input. */
void sl_model_pass_backward(sl_model_pass *pass, const sl_model_pass_gates *gates, float *d_x);

#endif
