/* launch/eval/eval_ruler_words.h - what the tasks of `eval ruler` are made of: plain words,
 * names of two words, numbers and words that mean nothing, all drawn from a seed. */
#ifndef SL_EVAL_RULER_WORDS_H
#define SL_EVAL_RULER_WORDS_H

#include <stddef.h>
#include <stdint.h>

enum { SL_RULER_NOUNS = 256, SL_RULER_NAMES = 64 * 256, SL_RULER_WORD_BYTES = 32 };

/* A number of 64 bits for the `what`-th question asked of this seed. */
uint64_t sl_ruler_draw(uint64_t seed, uint64_t what);

/* Word or name number `index` of this seed, all of them different: index < SL_RULER_NOUNS, or
 * SL_RULER_NAMES. Static storage; "brave otter" into out [SL_RULER_WORD_BYTES]. */
const char *sl_ruler_noun(uint64_t seed, uint32_t index);
void sl_ruler_name(uint64_t seed, uint32_t index, char *out);
/* A number of 7 digits, "4821937"; a word that means nothing, "tavoki", all of them different. */
void sl_ruler_number(uint64_t seed, uint32_t index, char *out);
void sl_ruler_coded(uint64_t seed, uint32_t index, char *out);
/* 5 capital letters, as a variable is called. */
void sl_ruler_variable(uint64_t seed, uint32_t index, char *out);

/* Put items [n] into an order of the seed's. */
void sl_ruler_shuffle(uint64_t seed, uint16_t *items, size_t n);

#endif
