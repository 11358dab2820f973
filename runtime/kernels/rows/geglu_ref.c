/* runtime/kernels/rows/geglu_ref.c - gelu(gate) * up: see kernels.h. */
#include <math.h>

#include "runtime/kernels/kernel_sets.h"

void sl_geglu_ref(const float *gate, const float *up, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) {
        float x = gate[i], u = x * (SL_GELU_LINEAR + SL_GELU_CUBIC * x * x);
        out[i] = x / (1 + expf(-u)) * up[i];
    }
}
