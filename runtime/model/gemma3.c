/* runtime/model/gemma3.c - the architecture `gemma3` (Gemma 3, arXiv:2503.19786): embeddings are
 * scaled, queries and keys are normed head by head, what attention and FFN give is normed before it
 * is added, and the FFN's gate is a GELU. Five layers of sliding attention, with a rope of their
 * own, come before each that attends to all tokens. */
#include <math.h>

#include "runtime/base/log.h"
#include "runtime/model/model_keys.h"
#include "runtime/model/rope_keys.h"
#include "runtime/model/transformer_keys.h"

/* Gemma 3 27B scales scores by the width that a head would have if all heads together were as wide
 * as the model. Its files have no key for that: llama.cpp knows the model by the same number of
 * layers. */
enum { LAYERS_27B = 62 };

static const char WINDOW[] = "attention.sliding_window";
static const char PATTERN[] = "attention.sliding_window_pattern";
static const char SLIDING_BASE[] = "rope.freq_base_swa";
static const char *const OWN_KEYS[] = {WINDOW, PATTERN, SLIDING_BASE, NULL};

enum { FULL, SLIDING, KINDS };

/* The pattern may be a list: whether each layer slides. */
static sl_status read_pattern_list(const sl_model_keys *keys, sl_model_shape *s)
{
    bool slides[SL_LAYERS_MAX];
    size_t n = 0;
    sl_key_name key = sl_key_named(keys, PATTERN);
    bool good = sl_gguf_bool_array(keys->gguf, key.text, slides, SL_LAYERS_MAX, &n) &&
                n == s->n_layers;
    for (uint32_t i = 0; good && i < s->n_layers; i++) s->kind_of[i] = slides[i] ? SLIDING : FULL;
    if (good) return SL_OK;
    sl_error("%s: key %s is neither a number nor a list of true and false for each of %u layers",
             sl_gguf_path(keys->gguf), key.text, s->n_layers);
    return SL_ERR_FORMAT;
}

/* Or a number n: every n-th layer attends to all tokens; 0: none does. */
static sl_status read_pattern(const sl_model_keys *keys, sl_model_shape *s)
{
    uint32_t n = 6;
    if (sl_key_exists(keys, PATTERN) &&
        !sl_gguf_u32(keys->gguf, sl_key_named(keys, PATTERN).text, &n))
        return read_pattern_list(keys, s);
    for (uint32_t i = 0; i < s->n_layers; i++)
        s->kind_of[i] = n == 0 || i % n + 1 < n ? SLIDING : FULL;
    return SL_OK;
}

/* Linear scaling is of the other layers alone; what the others would do here is not known. */
static sl_status check_scaling(const sl_model_keys *keys, const sl_rope *rope)
{
    if (rope->scaling == SL_ROPE_PLAIN || rope->scaling == SL_ROPE_LINEAR) return SL_OK;
    sl_error("%s: %s other than linear is not supported with sliding windows",
             sl_gguf_path(keys->gguf), sl_key_named(keys, "rope.scaling.type").text);
    return SL_ERR_UNSUPPORTED;
}

static sl_status read_sliding(const sl_model_keys *keys, sl_model_shape *s)
{
    uint32_t window = 0;
    sl_status status = sl_key_optional_count(keys, WINDOW, 0, SL_CONTEXT_MAX, &window);
    if (status != SL_OK || window == 0) return status;
    const sl_rope *full = &s->kinds[FULL].rope;
    sl_layer_kind *sliding = &s->kinds[SLIDING];
    *sliding = (sl_layer_kind){.rope = {.dim = full->dim,
                                        .pairing = full->pairing,
                                        .base = 10000,
                                        .factor = 1,
                                        .magnitude = 1,
                                        .context = full->context},
                               .window = window};
    s->n_kinds = KINDS;
    status = sl_key_optional_number(keys, SLIDING_BASE, 1, &sliding->rope.base);
    if (status == SL_OK) status = check_scaling(keys, full);
    return status == SL_OK ? read_pattern(keys, s) : status;
}

static sl_status scale_27b(const sl_gguf *gguf, sl_model_shape *s)
{
    uint32_t head_width = s->width / s->n_heads;
    if (head_width == 0) {
        sl_error("%s: gemma3.attention.head_count is %u, more than gemma3.embedding_length, %u",
                 sl_gguf_path(gguf), s->n_heads, s->width);
        return SL_ERR_FORMAT;
    }
    s->attention_scale = 1.0F / sqrtf((float)head_width);
    return SL_OK;
}

static sl_status read_shape(const sl_gguf *gguf, const sl_architecture *architecture,
                            sl_model_shape *shape_out)
{
    sl_model_shape s;
    sl_status status = sl_transformer_keys_read(gguf, architecture, &s);
    if (status != SL_OK) return status;
    s.embedding_scale = sqrtf((float)s.width);
    s.activation = SL_GEGLU;
    status = read_sliding(&(sl_model_keys){gguf, architecture->name}, &s);
    if (status == SL_OK && s.n_layers == LAYERS_27B) status = scale_27b(gguf, &s);
    if (status == SL_OK) *shape_out = s;
    return status;
}

const sl_architecture sl_architecture_gemma3 = {
    .name = "gemma3",
    .pairing = SL_ROPE_HALVES,
    .read_shape = read_shape,
    .own_keys = OWN_KEYS,
    .required = SL_TENSORS_TRANSFORMER | SL_TENSORS_QK_NORMS | SL_TENSORS_POST_NORMS,
    .optional = 0,
};
