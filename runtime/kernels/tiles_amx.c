/* runtime/kernels/tiles_amx.c - whether tiles compute what they should: small integers, exact in
 * bf16 and in their sums. Asked once before a set of kernels relies on them. */
#include "runtime/kernels/tiles_amx.h"

#include <string.h>

#include "runtime/kernels/kernel_sets.h"

static uint16_t bf16_of_integer(int x)
{
    float f = (float)x;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return (uint16_t)(bits >> 16);
}

bool SL_AMX(sl_tiles_work)(void)
{
    _Alignas(64) uint16_t a[SL_TILE_ROWS][SL_TILE_DEPTH], b[SL_TILE_PAIRS][SL_TILE_ROWS][2];
    _Alignas(64) float c[SL_TILE_ROWS][SL_TILE_ROWS];
    int x[SL_TILE_ROWS][SL_TILE_DEPTH], y[SL_TILE_DEPTH][SL_TILE_ROWS];
    for (int k = 0; k < SL_TILE_DEPTH; k++)
        for (int i = 0; i < SL_TILE_ROWS; i++) {
            x[i][k] = (7 * i + 3 * k) % 31 - 15;
            y[k][i] = (5 * i + 11 * k) % 29 - 14;
            a[i][k] = bf16_of_integer(x[i][k]);
            b[k / 2][i][k % 2] = bf16_of_integer(y[k][i]);
        }
    for (int i = 0; i < SL_TILE_ROWS; i++)
        for (int j = 0; j < SL_TILE_ROWS; j++) c[i][j] = (float)(i - j);
    sl_tiles_begin();
    sl_tile_load(0, c, 64);
    sl_tile_load(4, a, 64);
    sl_tile_load(6, b, 64);
    sl_tile_multiply(0, 4, 6);
    sl_tile_store(0, c, 64);
    sl_tiles_end();
    bool works = true;
    for (int i = 0; i < SL_TILE_ROWS; i++)
        for (int j = 0; j < SL_TILE_ROWS; j++) {
            int sum = i - j;
            for (int k = 0; k < SL_TILE_DEPTH; k++) sum += x[i][k] * y[k][j];
            works = works && c[i][j] == (float)sum;
        }
    return works;
}
