/* runtime/kernels/matmul/peak_avx512.c - VNNI's byte dot product, as often as it can be done. */
#include "runtime/kernels/kernel_sets.h"
#include "runtime/kernels/vnni_avx512.h"

uint64_t sl_peak_avx512(uint64_t n_rounds)
{
    enum { SUMS = 16 };
    __m512i sum[SUMS], u = _mm512_set1_epi8(3), s = _mm512_set1_epi8(5);
    for (int i = 0; i < SUMS; i++) sum[i] = _mm512_setzero_si512();
    for (uint64_t round = 0; round < n_rounds; round++)
        for (int i = 0; i < SUMS; i++) sum[i] = sl_dot_add(sum[i], u, s);
    for (int i = 0; i < SUMS; i++) __asm__ volatile("" : : "v"(sum[i])); /* they are wanted */
    return n_rounds * SUMS * 64 * 2;
}
