/* runtime/model/llama.c - the architecture `llama`: its keys, in llama.cpp's meaning, each within
 * bounds that keep later arithmetic from overflow, and the tensors of its layers. A key that
 * changes what the model says, and that would be ignored, is an error. */
#include <math.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/model/architecture.h"
#include "runtime/model/model_keys.h"
#include "runtime/model/weights.h"

enum { LAYERS_MAX = 1024, WIDTH_MAX = 1 << 16, HEAD_DIM_MAX = 256, CONTEXT_MAX = 1 << 24 };

#define PREFIX "llama." /* of the architecture's own keys */

/* ---- what other models of this architecture's name compute ---- */

/* Keys that change a model's arithmetic, and the values that leave it as ours. */
static const struct {
    const char *key;
    float harmless[2];
    const char *what;
} VARIANTS[] = {
    {"llama.expert_count", {0, 0}, "a mixture of experts"},
    {"llama.attention.sliding_window", {0, 0}, "attention within a sliding window"},
    {"llama.attention.clamp_kqv", {0, 0}, "clamped queries, keys and values"},
    {"llama.attention.max_alibi_bias", {0, 0}, "attention with linear biases"},
    {"llama.attention.scale", {0, 0}, "a scale of attention of its own"},
    {"llama.attn_logit_softcapping", {0, 0}, "capped attention scores"},
    {"llama.final_logit_softcapping", {0, 0}, "capped logits"},
    {"llama.logit_scale", {0, 1}, "scaled logits"},
    {"llama.residual_scale", {0, 1}, "scaled residuals"},
    {"llama.embedding_scale", {0, 1}, "scaled embeddings"},
    {"llama.rope.scaling.alpha", {0, 0}, "dynamic rope scaling"},
    {"llama.rope.scaling.yarn_log_multiplier", {0, 0}, "a second YaRN temperature"},
    /* files mean two things by it: all of the temperature, or a factor beside it */
    {"llama.rope.scaling.yarn_attn_factor", {1, 1}, "a YaRN temperature of its own"},
};

static sl_status check_variants(const sl_gguf *gguf, const sl_model_shape *shape)
{
    for (size_t i = 0; i < sizeof VARIANTS / sizeof *VARIANTS; i++) {
        float value = NAN;
        if (!sl_gguf_has(gguf, VARIANTS[i].key)) continue;
        sl_key_number(gguf, VARIANTS[i].key, &value);
        if (value == VARIANTS[i].harmless[0] || value == VARIANTS[i].harmless[1]) continue;
        sl_error("%s: %s is not supported (%s is %g)", sl_gguf_path(gguf), VARIANTS[i].what,
                 VARIANTS[i].key, (double)value);
        return SL_ERR_UNSUPPORTED;
    }
    uint32_t value_length = shape->head_dim;
    bool causal = true;
    sl_status status = sl_key_optional_count(gguf, "llama.attention.value_length", 0, UINT32_MAX,
                                             &value_length);
    if (status == SL_OK) status = sl_key_optional_flag(gguf, "llama.attention.causal", &causal);
    if (status != SL_OK) return status;
    if (value_length != shape->head_dim) {
        sl_error("%s: llama.attention.value_length is %u, supported is only the key length, %u",
                 sl_gguf_path(gguf), value_length, shape->head_dim);
        return SL_ERR_UNSUPPORTED;
    }
    if (!causal) {
        sl_error("%s: attention to later tokens is not supported (llama.attention.causal is false)",
                 sl_gguf_path(gguf));
        return SL_ERR_UNSUPPORTED;
    }
    return SL_OK;
}

/* ---- rope ---- */

static sl_status read_scaling_kind(const sl_gguf *gguf, sl_rope_scaling *out)
{
    static const struct {
        const char *name;
        sl_rope_scaling scaling;
    } kinds[] = {{"none", SL_ROPE_PLAIN},
                 {"linear", SL_ROPE_LINEAR},
                 {"llama3", SL_ROPE_LLAMA3},
                 {"yarn", SL_ROPE_YARN}};
    sl_text name = {"linear", 6}; /* a factor alone is linear scaling */
    const char *key = "llama.rope.scaling.type";
    if (sl_gguf_has(gguf, key) && !sl_gguf_text(gguf, key, &name)) {
        sl_error("%s: key %s is not a text", sl_gguf_path(gguf), key);
        return SL_ERR_FORMAT;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!sl_text_is(name, kinds[i].name)) continue;
        *out = kinds[i].scaling;
        return SL_OK;
    }
    sl_error("%s: rope scaling '%.*s' is not supported (%s), there are: none, linear, llama3, yarn",
             sl_gguf_path(gguf), sl_key_shown(name), name.data, key);
    return SL_ERR_UNSUPPORTED;
}

