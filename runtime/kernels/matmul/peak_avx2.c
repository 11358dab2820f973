/* runtime/kernels/matmul/peak_avx2.c - the products of bytes that linear maps are made of, as often
 * as they can be done: pairs into 16 bits, sums of those. */
#include <immintrin.h>

#include "runtime/kernels/kernel_sets.h"

uint64_t sl_peak_avx2(uint64_t n_rounds)
{
    enum { SUMS = 8 };
    __m256i sum[SUMS], u = _mm256_set1_epi8(3), s = _mm256_set1_epi8(5);
    for (int i = 0; i < SUMS; i++) sum[i] = _mm256_setzero_si256();
    for (uint64_t round = 0; round < n_rounds; round++)
        for (int i = 0; i < SUMS; i++) {
            __asm__("" : "+x"(u)); /* not the same product every time */
            sum[i] = _mm256_add_epi16(sum[i], _mm256_maddubs_epi16(u, s));
        }
    for (int i = 0; i < SUMS; i++) __asm__ volatile("" : : "x"(sum[i])); /* they are wanted */
    return n_rounds * SUMS * 32 * 2;
}
