/* runtime/model/transformer_keys.c - see transformer_keys.h. */
#include "runtime/model/transformer_keys.h"

#include <math.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/model/rope_keys.h"

enum { WIDTH_MAX = 1 << 16, FFN_MAX = 1 << 20, HEADS_MAX = 4096, HEAD_DIM_MAX = 256 };

/* ---- what other models of an architecture's name compute ---- */

/* Keys that change a model's arithmetic, and the values that leave it as ours. */
static const struct {
    const char *name;
    float harmless[2];
    const char *what;
} VARIANTS[] = {
    {"expert_count", {0, 0}, "a mixture of experts"},
    {"attention.sliding_window", {0, 0}, "attention within a sliding window"},
    {"attention.clamp_kqv", {0, 0}, "clamped queries, keys and values"},
    {"attention.max_alibi_bias", {0, 0}, "attention with linear biases"},
    {"attention.scale", {0, 0}, "a scale of attention of its own"},
    {"attn_logit_softcapping", {0, 0}, "capped attention scores"},
    {"final_logit_softcapping", {0, 0}, "capped logits"},
    {"logit_scale", {0, 1}, "scaled logits"},
    {"residual_scale", {0, 1}, "scaled residuals"},
    {"embedding_scale", {0, 1}, "scaled embeddings"},
    {"rope.scaling.alpha", {0, 0}, "dynamic rope scaling"},
    {"rope.scaling.yarn_log_multiplier", {0, 0}, "a second YaRN temperature"},
    /* files mean two things by it: all of the temperature, or a factor beside it */
    {"rope.scaling.yarn_attn_factor", {1, 1}, "a YaRN temperature of its own"},
};

static bool is_own(const sl_architecture *architecture, sl_text name)
{
    for (const char *const *own = architecture->own_keys; own && *own; own++)
        if (sl_text_is(name, *own)) return true;
    return false;
}

static sl_status check_numbers(const sl_model_keys *keys, const sl_architecture *architecture)
{
    for (size_t i = 0; i < sizeof VARIANTS / sizeof *VARIANTS; i++) {
        float value;
        sl_text name = {VARIANTS[i].name, strlen(VARIANTS[i].name)};
        if (!sl_key_exists(keys, name.data) || is_own(architecture, name)) continue;
        if (!sl_key_number(keys, VARIANTS[i].name, &value))
            return sl_key_wrong(keys, VARIANTS[i].name, "a number");
        if (value == VARIANTS[i].harmless[0] || value == VARIANTS[i].harmless[1]) continue;
        sl_error("%s: %s is not supported (%s is %g)", sl_gguf_path(keys->gguf), VARIANTS[i].what,
                 sl_key_named(keys, VARIANTS[i].name).text, (double)value);
        return SL_ERR_UNSUPPORTED;
    }
    return SL_OK;
}

static sl_status check_variants(const sl_model_keys *keys, const sl_architecture *architecture,
                                const sl_model_shape *shape)
{
    static const char value_key[] = "attention.value_length", causal_key[] = "attention.causal";
    uint32_t value_length = shape->head_dim;
    bool causal = true;
    sl_status status = check_numbers(keys, architecture);
    if (status == SL_OK)
        status = sl_key_optional_count(keys, value_key, 0, UINT32_MAX, &value_length);
    if (status == SL_OK) status = sl_key_optional_flag(keys, causal_key, &causal);
    if (status != SL_OK) return status;
    if (value_length != shape->head_dim) {
        sl_error("%s: %s is %u, supported is only the key length, %u", sl_gguf_path(keys->gguf),
                 sl_key_named(keys, value_key).text, value_length, shape->head_dim);
        return SL_ERR_UNSUPPORTED;
    }
    if (!causal) {
        sl_error("%s: attention to later tokens is not supported (%s is false)",
                 sl_gguf_path(keys->gguf), sl_key_named(keys, causal_key).text);
        return SL_ERR_UNSUPPORTED;
    }
    return SL_OK;
}

/* ---- keys that are not read ---- */

/* All that is read here, and what says nothing about arithmetic. */
static const char *const KNOWN[] = {
    "context_length",
    "embedding_length",
    "block_count",
    "feed_forward_length",
    "vocab_size",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_rms_epsilon",
    "attention.causal",
    "expert_used_count", /* of expert_count, which is 0 */
};

