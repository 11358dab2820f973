/* tests/support/seeded.h - random numbers that are the same everywhere, and a check that names
 * the seed when it fails. */
#ifndef SL_TEST_SEEDED_H
#define SL_TEST_SEEDED_H

#include <stdint.h>

typedef struct {
    uint64_t seed, state;
} seeded;

static inline seeded seeded_from(uint64_t seed) { return (seeded){.seed = seed, .state = seed}; }

/* SplitMix64: Steele, Lea, Flood 2014. */
static inline uint64_t seeded_bits(seeded *random)
{
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* 0 .. n - 1; n at least 1. */
static inline uint32_t seeded_below(seeded *random, uint32_t n)
{
    return (uint32_t)(seeded_bits(random) % n);
}

/* In [-1, 1). */
static inline float seeded_real(seeded *random)
{
    return (float)(seeded_bits(random) >> 40) * 0x1p-23F - 1;
}

/* Needs cmocka.h. */
#define assert_seeded(random, expression)                                               \
    do {                                                                                \
        if (!(expression))                                                              \
            fail_msg("seed %llu: %s", (unsigned long long)(random)->seed, #expression); \
    } while (0)

#endif
