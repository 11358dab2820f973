/* tests/support/frame_maker.h - legal frames for tests: random ones and the largest, and
 * equality to the bit. */
#ifndef SL_TEST_FRAME_MAKER_H
#define SL_TEST_FRAME_MAKER_H

#include "runtime/frame/frame.h"
#include "tests/support/seeded.h"

enum { FRAME_MAKER_SEQUENCES = 50, FRAME_MAKER_VOCAB = 49152 };

/* Legal for FRAME_MAKER_SEQUENCES slots and FRAME_MAKER_VOCAB tokens; floats are any bits, except
 * that sampling's own and kl have no -0 (sluice.proto says why). Hidden rows are not touched. */
void frame_make_random(sl_frame *frame, const sl_frame_limits *limits, seeded *random);
/* Every list full, every number as long as it can be. Legal for UINT32_MAX slots and INT32_MAX
 * tokens. */
void frame_make_largest(sl_frame *frame, const sl_frame_limits *limits);
/* All but hidden rows, and sampling only where it means something. */
bool frame_equal(const sl_frame *a, const sl_frame *b);

#endif
