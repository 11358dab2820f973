/* runtime/train/row_pass.c - see row_pass.h. */
#include "runtime/train/row_pass.h"

#include <math.h>

#include "runtime/train/vector_math.h"

void sl_norm_backward(const float *x, const float *gain, size_t width, float eps, float keep,
                      const float *d_y, float *d_x)
{
    const float scale = 1 / sqrtf(sl_vector_dot(x, x, width) / (float)width + eps);
    float along = 0; /* of the gradient, what the norm takes away */
    for (size_t i = 0; i < width; i++) along += gain[i] * d_y[i] * x[i];
    along *= scale * scale / (float)width;
    for (size_t i = 0; i < width; i++) {
        const float own = scale * (gain[i] * d_y[i] - along * x[i]);
        d_x[i] = keep > 0 ? keep * d_x[i] + own : own;
    }
}

/* act(x), and its derivative. */
static float activate(sl_activation activation, float x, float *slope_out)
{
    static const float BEND = 0.044715F, STEEP = 1.5957691216F; /* 2 sqrt(2/pi) */
    const bool is_gelu = activation == SL_GEGLU;
    const float u = is_gelu ? STEEP * (x + BEND * x * x * x) : x;
    const float u_slope = is_gelu ? STEEP * (1 + 3 * BEND * x * x) : 1;
    const float share = 1 / (1 + expf(-u));
    *slope_out = share + x * share * (1 - share) * u_slope;
    return x * share;
}

void sl_glu_backward(sl_activation activation, const float *gate, const float *up,
                     const float *d_out, size_t n, float *d_gate, float *d_up)
{
    for (size_t i = 0; i < n; i++) {
        float slope;
        const float active = activate(activation, gate[i], &slope), d = d_out[i], u = up[i];
        d_gate[i] = d * u * slope;
        d_up[i] = d * active;
    }
}

void sl_rope_angles_back(const float *cos_sin, size_t dim, float *back_out)
{
    for (size_t i = 0; i < dim; i += 2) {
        back_out[i] = cos_sin[i];
        back_out[i + 1] = -cos_sin[i + 1];
    }
}
