/* runtime/model/architecture.c - see architecture.h. */
#include "runtime/model/architecture.h"

#include "runtime/base/append.h"
#include "runtime/base/log.h"
#include "runtime/model/model_keys.h"

static const sl_architecture *const ARCHITECTURES[] = {
    &sl_architecture_llama, &sl_architecture_gemma3, &sl_architecture_qwen2, &sl_architecture_qwen3,
    &sl_architecture_smollm3};

enum { N_ARCHITECTURES = sizeof ARCHITECTURES / sizeof *ARCHITECTURES };

static void list_names(char *out, size_t out_bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < N_ARCHITECTURES; i++)
        sl_append(out, out_bytes, &n, "%s%s", n > 0 ? ", " : "", ARCHITECTURES[i]->name);
}

static const sl_architecture *named(sl_text name)
{
    for (size_t i = 0; i < N_ARCHITECTURES; i++)
        if (sl_text_is(name, ARCHITECTURES[i]->name)) return ARCHITECTURES[i];
    return NULL;
}

sl_status sl_architecture_find(const sl_gguf *gguf, const sl_architecture **out)
{
    sl_text architecture;
    if (!sl_gguf_text(gguf, "general.architecture", &architecture)) {
        sl_error("%s: key general.architecture is %s", sl_gguf_path(gguf),
                 sl_gguf_has(gguf, "general.architecture") ? "not a text" : "missing");
        return SL_ERR_FORMAT;
    }
    *out = named(architecture);
    if (*out) return SL_OK;
    char known[256];
    list_names(known, sizeof known);
    sl_error("%s: architecture '%.*s' is not supported, there are: %s", sl_gguf_path(gguf),
             sl_key_shown(architecture), architecture.data, known);
    return SL_ERR_UNSUPPORTED;
}

const sl_architecture *sl_architecture_of(const sl_gguf *gguf)
{
    sl_text name;
    const sl_architecture *found = NULL;
    if (sl_gguf_text(gguf, "general.architecture", &name)) found = named(name);
    SL_ASSERT(found);
    return found;
}
