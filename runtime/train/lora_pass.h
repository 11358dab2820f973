/* runtime/train/lora_pass.h - the low ranks of a LoRA adapter (Hu et al. 2021, arXiv:2106.09685)
 * while they are trained, forward and backward over the rows of a text: what they add to the linear
 * maps of a frozen model,
 *     W x + factor B (A x),   factor = alpha / rank.
 * What serving adds is runtime/kernels/matmul/linear.h; the two agree but for rounding. Knows no
 * losses, layers' steps or files. */
#ifndef SL_LORA_PASS_H
#define SL_LORA_PASS_H

#include "runtime/base/arena.h"
#include "runtime/model/layer_weights.h"

typedef struct {
    uint32_t rank;
    float alpha;
    bool adapts[SL_LAYER_MAPS]; /* the same maps of every layer */
} sl_lora_shape;

/* Where a map's matrices begin among its layer's numbers; n_in 0: it has none. */
typedef struct {
    size_t a, b; /* [rank][n_in], [n_out][rank] */
    uint32_t n_in, n_out;
} sl_lora_place;

typedef struct {
    sl_lora_shape shape;
    sl_lora_place maps[SL_LAYER_MAPS];
    uint32_t n_layers;
    size_t layer_n;             /* numbers of a layer */
    float *params, *gradients;  /* [n_layers][layer_n] */
    float *reduced, *d_reduced; /* [rows_max][rank] */
} sl_lora_pass;

/* Of all layers of a model. Gradients, and room for rows_max rows, from the arena; a counting arena
 * measures. Whoever trains gives `params` their place and fills them in. */
void sl_lora_pass_init(const sl_lora_shape *shape, const sl_model_shape *model, uint32_t rows_max,
                       sl_arena *arena, sl_lora_pass *out);
/* Numbers of all layers. */
size_t sl_lora_pass_n(const sl_lora_pass *pass);
/* Where training starts: B is 0, A is drawn evenly with a variance of 1 / (3 n_in). */
void sl_lora_pass_draw(const sl_lora_pass *pass, uint64_t seed, float *params_out);

/* out [n][n_out] += factor B (A x), x [n][n_in]. Nothing where the map has none. */
void sl_lora_pass_forward(sl_lora_pass *pass, uint32_t layer, sl_layer_map map, const float *x,
                          size_t n, float *out);
/* From d_out [n][n_out]: gradients of A and B are added to what is there, and d_x [n][n_in] to
 * d_x. */
void sl_lora_pass_backward(sl_lora_pass *pass, uint32_t layer, sl_layer_map map, const float *x,
                           const float *d_out, size_t n, float *d_x);

#endif
