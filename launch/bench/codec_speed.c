/* launch/bench/codec_speed.c - see codec_speed.h. */
#include "launch/bench/codec_speed.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "runtime/base/clock.h"
#include "runtime/base/float_bits.h"
#include "runtime/base/log.h"
#include "sched/link_choice.h"

enum { SAMPLE_NS = 1000000 };

/* One kind on one set of rows. */
typedef struct {
    sl_codec *codec;
    const float *rows;
    float *decoded; /* [n_values] */
    size_t n_values;
    uint8_t *payload; /* [payload_bytes_max] */
    size_t payload_bytes_max, n_bytes;
    sl_codec_kind kind;
} trial;

static sl_status encode(trial *t)
{
    return sl_codec_encode(t->codec, t->rows, t->n_values, t->payload, t->payload_bytes_max,
                           &t->kind, &t->n_bytes);
}

static sl_status decode(trial *t)
{
    return sl_codec_decode(t->codec, t->kind, t->payload, t->n_bytes, t->decoded, t->n_values);
}

static int64_t time_runs(trial *t, sl_status (*step)(trial *), int n_runs)
{
    int64_t began_ns = sl_clock_now_ns();
    for (int i = 0; i < n_runs; i++) SL_ASSERT(step(t) == SL_OK); /* our own bytes */
    return sl_clock_now_ns() - began_ns;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_seconds(trial *t, sl_status (*step)(trial *))
{
    int n_runs = 1;
    while (n_runs < 1 << 20 && time_runs(t, step, n_runs) < SAMPLE_NS) n_runs *= 2;
    double samples[SL_CODEC_SPEED_SAMPLES];
    for (int i = 0; i < SL_CODEC_SPEED_SAMPLES; i++)
        samples[i] = (double)time_runs(t, step, n_runs) / n_runs / (double)SL_SECOND;
    qsort(samples, SL_CODEC_SPEED_SAMPLES, sizeof *samples, by_size);
    return samples[SL_CODEC_SPEED_SAMPLES / 2];
}

static void compare(const trial *t, size_t n_rows, size_t width, sl_codec_speed *speed)
{
    double sum = 0;
    for (size_t r = 0; r < n_rows; r++) {
        const float *row = t->rows + r * width, *got = t->decoded + r * width;
        double squares = 0, errors = 0, largest = 0;
        for (size_t i = 0; i < width; i++) {
            double error = fabs((double)got[i] - (double)row[i]);
            squares += (double)row[i] * (double)row[i];
            errors += error * error;
            largest = fmax(largest, error);
        }
        if (squares == 0) continue; /* a row of zeros has no error */
        sum += errors / squares;
        speed->max_error = fmax(speed->max_error, largest / sqrt(squares / (double)width));
    }
    speed->rms_error = sqrt(sum / (double)n_rows);
}

/* Bits of a number of such a kind beside its exponent; 0: it has none. */
static int rest_bits(sl_codec_kind kind)
{
    switch (kind) {
    case SL_CODEC_F32:
    case SL_CODEC_F32_ZSTD: return 24;
    case SL_CODEC_BF16:
    case SL_CODEC_BF16_ZSTD: return 8;
    default: return 0;
    }
}

/* Of decoded values: what they were rounded to is what the payload holds. */
static double bound_bytes(const float *values, size_t n, sl_codec_kind kind)
{
    if (rest_bits(kind) == 0) return 0;
    size_t counts[256] = {0};
    for (size_t i = 0; i < n; i++) counts[sl_float_bits(values[i]) >> 23 & 0xff]++;
    double bits = (double)n * rest_bits(kind);
    for (int e = 0; e < 256; e++)
        if (counts[e] > 0) bits += (double)counts[e] * log2((double)n / (double)counts[e]);
    return bits / 8;
}

static sl_status measure_kind(sl_codec_kind kind, trial *t, size_t n_rows, size_t width,
                              sl_codec_speed *speed)
{
    sl_status status = sl_codec_open(kind, t->n_values, &t->codec);
    if (status != SL_OK) return status;
    *speed = (sl_codec_speed){.kind = kind, .raw_bytes = t->n_values * sizeof(float)};
    speed->encode_s = median_seconds(t, encode);
    speed->decode_s = median_seconds(t, decode);
    speed->written_as = t->kind;
    speed->n_bytes = t->n_bytes;
    speed->bound_bytes = bound_bytes(t->decoded, t->n_values, kind);
    compare(t, n_rows, width, speed);
    sl_codec_close(t->codec);
    return SL_OK;
}

sl_status sl_codec_speed_measure(const float *rows, size_t n_rows, size_t width,
                                 sl_codec_speed *speeds_out)
{
    trial t = {.rows = rows, .n_values = n_rows * width};
    t.payload_bytes_max = sl_codec_bytes_max(t.n_values);
    t.decoded = malloc(t.n_values * sizeof(float));
    t.payload = malloc(t.payload_bytes_max);
    sl_status status = SL_OK;
    if (!t.decoded || !t.payload) {
        sl_error("no memory to measure codecs on %zu values", t.n_values);
        status = SL_ERR_MEMORY;
    }
    for (int i = 0; i < SL_CODEC_KINDS && status == SL_OK; i++)
        status = measure_kind((sl_codec_kind)(i + 1), &t, n_rows, width, &speeds_out[i]);
    free(t.decoded);
    free(t.payload);
    return status;
}

sl_codec_kind sl_codec_speed_choose(const sl_codec_speed *speeds, sl_codec_choice among,
                                    double bytes_per_s)
{
    sl_link_codec candidates[SL_CODEC_KINDS];
    sl_codec_kind kinds[SL_CODEC_KINDS];
    uint32_t n = 0;
    for (int i = 0; i < SL_CODEC_KINDS; i++) {
        const sl_codec_speed *s = &speeds[i];
        bool allowed = among == SL_CHOICE_ANY || sl_codec_kind_lossless(s->kind);
        if (!allowed || s->written_as != s->kind) continue;
        double raw = (double)s->raw_bytes;
        candidates[n] = (sl_link_codec){(double)s->n_bytes / raw, s->encode_s / raw,
                                        s->decode_s / raw};
        kinds[n++] = s->kind;
    }
    return kinds[sl_link_choose(candidates, n, bytes_per_s)]; /* f32 is always among them */
}
