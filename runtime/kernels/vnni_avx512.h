/* runtime/kernels/vnni_avx512.h - VNNI's byte dot product, as instructions: given the intrinsic,
 * gcc 12 copies and spills every sum of a tile, at half the speed. */
#ifndef SL_VNNI_AVX512_H
#define SL_VNNI_AVX512_H

#include <immintrin.h>
#include <string.h>

/* sum_c + sum of 4 unsigned bytes of lane c of u times 4 signed ones of s. */
static inline __m512i sl_dot_add(__m512i sum, __m512i u, __m512i s)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(u), "v"(s));
    return sum;
}

/* 4 bytes in every lane. */
static inline __m512i sl_broadcast_quad(const void *bytes)
{
    int32_t quad;
    memcpy(&quad, bytes, sizeof quad);
    return _mm512_set1_epi32(quad);
}

#endif