static sl_status read_factor(const sl_gguf *gguf, float *out)
{
    const char *key = "llama.rope.scaling.factor", *old = "llama.rope.scale_linear";
    *out = 1;
    sl_status status = sl_key_optional_number(gguf, sl_gguf_has(gguf, key) ? key : old, 0, out);
    if (*out == 0) *out = 1; /* so llama.cpp reads "not set" */
    return status;
}

/* GGUF has no names for these: its converters put Llama 3's scaling into rope_freqs. They are the
 * model's own, under the architecture's prefix, so none may be missing. */
static sl_status read_llama3(const sl_gguf *gguf, sl_rope *rope)
{
    static const char *const keys[] = {
        "llama.rope.scaling.factor", "llama.rope.scaling.low_freq_factor",
        "llama.rope.scaling.high_freq_factor", "llama.rope.scaling.original_context_length"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (sl_gguf_has(gguf, keys[i])) continue;
        sl_error("%s: rope scaling 'llama3' without the key %s", sl_gguf_path(gguf), keys[i]);
        return SL_ERR_FORMAT;
    }
    sl_status status = sl_key_optional_number(gguf, keys[1], 0, &rope->low);
    if (status == SL_OK) status = sl_key_optional_number(gguf, keys[2], 0, &rope->high);
    if (status != SL_OK || rope->low < rope->high) return status;
    sl_error("%s: %s is %g, expected more than the low one, %g", sl_gguf_path(gguf), keys[2],
             (double)rope->high, (double)rope->low);
    return SL_ERR_FORMAT;
}

static sl_status read_yarn(const sl_gguf *gguf, sl_rope *rope)
{
    const float least = 1e-6F; /* a logarithm is taken of its inverse */
    rope->fast = 32;
    rope->slow = 1;
    rope->extrapolated = 1;
    sl_status status = sl_key_optional_number(gguf, "llama.rope.scaling.yarn_beta_fast", least,
                                              &rope->fast);
    if (status == SL_OK)
        status = sl_key_optional_number(gguf, "llama.rope.scaling.yarn_beta_slow", least,
                                        &rope->slow);
    if (status == SL_OK)
        status = sl_key_optional_number(gguf, "llama.rope.scaling.yarn_ext_factor", 0,
                                        &rope->extrapolated);
    if (status == SL_OK && !(rope->base > 1)) {
        sl_error("%s: rope base %g with YaRN scaling, expected more than 1", sl_gguf_path(gguf),
                 (double)rope->base);
        return SL_ERR_FORMAT;
    }
    return status;
}

static sl_status read_rope(const sl_gguf *gguf, const sl_model_shape *shape, sl_rope *rope)
{
    *rope = (sl_rope){
        .dim = shape->head_dim, .base = 10000, .magnitude = 1, .context = shape->context};
    sl_status status = sl_key_optional_count(gguf, "llama.rope.dimension_count", 2, shape->head_dim,
                                             &rope->dim);
    if (status == SL_OK) status = read_scaling_kind(gguf, &rope->scaling);
    if (status == SL_OK) status = read_factor(gguf, &rope->factor);
    if (status == SL_OK)
        status = sl_key_optional_count(gguf, "llama.rope.scaling.original_context_length", 1,
                                       CONTEXT_MAX, &rope->context);
    if (status == SL_OK)
        status = sl_key_optional_number(gguf, "llama.rope.scaling.attn_factor", 0,
                                        &rope->magnitude);
    if (status == SL_OK)
        status = sl_key_optional_number(gguf, "llama.rope.freq_base", 0, &rope->base);
    if (status == SL_OK && !(rope->base > 0)) {
        sl_error("%s: rope base %g (llama.rope.freq_base) makes no sense", sl_gguf_path(gguf),
                 (double)rope->base);
        return SL_ERR_FORMAT;
    }
    if (status == SL_OK && rope->scaling == SL_ROPE_LLAMA3) return read_llama3(gguf, rope);
    if (status == SL_OK && rope->scaling == SL_ROPE_YARN) return read_yarn(gguf, rope);
    return status;
}

