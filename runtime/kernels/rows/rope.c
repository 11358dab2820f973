/* runtime/kernels/rows/rope.c - see rope.h. Every scaling says which share of a pair's frequency is
 * kept; the rest is divided by the factor. Knows no model. */
#include "runtime/kernels/rows/rope.h"

#include <math.h>
#include <stdbool.h>

static double clamp(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

/* Kept above `high` turns in the old context, scaled below `low`, in proportion between. */
static double llama3_share(const sl_rope *r, double frequency)
{
    double turns = r->context * frequency / (2 * M_PI);
    return clamp((turns - (double)r->low) / ((double)r->high - (double)r->low), 0, 1);
}

/* The pair that turns so many times in the old context (sec. 3.2, where it is d(r)), fractional. */
static double pair_of_turns(const sl_rope *r, double turns)
{
    return r->dim * log(r->context / (turns * 2 * M_PI)) / (2 * log((double)r->base));
}

/* The bounds are rounded outwards to whole pairs, as in the authors' code, and the share falls in
 * proportion to the pair's index between them. */
static double yarn_share(const sl_rope *r, uint32_t pair)
{
    double first = fmax(floor(pair_of_turns(r, (double)r->fast)), 0);
    double last = fmin(ceil(pair_of_turns(r, (double)r->slow)), r->dim - 1.0);
    double fallen = clamp((pair - first) / fmax(last - first, 0.001), 0, 1);
    return (1 - fallen) * (double)r->extrapolated;
}

static double kept_share(const sl_rope *r, uint32_t pair, double frequency)
{
    switch (r->scaling) {
    case SL_ROPE_PLAIN: return 1;
    case SL_ROPE_LINEAR: return 0;
    case SL_ROPE_LLAMA3: return llama3_share(r, frequency);
    case SL_ROPE_YARN: return yarn_share(r, pair);
    }
    return 1;
}

/* YaRN's attention temperature (eq. 22), on queries and keys alike; off with its other half. */
static double magnitude_of(const sl_rope *r)
{
    bool sharper = r->scaling == SL_ROPE_YARN && r->extrapolated != 0 && r->factor > 1;
    return (double)r->magnitude * (sharper ? 1 + 0.1 * log((double)r->factor) : 1);
}

void sl_rope_table_fill(const sl_rope *rope, const float *divisors, sl_rope_table *table)
{
    table->dim = rope->dim;
    table->pairing = rope->pairing;
    table->magnitude = magnitude_of(rope);
    for (uint32_t i = 0; i < rope->dim / 2; i++) {
        double frequency = pow((double)rope->base, -2.0 * i / rope->dim);
        if (divisors) frequency /= (double)divisors[i];
        double share = kept_share(rope, i, frequency);
        if (share < 1) frequency *= share + (1 - share) / (double)rope->factor;
        table->frequency[i] = frequency;
    }
}

void sl_rope_angles(const sl_rope_table *table, uint32_t position, float *cos_sin)
{
    for (uint32_t i = 0; i < table->dim / 2; i++) {
        double angle = position * table->frequency[i];
        cos_sin[2 * (size_t)i] = (float)(cos(angle) * table->magnitude);
        cos_sin[2 * (size_t)i + 1] = (float)(sin(angle) * table->magnitude);
    }
}

static void turn_adjacent(const float *cos_sin, size_t dim, float *x)
{
    for (size_t i = 0; i < dim; i += 2) {
        float c = cos_sin[i], s = cos_sin[i + 1], first = x[i], second = x[i + 1];
        x[i] = first * c - second * s;
        x[i + 1] = first * s + second * c;
    }
}

static void turn_halves(const float *cos_sin, size_t dim, float *x)
{
    size_t half = dim / 2;
    for (size_t i = 0; i < half; i++) {
        float c = cos_sin[2 * i], s = cos_sin[2 * i + 1], first = x[i], second = x[i + half];
        x[i] = first * c - second * s;
        x[i + half] = first * s + second * c;
    }
}

void sl_rope_apply(const sl_rope_table *table, const float *cos_sin, size_t n_heads,
                   size_t head_dim, float *x)
{
    for (size_t head = 0; head < n_heads; head++, x += head_dim) {
        if (table->pairing == SL_ROPE_HALVES)
            turn_halves(cos_sin, table->dim, x);
        else
            turn_adjacent(cos_sin, table->dim, x);
    }
}
