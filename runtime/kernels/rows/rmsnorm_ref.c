/* runtime/kernels/rows/rmsnorm_ref.c - root mean square norm: see kernels.h. */
#include <math.h>

#include "runtime/kernels/kernel_sets.h"

void sl_rmsnorm_ref(const float *x, const float *gain, size_t n_rows, size_t width, float eps,
                    float *out)
{
    for (size_t t = 0; t < n_rows; t++, x += width, out += width) {
        float sum = 0;
        for (size_t i = 0; i < width; i++) sum += x[i] * x[i];
        float rms = sqrtf(sum / (float)width + eps);
        for (size_t i = 0; i < width; i++) out[i] = gain[i] * x[i] / rms;
    }
}
