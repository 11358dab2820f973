/* runtime/model/rope_keys.c - see rope_keys.h. */
#include "runtime/model/rope_keys.h"

#include "runtime/base/log.h"

static const char FACTOR[] = "rope.scaling.factor", OLD_FACTOR[] = "rope.scale_linear";
static const char LOW[] = "rope.scaling.low_freq_factor", HIGH[] = "rope.scaling.high_freq_factor";
static const char OLD_CONTEXT[] = "rope.scaling.original_context_length";

static sl_status read_scaling_kind(const sl_model_keys *keys, sl_rope_scaling *out)
{
    static const struct {
        const char *name;
        sl_rope_scaling scaling;
    } kinds[] = {{"none", SL_ROPE_PLAIN},
                 {"linear", SL_ROPE_LINEAR},
                 {"llama3", SL_ROPE_LLAMA3},
                 {"yarn", SL_ROPE_YARN}};
    sl_text name = {"linear", 6}; /* a factor alone is linear scaling */
    sl_key_name key = sl_key_named(keys, "rope.scaling.type");
    const char *path = sl_gguf_path(keys->gguf);
    if (sl_gguf_has(keys->gguf, key.text) && !sl_gguf_text(keys->gguf, key.text, &name))
        return sl_key_wrong(keys, "rope.scaling.type", "a text");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!sl_text_is(name, kinds[i].name)) continue;
        *out = kinds[i].scaling;
        return SL_OK;
    }
    sl_error("%s: rope scaling '%.*s' is not supported (%s), there are: none, linear, llama3, yarn",
             path, sl_key_shown(name), name.data, key.text);
    return SL_ERR_UNSUPPORTED;
}

static sl_status read_factor(const sl_model_keys *keys, float *out)
{
    *out = 1;
    sl_status status = sl_key_optional_number(
        keys, sl_key_exists(keys, FACTOR) ? FACTOR : OLD_FACTOR, 0, out);
    if (*out == 0) *out = 1; /* so llama.cpp reads "not set" */
    return status;
}

/* GGUF has no names for these: its converters put Llama 3's scaling into rope_freqs. They are the
 * model's own, under the architecture's prefix, so none may be missing. */
static sl_status read_llama3(const sl_model_keys *keys, sl_rope *rope)
{
    static const char *const needed[] = {FACTOR, LOW, HIGH, OLD_CONTEXT};
    const char *path = sl_gguf_path(keys->gguf);
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        if (sl_key_exists(keys, needed[i])) continue;
        sl_error("%s: rope scaling 'llama3' without the key %s", path,
                 sl_key_named(keys, needed[i]).text);
        return SL_ERR_FORMAT;
    }
    sl_status status = sl_key_optional_number(keys, LOW, 0, &rope->low);
    if (status == SL_OK) status = sl_key_optional_number(keys, HIGH, 0, &rope->high);
    if (status != SL_OK || rope->low < rope->high) return status;
    sl_error("%s: %s is %g, expected more than the low one, %g", path,
             sl_key_named(keys, HIGH).text, (double)rope->high, (double)rope->low);
    return SL_ERR_FORMAT;
}

static sl_status read_yarn(const sl_model_keys *keys, sl_rope *rope)
{
    const float least = 1e-6F; /* a logarithm is taken of its inverse */
    rope->fast = 32;
    rope->slow = 1;
    rope->extrapolated = 1;
    sl_status status = sl_key_optional_number(keys, "rope.scaling.yarn_beta_fast", least,
                                              &rope->fast);
    if (status == SL_OK)
        status = sl_key_optional_number(keys, "rope.scaling.yarn_beta_slow", least, &rope->slow);
    if (status == SL_OK)
        status = sl_key_optional_number(keys, "rope.scaling.yarn_ext_factor", 0,
                                        &rope->extrapolated);
    if (status == SL_OK && !(rope->base > 1)) {
        sl_error("%s: rope base %g with YaRN scaling, expected more than 1",
                 sl_gguf_path(keys->gguf), (double)rope->base);
        return SL_ERR_FORMAT;
    }
    return status;
}