static bool is_known(const sl_architecture *architecture, sl_text name, sl_rope_scaling scaling)
{
    if (is_own(architecture, name)) return true;
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++)
        if (sl_text_is(name, KNOWN[i])) return true;
    for (size_t i = 0; i < sizeof VARIANTS / sizeof *VARIANTS; i++)
        if (sl_text_is(name, VARIANTS[i].name)) return true;
    return sl_rope_keys_know(name, scaling);
}

static sl_status check_none_unknown(const sl_model_keys *keys, const sl_architecture *architecture,
                                    sl_rope_scaling scaling)
{
    sl_key_name prefix = sl_key_named(keys, "");
    size_t n = strlen(prefix.text);
    for (size_t i = 0; i < sl_gguf_n_keys(keys->gguf); i++) {
        sl_text key = sl_gguf_key_at(keys->gguf, i);
        if (key.bytes < n || memcmp(key.data, prefix.text, n) != 0) continue;
        if (is_known(architecture, (sl_text){key.data + n, key.bytes - n}, scaling)) continue;
        sl_error("%s: key %.*s is not known for such a model: what it changes would be ignored",
                 sl_gguf_path(keys->gguf), sl_key_shown(key), key.data);
        return SL_ERR_UNSUPPORTED;
    }
    return SL_OK;
}

/* ---- the shape ---- */

static sl_status read_heads(const sl_model_keys *keys, sl_model_shape *s)
{
    sl_status status = sl_key_count(keys, "attention.head_count", 1, HEADS_MAX, &s->n_heads);
    if (status != SL_OK) return status;
    s->n_kv_heads = s->n_heads;
    s->head_dim = s->width / s->n_heads;
    status = sl_key_optional_count(keys, "attention.head_count_kv", 1, s->n_heads, &s->n_kv_heads);
    if (status == SL_OK)
        status = sl_key_optional_count(keys, "attention.key_length", 16, HEAD_DIM_MAX,
                                       &s->head_dim);
    return status;
}

static sl_status check_heads(const sl_model_keys *keys, const sl_model_shape *s)
{
    if (s->n_heads % s->n_kv_heads == 0 && s->head_dim % 16 == 0 && s->head_dim != 0 &&
        s->head_dim <= HEAD_DIM_MAX)
        return SL_OK;
    sl_error("%s: %u heads, %u KV heads of %u: expected KV heads to divide heads, and a head of a "
             "multiple of 16 up to %d",
             sl_gguf_path(keys->gguf), s->n_heads, s->n_kv_heads, s->head_dim, HEAD_DIM_MAX);
    return SL_ERR_UNSUPPORTED;
}

static sl_status read_epsilon(const sl_model_keys *keys, float *out)
{
    static const char name[] = "attention.layer_norm_rms_epsilon";
    if (sl_key_exists(keys, name)) return sl_key_optional_number(keys, name, 0, out);
    return sl_key_wrong(keys, name, "a number");
}

sl_status sl_transformer_keys_read(const sl_gguf *gguf, const sl_architecture *architecture,
                                   sl_model_shape *shape_out)
{
    const sl_model_keys *keys = &(sl_model_keys){gguf, architecture->name};
    sl_model_shape s = {.n_kinds = 1};
    sl_rope *rope = &s.kinds[0].rope;
    sl_status status = sl_key_count(keys, "block_count", 1, SL_LAYERS_MAX, &s.n_layers);
    if (status == SL_OK) status = sl_key_count(keys, "embedding_length", 16, WIDTH_MAX, &s.width);
    if (status == SL_OK)
        status = sl_key_count(keys, "feed_forward_length", 16, FFN_MAX, &s.ffn_width);
    if (status == SL_OK)
        status = sl_key_count(keys, "context_length", 1, SL_CONTEXT_MAX, &s.context);
    if (status == SL_OK) status = read_heads(keys, &s);
    if (status == SL_OK) status = check_variants(keys, architecture, &s);
    if (status == SL_OK) status = check_heads(keys, &s);
    if (status == SL_OK)
        status = sl_rope_keys_read(keys, s.head_dim, s.context, architecture->pairing, rope);
    if (status == SL_OK) status = check_none_unknown(keys, architecture, rope->scaling);
    if (status == SL_OK) status = read_epsilon(keys, &s.rms_eps);
    s.embedding_scale = 1;
    s.attention_scale = 1.0F / sqrtf((float)s.head_dim);
    if (status == SL_OK) *shape_out = s;
    return status;
}
