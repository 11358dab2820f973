/* launch/setup/lora_choice.c - see lora_choice.h. */
#include "launch/setup/lora_choice.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/options/written.h"
#include "runtime/base/log.h"

/* One adapter as it was given. */
typedef struct {
    char path[PATH_MAX];
    float scale;
} item;

static sl_status wrong(const char *list, const char *what)
{
    sl_error("--lora %s: %s; give FILE or FILE=SCALE, with commas between", list, what);
    return SL_ERR_OPTION;
}

static bool read_scale(const char *text, float *out)
{
    char *end;
    errno = 0;
    *out = strtof(text, &end);
    return end != text && *end == '\0' && isfinite(*out);
}

/* text[bytes], without commas. */
static sl_status read_item(const char *list, const char *text, size_t bytes, item *out)
{
    char what[PATH_MAX + 96];
    if (bytes == 0) return wrong(list, "an item is empty");
    if (bytes >= sizeof out->path) return wrong(list, "a name is too long");
    memcpy(out->path, text, bytes);
    out->path[bytes] = '\0';
    out->scale = 1;
    char *equals = strrchr(out->path, '=');
    if (!equals) return SL_OK;
    *equals = '\0';
    if (equals == out->path) return wrong(list, "a scale has no file before it");
    if (read_scale(equals + 1, &out->scale)) return SL_OK;
    snprintf(what, sizeof what,
             "'%s' is no scale, which is a finite number (a file with = in its name needs =1 "
             "behind it)",
             equals + 1);
    return wrong(list, what);
}

sl_status sl_lora_choose(const sl_settings *settings, const sl_gguf *model,
                         const sl_model_shape *shape, sl_lora *lora)
{
    const char *list = settings->lora;
    sl_status status = SL_OK;
    for (const char *at = list; at && status == SL_OK;) {
        item one;
        size_t bytes = strcspn(at, ",");
        status = read_item(list, at, bytes, &one);
        if (status == SL_OK) status = sl_written_check(settings, "--lora", one.path);
        if (status == SL_OK) status = sl_lora_add(lora, one.path, one.scale, model, shape);
        at = at[bytes] ? at + bytes + 1 : NULL;
    }
    return status;
}

void sl_lora_check_gate(const sl_lora *lora, const sl_gate *gate, const char *path)
{
    bool found = gate->adapter_hash == 0;
    for (uint32_t i = 0; i < lora->n; i++)
        found = found || sl_lora_file_hash(lora->items[i].file) == gate->adapter_hash;
    if (found) return;
    sl_warn("%s is for the model with the LoRA adapter of hash %016llx, which %s: its gates decide "
            "about another model; give the adapter that train sft wrote beside it with --lora",
            path, (unsigned long long)gate->adapter_hash,
            lora->n > 0 ? "is none of --lora" : "is not given");
}