/* ---- keys that are not read ---- */

/* All that is read above, and what says nothing about arithmetic. */
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
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scale_linear",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.attn_factor",
    "rope.scaling.original_context_length",
    "rope.scaling.finetuned",
};

/* Scalings that read keys no other one does. */
static const struct {
    const char *key;
    sl_rope_scaling scaling;
} SCALING_KEYS[] = {
    {"rope.scaling.low_freq_factor", SL_ROPE_LLAMA3},
    {"rope.scaling.high_freq_factor", SL_ROPE_LLAMA3},
    {"rope.scaling.yarn_beta_fast", SL_ROPE_YARN},
    {"rope.scaling.yarn_beta_slow", SL_ROPE_YARN},
    {"rope.scaling.yarn_ext_factor", SL_ROPE_YARN},
};

/* `name` is what follows "llama.". */
static bool is_known(sl_text name, sl_rope_scaling scaling)
{
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++)
        if (sl_text_is(name, KNOWN[i])) return true;
    for (size_t i = 0; i < sizeof VARIANTS / sizeof *VARIANTS; i++)
        if (sl_text_is(name, VARIANTS[i].key + strlen(PREFIX))) return true;
    for (size_t i = 0; i < sizeof SCALING_KEYS / sizeof *SCALING_KEYS; i++)
        if (sl_text_is(name, SCALING_KEYS[i].key)) return SCALING_KEYS[i].scaling == scaling;
    return false;
}

static sl_status check_none_unknown(const sl_gguf *gguf, const sl_model_shape *shape)
{
    size_t n = strlen(PREFIX);
    for (size_t i = 0; i < sl_gguf_n_keys(gguf); i++) {
        sl_text key = sl_gguf_key_at(gguf, i);
        if (key.bytes < n || memcmp(key.data, PREFIX, n) != 0) continue;
        if (is_known((sl_text){key.data + n, key.bytes - n}, shape->rope.scaling)) continue;
        sl_error("%s: key %.*s is not known for such a model: what it changes would be ignored",
                 sl_gguf_path(gguf), sl_key_shown(key), key.data);
        return SL_ERR_UNSUPPORTED;
    }
    return SL_OK;
}

/* ---- the shape ---- */

static sl_status read_heads(const sl_gguf *gguf, sl_model_shape *s)
{
    sl_status status = sl_key_count(gguf, "llama.attention.head_count", 1, 4096, &s->n_heads);
    if (status != SL_OK) return status;
    s->n_kv_heads = s->n_heads;
    s->head_dim = s->width / s->n_heads;
    status = sl_key_optional_count(gguf, "llama.attention.head_count_kv", 1, s->n_heads,
                                   &s->n_kv_heads);
    if (status == SL_OK)
        status = sl_key_optional_count(gguf, "llama.attention.key_length", 16, HEAD_DIM_MAX,
                                       &s->head_dim);
    return status;
}

static sl_status check_heads(const sl_gguf *gguf, const sl_model_shape *s)
{
    if (s->n_heads % s->n_kv_heads == 0 && s->head_dim % 16 == 0 && s->head_dim != 0 &&
        s->head_dim <= HEAD_DIM_MAX && s->rope.dim % 2 == 0)
        return SL_OK;
    sl_error("%s: %u heads, %u KV heads of %u (rope %u): expected KV heads to divide heads, a head "
             "of a multiple of 16 up to %d, an even rope",
             sl_gguf_path(gguf), s->n_heads, s->n_kv_heads, s->head_dim, s->rope.dim, HEAD_DIM_MAX);
    return SL_ERR_UNSUPPORTED;
}

