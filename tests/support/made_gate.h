/* tests/support/made_gate.h - a gate in memory, of seeded f32 weights, every layer of the same
 * shape. In a header, so that the library of test support needs no room. */
#ifndef SL_TEST_MADE_GATE_H
#define SL_TEST_MADE_GATE_H

#include <math.h>
#include <stdlib.h>

#include "runtime/base/log.h"
#include "runtime/gate/gate_file.h"
#include "tests/support/seeded.h"

enum { MADE_GATE_LAYERS = 32, MADE_GATE_ARRAYS = 8 * MADE_GATE_LAYERS };

typedef struct {
    sl_gate gate;
    sl_gate_layer layers[MADE_GATE_LAYERS];
    float *weights[MADE_GATE_ARRAYS];
    int n_weights;
} made_gate;

static inline float made_gate_normal(seeded *random)
{
    double sum = 0;
    for (int i = 0; i < 12; i++) sum += (double)(seeded_bits(random) >> 11) * 0x1p-53;
    return (float)(sum - 6);
}

static inline float *made_gate_numbers(made_gate *m, size_t n, float scale, seeded *random)
{
    float *w = calloc(n, sizeof *w);
    SL_ASSERT(w && m->n_weights < MADE_GATE_ARRAYS);
    for (size_t i = 0; i < n; i++) w[i] = scale * made_gate_normal(random);
    m->weights[m->n_weights++] = w;
    return w;
}

static inline sl_matrix made_gate_matrix(made_gate *m, size_t n_out, size_t n_in, seeded *random)
{
    float *w = made_gate_numbers(m, n_out * n_in, 1.5F / sqrtf((float)n_in), random);
    return (sl_matrix){.data = w, .n_out = n_out, .n_in = n_in, .row_bytes = n_in * sizeof *w};
}

static inline void made_gate_layer(made_gate *m, sl_gate_layer *l, uint32_t n_kv_heads,
                                   uint32_t width, seeded *random)
{
    const sl_gate_shape *s = &l->shape;
    size_t inner = sl_gate_inner(s, n_kv_heads), kv = (size_t)sl_gate_kv_heads(s) * s->width;
    l->x = made_gate_matrix(m, inner, width, random);
    l->x_bias = made_gate_numbers(m, inner, 1, random);
    if (s->heads > 0) {
        l->q = made_gate_matrix(m, (size_t)s->heads * s->width, width, random);
        l->k = made_gate_matrix(m, kv, width, random);
        l->v = made_gate_matrix(m, kv, width, random);
        l->a = made_gate_matrix(m, inner, (size_t)s->heads * s->width, random);
    }
    if (s->hidden > 0) {
        l->out = made_gate_matrix(m, n_kv_heads, s->hidden, random);
        l->out_bias = made_gate_numbers(m, n_kv_heads, 1, random);
    }
}

static inline void made_gate_open(made_gate *m, const sl_gate_shape *shape, uint32_t n_layers,
                                  uint32_t n_kv_heads, uint32_t width, seeded *random)
{
    *m = (made_gate){.gate = {.n_layers = n_layers,
                              .n_kv_heads = n_kv_heads,
                              .model_width = width,
                              .keep = 0.5F,
                              .layers = m->layers}};
    SL_ASSERT(n_layers <= MADE_GATE_LAYERS);
    for (uint32_t i = 0; i < n_layers; i++) {
        m->layers[i].shape = *shape;
        made_gate_layer(m, &m->layers[i], n_kv_heads, width, random);
    }
}

static inline void made_gate_close(made_gate *m)
{
    for (int i = 0; i < m->n_weights; i++) free(m->weights[i]);
}

#endif
