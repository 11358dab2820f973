/* runtime/kernels/rows/swiglu_ref.c - silu(gate) * up: see kernels.h. */
#include <math.h>

#include "runtime/kernels/kernel_sets.h"

void sl_swiglu_ref(const float *gate, const float *up, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) out[i] = gate[i] / (1 + expf(-gate[i])) * up[i];
}
