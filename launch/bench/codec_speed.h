/* launch/bench/codec_speed.h - what each codec makes of given hidden rows: bytes, time, error; and
 * which one a link of some speed would choose by that. For the benches. */
#ifndef SL_CODEC_SPEED_H
#define SL_CODEC_SPEED_H

#include "comm/codec/codec.h"

typedef struct {
    sl_codec_kind kind, written_as; /* small payloads go without zstd: codec.h */
    size_t raw_bytes, n_bytes;
    /* The least that a code of each exponent by itself could reach on these rows: the exponents'
     * order-0 entropy (Shannon 1948), signs and mantissas as they are. 0: int8 has no exponents. */
    double bound_bytes;
    /* Of one payload on one thread: median of SL_CODEC_SPEED_SAMPLES, each of as many runs in a
     * row as take a millisecond. So caches are warm, as after computing the rows. */
    double encode_s, decode_s;
    /* Of decoded rows, relative to the root mean square of their row, which is what the next
     * layer's norm divides by: the largest error of a value, and the root mean square of all. */
    double max_error, rms_error;
} sl_codec_speed;
enum { SL_CODEC_SPEED_SAMPLES = 15 };

/* Measure every kind on rows[n_rows][width] of finite numbers: speeds_out [SL_CODEC_KINDS], in the
 * order of their numbers. SL_ERR_MEMORY. */
sl_status sl_codec_speed_measure(const float *rows, size_t n_rows, size_t width,
                                 sl_codec_speed *speeds_out);

typedef enum { SL_CHOICE_LOSSLESS, SL_CHOICE_ANY, SL_CHOICES } sl_codec_choice;
/* What ends soonest (sched/link_choice.h) over a wire of bytes_per_s, of the kinds that were
 * written as themselves. speeds: [SL_CODEC_KINDS], all of the same rows. */
sl_codec_kind sl_codec_speed_choose(const sl_codec_speed *speeds, sl_codec_choice among,
                                    double bytes_per_s);

#endif
