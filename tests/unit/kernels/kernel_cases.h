/* tests/unit/kernels/kernel_cases.h - what the kernel tests share: the sets of this CPU, seeded
 * random numbers, and a failure that names both. */
#ifndef SL_KERNEL_CASES_H
#define SL_KERNEL_CASES_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/kernels/kernels.h"

#define UNIT 0x1p-24 /* rounding of one f32 operation, relative */

static const char *const set_names[] = {"amx-emulated", "ref", "avx2", "avx512", "amx"};
enum { N_SETS = sizeof set_names / sizeof set_names[0] };

typedef struct {
    uint64_t seed, state;
    char with[16]; /* what else a failure tells */
} dice;

static inline dice dice_of(uint64_t seed)
{
    return (dice){seed, seed * 0x9e3779b97f4a7c15 + 1, {0}};
}

/* xorshift64* (Vigna 2016). */
static inline uint32_t dice_bits(dice *d)
{
    d->state ^= d->state >> 12, d->state ^= d->state << 25, d->state ^= d->state >> 27;
    return (uint32_t)(d->state * 0x2545f4914f6cdd1d >> 32);
}

static inline size_t dice_below(dice *d, size_t n) { return dice_bits(d) % n; }
static inline float dice_float(dice *d) { return (float)dice_bits(d) * 0x1p-31F - 1; }

/* Magnitudes over many powers of two, some zeros. */
static inline float dice_wild(dice *d)
{
    if (dice_below(d, 8) == 0) return 0;
    return ldexpf(dice_float(d), (int)dice_below(d, 60) - 40);
}

static inline void *take(size_t bytes)
{
    void *p = calloc(bytes ? bytes : 1, 1);
    assert_non_null(p);
    return p;
}

#define check(condition, kernels, d, ...)                                    \
    do {                                                                     \
        if (!(condition)) {                                                  \
            print_error("set %s%s, seed %llu: ", (kernels)->name, (d)->with, \
                        (unsigned long long)(d)->seed);                      \
            print_error(__VA_ARGS__);                                        \
            fail_msg("%s", #condition);                                      \
        }                                                                    \
    } while (0)

/* Run a case for every set of this CPU and so many seeds. */
static inline void for_all_sets(void (*run)(const sl_kernels *, dice *), uint64_t n_seeds)
{
    for (size_t s = 0; s < N_SETS; s++) {
        const sl_kernels *kernels = sl_kernels_named(set_names[s]);
        for (uint64_t seed = 1; kernels && seed <= n_seeds; seed++) {
            dice d = dice_of(seed);
            run(kernels, &d);
        }
    }
}

/* The same for every layout of a page. */
static inline void for_all_layouts(void (*run)(const sl_kernels *, const sl_kv_layout *, dice *),
                                   uint64_t n_seeds)
{
    for (size_t s = 0; s < N_SETS; s++) {
        const sl_kernels *kernels = sl_kernels_named(set_names[s]);
        for (uint64_t i = 0; kernels && i < n_seeds * SL_KV_TYPES; i++) {
            const sl_kv_layout *layout = kernels->kv[i % SL_KV_TYPES];
            dice d = dice_of(1 + i / SL_KV_TYPES);
            snprintf(d.with, sizeof d.with, ", %s", layout->name);
            run(kernels, layout, &d);
        }
    }
}

/* Half of all cases are of the common width; the others go through all there are. */
static inline size_t dice_head_dim(const dice *d, const sl_kv_layout *layout)
{
    size_t step = layout->head_dim_step;
    return d->seed % 2 ? 64 : step * (1 + d->seed / 2 % (256 / step));
}

#endif
