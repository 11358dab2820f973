/* runtime/train/adamw.c - see adamw.h. */
#include "runtime/train/adamw.h"

#include <math.h>

void sl_adamw_step(const sl_adamw *adamw, uint64_t step, size_t n, const float *gradient,
                   float *params, float *m, float *v)
{
    const sl_adamw *a = adamw;
    float unbias_m = 1 / (1 - powf(a->beta1, (float)step));
    float unbias_v = 1 / (1 - powf(a->beta2, (float)step));
    for (size_t i = 0; i < n; i++) {
        m[i] = a->beta1 * m[i] + (1 - a->beta1) * gradient[i];
        v[i] = a->beta2 * v[i] + (1 - a->beta2) * gradient[i] * gradient[i];
        float move = m[i] * unbias_m / (sqrtf(v[i] * unbias_v) + a->least);
        params[i] -= a->rate * (move + a->decay * params[i]);
    }
}
