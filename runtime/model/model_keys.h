/* runtime/model/model_keys.h - single values of a model file's keys, checked: what every
 * architecture reads its shape with. Knows no key by name.
 * SL_ERR_FORMAT: the key is missing, or of another kind, or out of bounds; logged with its name.
 * Where a key is optional, *out stays what it is without the key. */
#ifndef SL_MODEL_KEYS_H
#define SL_MODEL_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/gguf/gguf.h"

/* An integer from low to high. */
sl_status sl_key_count(const sl_gguf *gguf, const char *key, uint32_t low, uint32_t high,
                       uint32_t *out);
sl_status sl_key_optional_count(const sl_gguf *gguf, const char *key, uint32_t low, uint32_t high,
                                uint32_t *out);
sl_status sl_key_optional_flag(const sl_gguf *gguf, const char *key, bool *out);
/* A finite number, `low` at least. */
sl_status sl_key_optional_number(const sl_gguf *gguf, const char *key, float low, float *out);
/* A float, or an integer meant as one. false: the key is missing, or neither; nothing is logged. */
bool sl_key_number(const sl_gguf *gguf, const char *key, float *out);

/* How many bytes of a text messages show. */
int sl_key_shown(sl_text text);

#endif
