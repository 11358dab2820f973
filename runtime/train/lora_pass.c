/* runtime/train/lora_pass.c - see lora_pass.h. */
#include "runtime/train/lora_pass.h"

#include <math.h>
#include <string.h>
#include <xxhash.h>

#include "runtime/base/log.h"
#include "runtime/train/dense.h"

void sl_lora_pass_init(const sl_lora_shape *shape, const sl_model_shape *model, uint32_t rows_max,
                       sl_arena *arena, sl_lora_pass *out)
{
    const size_t rank = shape->rank;
    SL_ASSERT(rank > 0);
    *out = (sl_lora_pass){.shape = *shape, .n_layers = model->n_layers};
    for (sl_layer_map map = 0; map < SL_LAYER_MAPS; map++) {
        if (!shape->adapts[map]) continue;
        const sl_layer_tensor *tensor = sl_layer_map_tensor(map);
        sl_lora_place *place = &out->maps[map];
        place->n_in = (uint32_t)sl_dim_size(model, tensor->in);
        place->n_out = (uint32_t)sl_dim_size(model, tensor->out);
        place->a = out->layer_n;
        place->b = place->a + rank * place->n_in;
        out->layer_n = place->b + rank * place->n_out;
    }
    out->gradients = sl_arena_array(arena, float, sl_lora_pass_n(out));
    out->reduced = sl_arena_array(arena, float, rows_max *rank);
    out->d_reduced = sl_arena_array(arena, float, rows_max *rank);
}

size_t sl_lora_pass_n(const sl_lora_pass *pass) { return pass->n_layers * pass->layer_n; }

/* Of [-1, 1). */
static float drawn(uint64_t seed, uint64_t number)
{
    return (float)(XXH3_64bits_withSeed(&number, sizeof number, seed) >> 40) / (float)(1 << 23) - 1;
}

void sl_lora_pass_draw(const sl_lora_pass *pass, uint64_t seed, float *params_out)
{
    const size_t rank = pass->shape.rank;
    memset(params_out, 0, sl_lora_pass_n(pass) * sizeof *params_out);
    for (uint32_t layer = 0; layer < pass->n_layers; layer++)
        for (sl_layer_map map = 0; map < SL_LAYER_MAPS; map++) {
            const sl_lora_place *place = &pass->maps[map];
            const size_t at = layer * pass->layer_n + place->a;
            for (size_t i = 0; i < rank * place->n_in; i++)
                params_out[at + i] = drawn(seed, at + i) / sqrtf((float)place->n_in);
        }
}

static float factor_of(const sl_lora_pass *p) { return p->shape.alpha / (float)p->shape.rank; }

/* to [n][rank] = x [n][n_in] A^T */
static void reduce(const sl_lora_pass *p, const sl_lora_place *place, const float *a,
                   const float *x, size_t n, float *to)
{
    sl_dense_multiply(n, p->shape.rank, place->n_in, 1, sl_dense_plain(x, place->n_in),
                      sl_dense_transposed(a, place->n_in), 0, to, p->shape.rank);
}

void sl_lora_pass_forward(sl_lora_pass *pass, uint32_t layer, sl_layer_map map, const float *x,
                          size_t n, float *out)
{
    const sl_lora_place *place = &pass->maps[map];
    const float *params = pass->params + layer * pass->layer_n;
    const size_t rank = pass->shape.rank;
    if (place->n_in == 0) return;
    reduce(pass, place, params + place->a, x, n, pass->reduced);
    sl_dense_multiply(n, place->n_out, rank, factor_of(pass), sl_dense_plain(pass->reduced, rank),
                      sl_dense_transposed(params + place->b, rank), 1, out, place->n_out);
}

void sl_lora_pass_backward(sl_lora_pass *pass, uint32_t layer, sl_layer_map map, const float *x,
                           const float *d_out, size_t n, float *d_x)
{
    const sl_lora_place *place = &pass->maps[map];
    const float *params = pass->params + layer * pass->layer_n;
    float *gradients = pass->gradients + layer * pass->layer_n;
    const size_t rank = pass->shape.rank, n_in = place->n_in, n_out = place->n_out;
    if (n_in == 0) return;
    reduce(pass, place, params + place->a, x, n, pass->reduced);
    sl_dense_multiply(n_out, rank, n, factor_of(pass), sl_dense_transposed(d_out, n_out),
                      sl_dense_plain(pass->reduced, rank), 1, gradients + place->b, rank);
    sl_dense_multiply(n, rank, n_out, factor_of(pass), sl_dense_plain(d_out, n_out),
                      sl_dense_plain(params + place->b, rank), 0, pass->d_reduced, rank);
    sl_dense_multiply(rank, n_in, n, 1, sl_dense_transposed(pass->d_reduced, rank),
                      sl_dense_plain(x, n_in), 1, gradients + place->a, n_in);
    sl_dense_multiply(n, n_in, rank, 1, sl_dense_plain(pass->d_reduced, rank),
                      sl_dense_plain(params + place->a, n_in), 1, d_x, n_in);
}
