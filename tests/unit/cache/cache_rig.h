/* tests/unit/cache/cache_rig.h - a cache, and beside it plain arrays that say what it should
 * hold: every token's K and V, and which tokens each head has kept. For the files of test_cache
 * only. */
#ifndef SL_TEST_CACHE_RIG_H
#define SL_TEST_CACHE_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/cache/cache.h"
#include "runtime/kernels/kernels.h"
#include "tests/support/seeded.h"

enum { LAYERS = 3, HEADS = 2, DIM = 16, GROUP_MAX = 3, SLOTS = 5, BLOCK_MAX = 40 };
enum { CONTEXT = 700, CHUNK_MAX = 150 };
enum { ALL_HEADS = LAYERS * HEADS };
enum { SLIDING_LAYER = LAYERS - 1, SLIDING_WINDOW = 90 };

typedef struct {
    uint8_t kept[CONTEXT];                       /* by position, once it has left the window */
    uint32_t n_kept;                             /* of those that have */
    uint32_t page[CONTEXT / SL_PAGE_TOKENS + 1]; /* who made each page; equal when shared */
} plain_head;

typedef struct {
    bool open;
    uint32_t n_tokens;
    uint64_t salt[CONTEXT]; /* says every value of a token, and its fate */
    plain_head heads[ALL_HEADS];
} plain_sequence;

/* Which tokens are kept: all, each head at its own rate, or none. */
typedef enum { FATE_ALL, FATE_RAGGED, FATE_NONE } fate;

typedef struct {
    sl_cache cache;
    void *storage;
    size_t bytes;
    sl_kv_tile *tiles;
    sl_slots *visible;
    seeded random;
    plain_sequence plain[SLOTS];
    uint32_t pages_made;
    fate fate;
} rig;

typedef struct {
    uint32_t sequence, layer, head;
} place;

/* Needs cmocka.h. */
#define check(r, expression)                                                          \
    do {                                                                              \
        if (!(expression))                                                            \
            fail_msg("seed %llu, window %u, fate %d, line %d: %s",                    \
                     (unsigned long long)(r)->random.seed, (r)->cache.options.window, \
                     (int)(r)->fate, __LINE__, #expression);                          \
    } while (0)

/* What the tests run with. */
enum { N_WINDOWS = 5, N_FATES = 3 };
extern const uint32_t windows[N_WINDOWS];
extern const fate fates[N_FATES];

/* Zeros, or the test fails. */
void *allocate(size_t bytes);

rig *rig_open(const sl_kv_layout *layout, uint64_t seed, uint32_t window, fate of);
void rig_close(rig *r);
/* In the cache and in the arrays. */
void rig_open_sequence(rig *r, uint32_t sequence);
void rig_close_sequence(rig *r, uint32_t sequence);

/* ---- the plain arrays ---- */

/* K, V of a token in one head: whole numbers that f16 holds exactly; k[0] is the position, so a
 * row that is found says which one it is. */
void token_row(uint64_t salt, uint32_t layer, uint32_t head, uint32_t position, float *k, float *v);
/* How many tokens have left the window of a head, counted over all layers. */
uint32_t plain_left(const rig *r, uint32_t head, uint32_t n_tokens);
void plain_keep(rig *r, plain_head *h, uint32_t position);
/* n tokens more; those that leave the window are kept or not by their fate. */
void plain_grow(rig *r, plain_sequence *s, uint32_t n);
void plain_fork(rig *r, plain_sequence *child, const plain_sequence *parent);
uint32_t plain_pages(const plain_sequence *s, uint32_t head);
/* Of each token of a span, whether the token that it pushes out of the window is kept. What nobody
 * may read, tokens that are none and heads of the sliding layer, is not 0 and so would keep. */
void fates_of(const rig *r, const plain_sequence *s, uint32_t head, uint32_t position, uint32_t n,
              uint8_t *keep);

/* The group of tests, in the file of its name; it returns how many failed. */
int cache_chunks_tests(void);

#endif
