/* runtime/kernels/matmul/panel.c - see panel.h. */
#include "runtime/kernels/matmul/panel.h"

#include <string.h>

#include "runtime/base/log.h"

enum { N_QUADS = SL_BLOCK / 4, QUADS_BYTES = SL_PANEL * 4 };

size_t sl_matrix_n_super_blocks(const sl_matrix *w)
{
    sl_weight_form form = sl_weight_form_of(w->type);
    SL_ASSERT(form.super_block > 0 && w->n_in > 0 && w->n_in % form.super_block == 0);
    return w->n_in / form.super_block;
}

size_t sl_panel_bytes(const sl_matrix *w)
{
    return sl_matrix_n_super_blocks(w) * sl_form_super_block_bytes(sl_weight_form_of(w->type)) *
           SL_PANEL;
}

/* ---- planes: four codes at a time ---- */

static uint32_t four_times(uint32_t byte) { return byte * 0x01010101U; }

/* Bits [shift, shift + n_bits) of a row's 32 codes to its place in a plane. */
SL_ALWAYS_INLINE void put_plane(const uint8_t *code, size_t shift, size_t n_bits, uint8_t *plane)
{
    const uint32_t mask = four_times((1U << n_bits) - 1);
    for (size_t q = 0; q < n_bits; q++) {
        uint32_t out = 0, in;
        for (size_t i = q, at = 0; i < N_QUADS; i += n_bits, at += n_bits) {
            memcpy(&in, code + 4 * i, sizeof in);
            out |= (in >> shift & mask) << at;
        }
        memcpy(plane + q * QUADS_BYTES, &out, sizeof out);
    }
}

static void get_plane(const uint8_t *plane, size_t shift, size_t n_bits, uint8_t *code)
{
    const uint32_t mask = four_times((1U << n_bits) - 1);
    for (size_t q = 0; q < n_bits; q++) {
        uint32_t in, out;
        memcpy(&in, plane + q * QUADS_BYTES, sizeof in);
        for (size_t i = q, at = 0; i < N_QUADS; i += n_bits, at += n_bits) {
            memcpy(&out, code + 4 * i, sizeof out);
            out |= (in >> at & mask) << shift;
            memcpy(code + 4 * i, &out, sizeof out);
        }
    }
}

/* ---- super-blocks ---- */

SL_ALWAYS_INLINE void put_super_block(sl_weight_form form, const sl_super_block *super, size_t row,
                                      uint8_t *panel)
{
    size_t n_f16 = sl_form_n_f16(form), n_small = sl_form_n_small(form);
    for (size_t i = 0; i < n_f16; i++, panel += SL_PANEL * sizeof *super->f16)
        memcpy(panel + row * sizeof *super->f16, &super->f16[i], sizeof *super->f16);
    for (size_t b = 0; b < form.super_block / SL_BLOCK; b++) {
        const uint8_t *code = super->code + b * SL_BLOCK;
        for (size_t i = 0; i < n_small; i++, panel += SL_PANEL) panel[row] = super->small[b][i];
        put_plane(code, 0, form.low_bits, panel + row * 4);
        put_plane(code, form.low_bits, form.high_bits,
                  panel + form.low_bits * QUADS_BYTES + row * 4);
        panel += (form.low_bits + form.high_bits) * QUADS_BYTES;
    }
}

/* Loading a model is mostly this: with a form that is a constant, its loops are unrolled. */
#define PUT(name)                                                              \
    case SL_TYPE_##name:                                                       \
        put_super_block(sl_weight_form_of(SL_TYPE_##name), super, row, panel); \
        break;

void sl_panel_put(uint32_t type, const sl_super_block *super, size_t row, uint8_t *panel)
{
    switch (type) {
        SL_FOR_QUANTIZED_TYPES(PUT)
    default: SL_ASSERT(!"a type that is not packed");
    }
}

static void get_super_block(sl_weight_form form, const uint8_t *panel, size_t row,
                            sl_super_block *out)
{
    size_t n_f16 = sl_form_n_f16(form), n_small = sl_form_n_small(form);
    memset(out->code, 0, form.super_block);
    for (size_t i = 0; i < n_f16; i++, panel += SL_PANEL * sizeof *out->f16)
        memcpy(&out->f16[i], panel + row * sizeof *out->f16, sizeof *out->f16);
    for (size_t b = 0; b < form.super_block / SL_BLOCK; b++) {
        uint8_t *code = out->code + b * SL_BLOCK;
        for (size_t i = 0; i < n_small; i++, panel += SL_PANEL) out->small[b][i] = panel[row];
        get_plane(panel + row * 4, 0, form.low_bits, code);
        get_plane(panel + form.low_bits * QUADS_BYTES + row * 4, form.low_bits, form.high_bits,
                  code);
        panel += (form.low_bits + form.high_bits) * QUADS_BYTES;
    }
}

void sl_matrix_super_block(const sl_matrix *w, size_t row, size_t b, sl_super_block *out)
{
    size_t n_super_blocks = sl_matrix_n_super_blocks(w);
    if (w->packed) {
        size_t panel_bytes = sl_panel_bytes(w);
        const uint8_t *panel = (const uint8_t *)w->data + row / SL_PANEL * panel_bytes;
        get_super_block(sl_weight_form_of(w->type), panel + b * (panel_bytes / n_super_blocks),
                        row % SL_PANEL, out);
    } else {
        const uint8_t *from = sl_matrix_row_data(w, row);
        sl_weight_split(w->type, from + b * (w->row_bytes / n_super_blocks), out);
    }
}