static sl_status read_base(const sl_model_keys *keys, float *out)
{
    sl_status status = sl_key_optional_number(keys, "rope.freq_base", 0, out);
    if (status != SL_OK || *out > 0) return status;
    sl_error("%s: rope base %g (%s) makes no sense", sl_gguf_path(keys->gguf), (double)*out,
             sl_key_named(keys, "rope.freq_base").text);
    return SL_ERR_FORMAT;
}

/* llama.cpp turns whole heads in all of these architectures but gemma3, and stops at a file that
 * asks for less. Gemma 3's files ask for whole heads, too. */
static sl_status check_dim(const sl_model_keys *keys, uint32_t head_dim)
{
    static const char name[] = "rope.dimension_count";
    uint32_t dim = head_dim;
    sl_status status = sl_key_optional_count(keys, name, 1, UINT32_MAX, &dim);
    if (status != SL_OK || dim == head_dim) return status;
    sl_error("%s: %s is %u, and heads are of %u: rope over a part of a head is not supported. No "
             "model of this architecture has it: convert the model again",
             sl_gguf_path(keys->gguf), sl_key_named(keys, name).text, dim, head_dim);
    return SL_ERR_UNSUPPORTED;
}

sl_status sl_rope_keys_read(const sl_model_keys *keys, uint32_t head_dim, uint32_t context,
                            sl_rope_pairing pairing, sl_rope *out)
{
    sl_rope *rope = out;
    *rope = (sl_rope){
        .dim = head_dim, .pairing = pairing, .base = 10000, .magnitude = 1, .context = context};
    sl_status status = check_dim(keys, head_dim);
    if (status == SL_OK) status = read_scaling_kind(keys, &rope->scaling);
    if (status == SL_OK) status = read_factor(keys, &rope->factor);
    if (status == SL_OK)
        status = sl_key_optional_count(keys, OLD_CONTEXT, 1, SL_CONTEXT_MAX, &rope->context);
    if (status == SL_OK)
        status = sl_key_optional_number(keys, "rope.scaling.attn_factor", 0, &rope->magnitude);
    if (status == SL_OK) status = read_base(keys, &rope->base);
    if (status == SL_OK && rope->scaling == SL_ROPE_LLAMA3) return read_llama3(keys, rope);
    if (status == SL_OK && rope->scaling == SL_ROPE_YARN) return read_yarn(keys, rope);
    return status;
}

/* ---- which keys are known ---- */

static const char *const ALWAYS[] = {
    "rope.dimension_count",
    "rope.freq_base",
    OLD_FACTOR,
    "rope.scaling.type",
    FACTOR,
    "rope.scaling.attn_factor",
    OLD_CONTEXT,
    "rope.scaling.finetuned",
};

/* Scalings that read keys no other one does. */
static const struct {
    const char *key;
    sl_rope_scaling scaling;
} SCALING_KEYS[] = {
    {LOW, SL_ROPE_LLAMA3},
    {HIGH, SL_ROPE_LLAMA3},
    {"rope.scaling.yarn_beta_fast", SL_ROPE_YARN},
    {"rope.scaling.yarn_beta_slow", SL_ROPE_YARN},
    {"rope.scaling.yarn_ext_factor", SL_ROPE_YARN},
};

bool sl_rope_keys_know(sl_text name, sl_rope_scaling scaling)
{
    for (size_t i = 0; i < sizeof ALWAYS / sizeof *ALWAYS; i++)
        if (sl_text_is(name, ALWAYS[i])) return true;
    for (size_t i = 0; i < sizeof SCALING_KEYS / sizeof *SCALING_KEYS; i++)
        if (sl_text_is(name, SCALING_KEYS[i].key)) return SCALING_KEYS[i].scaling == scaling;
    return false;
}
