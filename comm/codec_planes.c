/* comm/codec_planes.c - moves bytes, 16 floats at a time where SSE2 is, which is every x86-64.
 * The plain loops define the result and finish the tail; alone they would cost more than
 * zstd does (1 to 3 GB/s against 25). */
#include "comm/codec_planes.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "payloads are little-endian memory");

#ifdef __SSE2__
/* Even bytes of both, then odd bytes of both. */
static __m128i even_bytes(__m128i low, __m128i high)
{
    __m128i mask = _mm_set1_epi16(0xff);
    return _mm_packus_epi16(_mm_and_si128(low, mask), _mm_and_si128(high, mask));
}

static __m128i odd_bytes(__m128i low, __m128i high)
{
    return _mm_packus_epi16(_mm_srli_epi16(low, 8), _mm_srli_epi16(high, 8));
}

/* Returns how many floats were done. */
static size_t split_16(const float *values, size_t n, uint8_t *planes)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m128i v[4];
        for (size_t j = 0; j < 4; j++)
            v[j] = _mm_loadu_si128((const __m128i *)(const void *)(values + i + 4 * j));
        __m128i even_low = even_bytes(v[0], v[1]), even_high = even_bytes(v[2], v[3]);
        __m128i odd_low = odd_bytes(v[0], v[1]), odd_high = odd_bytes(v[2], v[3]);
        _mm_storeu_si128((__m128i *)(planes + i), even_bytes(even_low, even_high));
        _mm_storeu_si128((__m128i *)(planes + n + i), even_bytes(odd_low, odd_high));
        _mm_storeu_si128((__m128i *)(planes + 2 * n + i), odd_bytes(even_low, even_high));
        _mm_storeu_si128((__m128i *)(planes + 3 * n + i), odd_bytes(odd_low, odd_high));
    }
    return i;
}

static size_t merge_16(const uint8_t *const planes[SL_PLANES], size_t n, float *out)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m128i p[SL_PLANES], pair[4];
        for (int k = 0; k < SL_PLANES; k++)
            p[k] = _mm_loadu_si128((const __m128i *)(planes[k] + i));
        pair[0] = _mm_unpacklo_epi8(p[0], p[1]);
        pair[1] = _mm_unpacklo_epi8(p[2], p[3]);
        pair[2] = _mm_unpackhi_epi8(p[0], p[1]);
        pair[3] = _mm_unpackhi_epi8(p[2], p[3]);
        __m128i *to = (__m128i *)(void *)(out + i);
        _mm_storeu_si128(to, _mm_unpacklo_epi16(pair[0], pair[1]));
        _mm_storeu_si128(to + 1, _mm_unpackhi_epi16(pair[0], pair[1]));
        _mm_storeu_si128(to + 2, _mm_unpacklo_epi16(pair[2], pair[3]));
        _mm_storeu_si128(to + 3, _mm_unpackhi_epi16(pair[2], pair[3]));
    }
    return i;
}
#else
static size_t split_16(const float *values, size_t n, uint8_t *planes)
{
    (void)values, (void)n, (void)planes;
    return 0;
}

static size_t merge_16(const uint8_t *const planes[SL_PLANES], size_t n, float *out)
{
    (void)planes, (void)n, (void)out;
    return 0;
}
#endif

void sl_planes_split(const float *values, size_t n, uint8_t *planes)
{
    for (size_t i = split_16(values, n, planes); i < n; i++) {
        uint8_t bytes[SL_PLANES];
        memcpy(bytes, values + i, sizeof bytes);
        for (size_t k = 0; k < SL_PLANES; k++) planes[k * n + i] = bytes[k];
    }
}

void sl_planes_merge(const uint8_t *const planes[SL_PLANES], size_t n, float *out)
{
    for (size_t i = merge_16(planes, n, out); i < n; i++) {
        uint8_t bytes[SL_PLANES];
        for (int k = 0; k < SL_PLANES; k++) bytes[k] = planes[k][i];
        memcpy(out + i, bytes, sizeof bytes);
    }
}
