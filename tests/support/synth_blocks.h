/* tests/support/synth_blocks.h - random blocks of the quantized types that have no encoder here:
 * any bytes are weights, once their scale is chosen. */
#ifndef SL_TEST_SYNTH_BLOCKS_H
#define SL_TEST_SYNTH_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

#include "tests/support/seeded.h"

/* f32 to f16, round to nearest even; finite values only. */
uint16_t synth_half(float x);
/* n_bytes, whole blocks of `type`, of weights with mean 0 and this deviation, more or less. */
void synth_random_blocks(uint32_t type, seeded *random, float deviation, size_t n_bytes,
                         uint8_t *out);

#endif
