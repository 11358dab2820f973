/* runtime/kernels/rows/rope.h - rotary position embedding (Su et al. 2021, arXiv:2104.09864): pair
 * i of a head turns by position * frequency_i. Plain frequencies are base^(-2i/dim); a model taught
 * longer texts afterwards has them scaled. */
#ifndef SL_ROPE_H
#define SL_ROPE_H

#include <stddef.h>
#include <stdint.h>

typedef enum {
    SL_ROPE_PLAIN,
    SL_ROPE_LINEAR, /* all by 1/factor; Chen et al. 2023, arXiv:2306.15595 */
    SL_ROPE_LLAMA3, /* slow ones by 1/factor, fast ones not; Llama 3.1's, arXiv:2407.21783 */
    SL_ROPE_YARN,   /* likewise, and attention is sharper; Peng et al. 2023, arXiv:2309.00071 */
} sl_rope_scaling;

/* Which elements of a head are pair i. */
typedef enum {
    SL_ROPE_ADJACENT, /* 2i and 2i + 1 */
    SL_ROPE_HALVES,   /* i and i + dim/2, as GPT-NeoX has them */
} sl_rope_pairing;

/* What a scaling does not name is not read. */
typedef struct {
    /* even: so many elements of each head turn, the others stay; 0: none, there is no rope */
    uint32_t dim;
    sl_rope_pairing pairing;
    float base;
    float magnitude; /* of all cosines and sines, mostly 1 */
    sl_rope_scaling scaling;
    float factor;       /* linear, llama3, yarn: how much longer texts became */
    uint32_t context;   /* llama3, yarn: tokens before that */
    float low, high;    /* llama3: full turns in `context`; fewer than low, scaled; more than
                               high, kept; low < high */
    float slow, fast;   /* yarn: the same bounds (beta), positive; base is then above 1 */
    float extrapolated; /* yarn: share of the kept frequency where it is kept, mostly 1 */
} sl_rope;

/* A model's frequencies, made once. */
typedef struct {
    uint32_t dim;
    sl_rope_pairing pairing;
    double magnitude;
    double *frequency; /* [dim/2], radians a position */
} sl_rope_table;

/* table->frequency is the caller's room for dim/2. divisors [dim/2] of the plain frequencies (a
 * file's rope_freqs), or NULL. */
void sl_rope_table_fill(const sl_rope *rope, const float *divisors, sl_rope_table *table);
/* cos_sin: [dim/2][2] for one position. Angles in double. */
void sl_rope_angles(const sl_rope_table *table, uint32_t position, float *cos_sin);
/* x: [n_heads][head_dim], the first `dim` of each head turn in place. */
void sl_rope_apply(const sl_rope_table *table, const float *cos_sin, size_t n_heads,
                   size_t head_dim, float *x);

#endif
