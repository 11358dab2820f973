/* runtime/kernels/rope.c - rotary position embedding: see kernels.h. Knows no model. */
#include <math.h>

#include "runtime/kernels/kernels.h"

void sl_rope_angles(uint32_t position, size_t rope_dim, float base, float *cos_sin)
{
    for (size_t i = 0; i < rope_dim / 2; i++) {
        double angle = position / pow((double)base, 2.0 * (double)i / (double)rope_dim);
        cos_sin[2 * i] = (float)cos(angle);
        cos_sin[2 * i + 1] = (float)sin(angle);
    }
}

void sl_rope_apply(float *x, size_t n_heads, size_t head_dim, size_t rope_dim, const float *cos_sin)
{
    for (size_t head = 0; head < n_heads; head++, x += head_dim) {
        for (size_t i = 0; i < rope_dim; i += 2) {
            float c = cos_sin[i], s = cos_sin[i + 1], even = x[i], odd = x[i + 1];
            x[i] = even * c - odd * s;
            x[i + 1] = even * s + odd * c;
        }
    }
}
