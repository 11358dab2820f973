/* runtime/base/numbers.h - the smaller, the larger and the difference of two numbers, and bytes as
 * people read them. Pure arithmetic; knows nothing of what the numbers count. */
#ifndef SL_NUMBERS_H
#define SL_NUMBERS_H

#include <stddef.h>
#include <stdint.h>

static inline uint32_t sl_min_u32(uint32_t a, uint32_t b) { return a < b ? a : b; }
static inline uint64_t sl_min_u64(uint64_t a, uint64_t b) { return a < b ? a : b; }
static inline size_t sl_min_size(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t sl_max_size(size_t a, size_t b) { return a > b ? a : b; }
static inline int64_t sl_max_i64(int64_t a, int64_t b) { return a > b ? a : b; }

/* a - b, or 0 where b is larger. */
static inline uint32_t sl_saturating_sub_u32(uint32_t a, uint32_t b) { return a > b ? a - b : 0; }
static inline uint64_t sl_saturating_sub_u64(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

static inline double sl_megabytes(uint64_t bytes) { return (double)bytes / 1e6; }

#endif
