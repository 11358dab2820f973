/* comm/codec/codec_planes.c - plain loops that the compiler turns into vectors (CMakeLists.txt asks
 * it to): 15 GB/s of floats apart and 19 back, where zstd does 4 and 9. Compiled for AVX2 or
 * AVX-512 they would end a payload 5% sooner, which is not worth a file for each. A float's lower
 * half stays whole, since any x86-64 parts 16 bits from 16 in single instructions: as four planes
 * of bytes it takes twice the time. */
#include "comm/codec/codec_planes.h"

#include <string.h>

#include "runtime/base/log.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "payloads are little-endian memory");

/* A half is a bf16: sign, 8 bits of exponent, 7 of mantissa. */
static uint8_t half_rest(uint16_t half) { return (uint8_t)(half << 1 | half >> 15); }
static uint8_t half_top(uint16_t half) { return (uint8_t)(half >> 7); }

static uint16_t half_of(uint8_t rest, uint8_t top)
{
    return (uint16_t)(rest >> 1 | top << 7 | rest << 15);
}

static void split_2(const uint8_t *restrict items, size_t n, uint8_t *restrict rest,
                    uint8_t *restrict top)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t item;
        memcpy(&item, items + 2 * i, sizeof item);
        rest[i] = half_rest(item);
        top[i] = half_top(item);
    }
}

static void split_4(const uint8_t *restrict items, size_t n, uint8_t *restrict rest,
                    uint8_t *restrict top)
{
    uint8_t *restrict upper_rest = rest + 2 * n;
    for (size_t i = 0; i < n; i++) {
        uint32_t item;
        memcpy(&item, items + 4 * i, sizeof item);
        uint16_t lower = (uint16_t)item, upper = (uint16_t)(item >> 16);
        memcpy(rest + 2 * i, &lower, sizeof lower);
        upper_rest[i] = half_rest(upper);
        top[i] = half_top(upper);
    }
}

static void merge_2(const uint8_t *restrict rest, const uint8_t *restrict top, size_t n,
                    uint8_t *restrict out)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t item = half_of(rest[i], top[i]);
        memcpy(out + 2 * i, &item, sizeof item);
    }
}

static void merge_4(const uint8_t *restrict rest, const uint8_t *restrict top, size_t n,
                    uint8_t *restrict out)
{
    const uint8_t *restrict upper_rest = rest + 2 * n;
    for (size_t i = 0; i < n; i++) {
        uint16_t lower;
        memcpy(&lower, rest + 2 * i, sizeof lower);
        uint32_t item = lower | (uint32_t)half_of(upper_rest[i], top[i]) << 16;
        memcpy(out + 4 * i, &item, sizeof item);
    }
}

void sl_planes_split(const uint8_t *items, size_t n, size_t item_bytes, uint8_t *rest, uint8_t *top)
{
    switch (item_bytes) {
    case 1: memcpy(top, items, n); return;
    case 2: split_2(items, n, rest, top); return;
    case 4: split_4(items, n, rest, top); return;
    }
    SL_ASSERT(!"1, 2 or 4 bytes");
}

void sl_planes_merge(const uint8_t *rest, const uint8_t *top, size_t n, size_t item_bytes,
                     uint8_t *items_out)
{
    switch (item_bytes) {
    case 1: memcpy(items_out, top, n); return;
    case 2: merge_2(rest, top, n, items_out); return;
    case 4: merge_4(rest, top, n, items_out); return;
    }
    SL_ASSERT(!"1, 2 or 4 bytes");
}
