/* comm/codec/codec_planes.c - plain loops that the compiler turns into vectors (CMakeLists.txt asks
 * it to): above 15 GB/s, where zstd does 1 to 3. Written with SSE2 by hand they were 2 to 3 times
 * as fast, which nobody would notice. */
#include "comm/codec/codec_planes.h"

#include <string.h>

#include "runtime/base/log.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "payloads are little-endian memory");

static void split_2(const uint8_t *restrict items, size_t n, uint8_t *restrict planes)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t item;
        memcpy(&item, items + 2 * i, sizeof item);
        planes[i] = (uint8_t)item;
        planes[n + i] = (uint8_t)(item >> 8);
    }
}

static void split_4(const uint8_t *restrict items, size_t n, uint8_t *restrict planes)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t item;
        memcpy(&item, items + 4 * i, sizeof item);
        planes[i] = (uint8_t)item;
        planes[n + i] = (uint8_t)(item >> 8);
        planes[2 * n + i] = (uint8_t)(item >> 16);
        planes[3 * n + i] = (uint8_t)(item >> 24);
    }
}

static void merge_2(const uint8_t *const *planes, size_t n, uint8_t *restrict out)
{
    const uint8_t *restrict low = planes[0], *restrict high = planes[1];
    for (size_t i = 0; i < n; i++) {
        uint16_t item = (uint16_t)(low[i] | high[i] << 8);
        memcpy(out + 2 * i, &item, sizeof item);
    }
}

static void merge_4(const uint8_t *const *planes, size_t n, uint8_t *restrict out)
{
    const uint8_t *restrict p0 = planes[0], *restrict p1 = planes[1];
    const uint8_t *restrict p2 = planes[2], *restrict p3 = planes[3];
    for (size_t i = 0; i < n; i++) {
        uint32_t item = p0[i] | (uint32_t)p1[i] << 8 | (uint32_t)p2[i] << 16 |
                        (uint32_t)p3[i] << 24;
        memcpy(out + 4 * i, &item, sizeof item);
    }
}

void sl_planes_split(const uint8_t *items, size_t n, size_t item_bytes, uint8_t *planes)
{
    switch (item_bytes) {
    case 1: memcpy(planes, items, n); return;
    case 2: split_2(items, n, planes); return;
    case 4: split_4(items, n, planes); return;
    }
    SL_ASSERT(!"1, 2 or 4 bytes");
}

void sl_planes_merge(const uint8_t *const *planes, size_t n, size_t item_bytes, uint8_t *out)
{
    switch (item_bytes) {
    case 1: memcpy(out, planes[0], n); return;
    case 2: merge_2(planes, n, out); return;
    case 4: merge_4(planes, n, out); return;
    }
    SL_ASSERT(!"1, 2 or 4 bytes");
}
