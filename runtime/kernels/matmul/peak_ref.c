/* runtime/kernels/matmul/peak_ref.c - products of bytes, one by one. */
#include "runtime/kernels/kernel_sets.h"

uint64_t sl_peak_ref(uint64_t n_rounds)
{
    volatile int32_t sink;
    int32_t sum = 0;
    for (uint64_t round = 0; round < n_rounds; round++)
        sum += (int32_t)(round & 15) * (int32_t)(round & 127);
    sink = sum;
    (void)sink;
    return n_rounds * 2;
}
