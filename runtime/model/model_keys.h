/* runtime/model/model_keys.h - single values of a model file's keys, checked: what every
 * architecture reads its shape with. Knows no key by name.
 * SL_ERR_FORMAT: the key is missing, or of another kind, or out of bounds; logged with its name.
 * Where a key is optional, *out stays what it is without the key. */
#ifndef SL_MODEL_KEYS_H
#define SL_MODEL_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/gguf/gguf.h"

/* The keys of a file that begin alike: "llama." has all of that architecture. Names below are what
 * follows. */
typedef struct {
    const sl_gguf *gguf;
    const char *prefix;
} sl_model_keys;

/* A whole name, for messages. */
typedef struct {
    char text[96];
} sl_key_name;
sl_key_name sl_key_named(const sl_model_keys *keys, const char *name);

bool sl_key_exists(const sl_model_keys *keys, const char *name);
/* An integer from low to high. */
sl_status sl_key_count(const sl_model_keys *keys, const char *name, uint32_t low, uint32_t high,
                       uint32_t *out);
sl_status sl_key_optional_count(const sl_model_keys *keys, const char *name, uint32_t low,
                                uint32_t high, uint32_t *out);
sl_status sl_key_optional_flag(const sl_model_keys *keys, const char *name, bool *out);
/* A finite number, `low` at least. */
sl_status sl_key_optional_number(const sl_model_keys *keys, const char *name, float low,
                                 float *out);
/* A float, or an integer meant as one. false: the key is missing, or neither; nothing is logged. */
bool sl_key_number(const sl_model_keys *keys, const char *name, float *out);

/* How many bytes of a text messages show. */
int sl_key_shown(sl_text text);

#endif
