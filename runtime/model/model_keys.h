/* runtime/model/model_keys.h - single values of a model file's keys, checked: what every
 * architecture reads its shape with. Knows no key by name.
 * SL_ERR_FORMAT: the key is missing, or of another kind, or out of bounds. SL_ERR_UNSUPPORTED: it
 * is a list. Logged with its name. Where a key is optional and not there, *out stays as it was. */
#ifndef SL_MODEL_KEYS_H
#define SL_MODEL_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/gguf/gguf.h"

/* The keys "ARCHITECTURE.NAME" of a file. Functions below take the NAME. */
typedef struct {
    const sl_gguf *gguf;
    const char *architecture;
} sl_model_keys;

/* A key as it stands in the file. */
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
/* Say that a key is missing, is a list, or is not what was expected ("an integer"). Returns the
 * status. */
sl_status sl_key_wrong(const sl_model_keys *keys, const char *name, const char *expected);
/* A float, or an integer meant as one. false: the key is missing, or neither; nothing is logged. */
bool sl_key_number(const sl_model_keys *keys, const char *name, float *out);

/* How many bytes of a text messages show. */
int sl_key_shown(sl_text text);

#endif
