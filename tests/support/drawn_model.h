/* tests/support/drawn_model.h - a small model in memory, its plan and weights drawn at random, with
 * every step that any architecture has. No file, no tokenizer. */
#ifndef SL_TEST_DRAWN_MODEL_H
#define SL_TEST_DRAWN_MODEL_H

#include <math.h>

#include "runtime/gguf/tensor_type.h"
#include "runtime/model/weights.h"
#include "tests/support/seeded.h"

enum {
    DRAWN_WIDTH = 32,
    DRAWN_FFN = 48,
    DRAWN_HEADS = 4,
    DRAWN_KV_HEADS = 2,
    DRAWN_DIM = 8,
    DRAWN_LAYERS = 3,
    DRAWN_VOCAB = 20
};

typedef struct {
    sl_model_shape shape;
    sl_layer_weights layers[DRAWN_LAYERS];
    sl_weights weights;
    float numbers[40000]; /* of all weights */
    size_t used;
} drawn_model;

/* n numbers of [around - size, around + size). Lives as long as the model. */
static inline float *drawn_numbers(drawn_model *m, seeded *random, size_t n, float size,
                                   float around)
{
    float *x = m->numbers + m->used;
    m->used += n;
    assert_true(m->used <= sizeof m->numbers / sizeof *m->numbers);
    for (size_t i = 0; i < n; i++) x[i] = around + size * seeded_real(random);
    return x;
}

static inline sl_matrix drawn_matrix(drawn_model *m, seeded *random, size_t n_out, size_t n_in)
{
    return (sl_matrix){.data = drawn_numbers(m, random, n_out * n_in, 2 / sqrtf((float)n_in), 0),
                       .type = SL_TYPE_F32,
                       .n_out = n_out,
                       .n_in = n_in,
                       .row_bytes = n_in * sizeof(float)};
}

static inline void drawn_layer(drawn_model *m, seeded *random, sl_layer_weights *w)
{
    enum { Q = DRAWN_HEADS * DRAWN_DIM, KV = DRAWN_KV_HEADS * DRAWN_DIM };
    const uint64_t seed = random->seed;
    const bool biases = seed % 2 == 1, qk_norms = seed % 3 == 0, post_norms = seed % 5 < 2;
    *w = (sl_layer_weights){
        .attn_norm = drawn_numbers(m, random, DRAWN_WIDTH, 0.5F, 1),
        .ffn_norm = drawn_numbers(m, random, DRAWN_WIDTH, 0.5F, 1),
        .q = drawn_matrix(m, random, Q, DRAWN_WIDTH),
        .k = drawn_matrix(m, random, KV, DRAWN_WIDTH),
        .v = drawn_matrix(m, random, KV, DRAWN_WIDTH),
        .o = drawn_matrix(m, random, DRAWN_WIDTH, Q),
        .gate = drawn_matrix(m, random, DRAWN_FFN, DRAWN_WIDTH),
        .up = drawn_matrix(m, random, DRAWN_FFN, DRAWN_WIDTH),
        .down = drawn_matrix(m, random, DRAWN_WIDTH, DRAWN_FFN),
    };
    if (qk_norms) {
        w->q_norm = drawn_numbers(m, random, DRAWN_DIM, 0.5F, 1);
        w->k_norm = drawn_numbers(m, random, DRAWN_DIM, 0.5F, 1);
    }
    if (post_norms) {
        w->attn_post_norm = drawn_numbers(m, random, DRAWN_WIDTH, 0.5F, 1);
        w->ffn_post_norm = drawn_numbers(m, random, DRAWN_WIDTH, 0.5F, 1);
    }
    if (!biases) return;
    w->q_bias = drawn_numbers(m, random, Q, 0.5F, 0);
    w->k_bias = drawn_numbers(m, random, KV, 0.5F, 0);
    w->v_bias = drawn_numbers(m, random, KV, 0.5F, 0);
    w->o_bias = drawn_numbers(m, random, DRAWN_WIDTH, 0.5F, 0);
    w->gate_bias = drawn_numbers(m, random, DRAWN_FFN, 0.5F, 0);
    w->up_bias = drawn_numbers(m, random, DRAWN_FFN, 0.5F, 0);
    w->down_bias = drawn_numbers(m, random, DRAWN_WIDTH, 0.5F, 0);
}

/* Layers attend to all, slide, or have no rope. */
static inline void drawn_shape(seeded *random, sl_model_shape *s)
{
    *s = (sl_model_shape){.n_layers = DRAWN_LAYERS,
                          .width = DRAWN_WIDTH,
                          .ffn_width = DRAWN_FFN,
                          .n_heads = DRAWN_HEADS,
                          .n_kv_heads = DRAWN_KV_HEADS,
                          .head_dim = DRAWN_DIM,
                          .rms_eps = 1e-5F,
                          .embedding_scale = seeded_below(random, 2) ? 1 : 3,
                          .attention_scale = 0.3F,
                          .activation = seeded_below(random, 2) ? SL_GEGLU : SL_SWIGLU,
                          .vocab = DRAWN_VOCAB,
                          .n_kinds = 3};
    const sl_rope rope = {.dim = seeded_below(random, 2) ? DRAWN_DIM : DRAWN_DIM / 2,
                          .pairing = seeded_below(random, 2) ? SL_ROPE_HALVES : SL_ROPE_ADJACENT,
                          .base = 100,
                          .magnitude = 1};
    s->kinds[0] = (sl_layer_kind){.rope = rope};
    s->kinds[1] = (sl_layer_kind){.rope = rope, .window = 9};
    s->kinds[1].rope.base = 10;
    for (uint32_t i = 0; i < DRAWN_LAYERS; i++) s->kind_of[i] = (uint8_t)seeded_below(random, 3);
}

/* The model points into itself: it stays where it is. */
static inline void drawn_model_make(drawn_model *m, seeded *random)
{
    m->used = 0;
    drawn_shape(random, &m->shape);
    for (uint32_t i = 0; i < DRAWN_LAYERS; i++) drawn_layer(m, random, &m->layers[i]);
    m->weights = (sl_weights){.shape = m->shape,
                              .layer_end = DRAWN_LAYERS,
                              .layers = m->layers,
                              .embedding = drawn_matrix(m, random, DRAWN_VOCAB, DRAWN_WIDTH),
                              .head = drawn_matrix(m, random, DRAWN_VOCAB, DRAWN_WIDTH),
                              .output_norm = drawn_numbers(m, random, DRAWN_WIDTH, 0.5F, 1)};
    if (random->seed % 4 == 0)
        m->weights.rope_freqs = drawn_numbers(m, random, DRAWN_DIM / 2, 0.5F, 1.5F);
}

#endif