static sl_status read_shape(const sl_gguf *gguf, sl_model_shape *shape_out)
{
    sl_model_shape s = {0};
    const char *eps = "llama.attention.layer_norm_rms_epsilon";
    sl_status status = sl_key_count(gguf, "llama.block_count", 1, LAYERS_MAX, &s.n_layers);
    if (status == SL_OK)
        status = sl_key_count(gguf, "llama.embedding_length", 16, WIDTH_MAX, &s.width);
    if (status == SL_OK)
        status = sl_key_count(gguf, "llama.feed_forward_length", 16, 1 << 20, &s.ffn_width);
    if (status == SL_OK)
        status = sl_key_count(gguf, "llama.context_length", 1, CONTEXT_MAX, &s.context);
    if (status == SL_OK) status = read_heads(gguf, &s);
    if (status == SL_OK) status = check_variants(gguf, &s);
    if (status == SL_OK) status = read_rope(gguf, &s, &s.rope);
    if (status == SL_OK) status = check_heads(gguf, &s);
    if (status == SL_OK) status = check_none_unknown(gguf, &s);
    if (status == SL_OK && !sl_gguf_has(gguf, eps)) {
        sl_error("%s: key %s is missing", sl_gguf_path(gguf), eps);
        status = SL_ERR_FORMAT;
    }
    if (status == SL_OK) status = sl_key_optional_number(gguf, eps, 0, &s.rms_eps);
    if (status == SL_OK) *shape_out = s;
    return status;
}

/* ---- the tensors of a layer ---- */

static const sl_layer_tensor LAYER_TENSORS[] = {
    {"attn_norm.weight", SL_TENSOR_REQUIRED, SL_DIM_WIDTH, SL_DIM_NONE,
     offsetof(sl_layer_weights, attn_norm)},
    {"attn_q.weight", SL_TENSOR_REQUIRED, SL_DIM_WIDTH, SL_DIM_HEADS,
     offsetof(sl_layer_weights, q)},
    {"attn_k.weight", SL_TENSOR_REQUIRED, SL_DIM_WIDTH, SL_DIM_KV_HEADS,
     offsetof(sl_layer_weights, k)},
    {"attn_v.weight", SL_TENSOR_REQUIRED, SL_DIM_WIDTH, SL_DIM_KV_HEADS,
     offsetof(sl_layer_weights, v)},
    {"attn_output.weight", SL_TENSOR_REQUIRED, SL_DIM_HEADS, SL_DIM_WIDTH,
     offsetof(sl_layer_weights, o)},
    {"ffn_norm.weight", SL_TENSOR_REQUIRED, SL_DIM_WIDTH, SL_DIM_NONE,
     offsetof(sl_layer_weights, ffn_norm)},
    {"ffn_gate.weight", SL_TENSOR_REQUIRED, SL_DIM_WIDTH, SL_DIM_FFN,
     offsetof(sl_layer_weights, gate)},
    {"ffn_up.weight", SL_TENSOR_REQUIRED, SL_DIM_WIDTH, SL_DIM_FFN, offsetof(sl_layer_weights, up)},
    {"ffn_down.weight", SL_TENSOR_REQUIRED, SL_DIM_FFN, SL_DIM_WIDTH,
     offsetof(sl_layer_weights, down)},
    {"attn_q.bias", SL_TENSOR_OPTIONAL, SL_DIM_HEADS, SL_DIM_NONE,
     offsetof(sl_layer_weights, q_bias)},
    {"attn_k.bias", SL_TENSOR_OPTIONAL, SL_DIM_KV_HEADS, SL_DIM_NONE,
     offsetof(sl_layer_weights, k_bias)},
    {"attn_v.bias", SL_TENSOR_OPTIONAL, SL_DIM_KV_HEADS, SL_DIM_NONE,
     offsetof(sl_layer_weights, v_bias)},
    {"attn_output.bias", SL_TENSOR_OPTIONAL, SL_DIM_WIDTH, SL_DIM_NONE,
     offsetof(sl_layer_weights, o_bias)},
    {"ffn_gate.bias", SL_TENSOR_OPTIONAL, SL_DIM_FFN, SL_DIM_NONE,
     offsetof(sl_layer_weights, gate_bias)},
    {"ffn_up.bias", SL_TENSOR_OPTIONAL, SL_DIM_FFN, SL_DIM_NONE,
     offsetof(sl_layer_weights, up_bias)},
    {"ffn_down.bias", SL_TENSOR_OPTIONAL, SL_DIM_WIDTH, SL_DIM_NONE,
     offsetof(sl_layer_weights, down_bias)},
};

const sl_architecture sl_architecture_llama = {
    .name = "llama",
    .read_shape = read_shape,
    .layer_tensors = LAYER_TENSORS,
    .n_layer_tensors = sizeof LAYER_TENSORS / sizeof *LAYER_TENSORS,
};
