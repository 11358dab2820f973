/* launch/show/look.c - see look.h. The whole prompt is one frame through one stage of all layers. */
#include "launch/show/look.h"

#include <stdlib.h>
#include <string.h>

#include "launch/setup/lone_stage.h"
#include "launch/setup/policy_choice.h"
#include "runtime/base/log.h"
#include "runtime/base/read_file.h"
#include "runtime/stage/attention_maps.h"

/* ---- opening ---- */

static const sl_gate *gate_of(const sl_look *look)
{
    return look->policy.kind == SL_POLICY_GATE ? sl_gate_file_gate(look->gate_file) : NULL;
}

static sl_status open_gate(const sl_settings *s, sl_look *look)
{
    const sl_gate *gate = NULL;
    sl_status status = SL_OK;
    if (s->gate) {
        status = sl_gate_file_open(s->gate, &look->gate_file);
        if (status != SL_OK) return status;
        gate = sl_gate_file_gate(look->gate_file);
        status = sl_gate_fits(gate, s->gate, look->shape.n_layers, look->shape.n_kv_heads,
                              look->shape.width);
    }
    if (status == SL_OK) status = sl_policy_choose(s, gate, true, &look->policy);
    /* flags of a pruned prompt need it in one piece, and here it is */
    if (sl_policy_at_prompt_end(look->policy.kind)) look->policy.whole_prompts = true;
    return status;
}

static sl_status read_prompt(const sl_settings *s, sl_look *look)
{
    char *text = NULL;
    size_t bytes = 0;
    sl_status status = sl_tokenizer_open(look->gguf, &look->tokenizer);
    if (status == SL_OK && s->file) status = sl_read_file(s->file, &text, &bytes);
    if (status == SL_OK)
        status = sl_tokenizer_encode_prompt(look->tokenizer, text ? text : s->prompt,
                                            text ? bytes : strlen(s->prompt), &look->tokens);
    free(text);
    if (status != SL_OK) return status;
    if (look->tokens.n > 0 && look->tokens.n <= SL_LOOK_TOKENS_MAX) return SL_OK;
    sl_error("the prompt is %zu tokens; a picture holds 1 to %d", look->tokens.n,
             SL_LOOK_TOKENS_MAX);
    return SL_ERR_OPTION;
}

static sl_status check_layers(const sl_settings *s, sl_look *look)
{
    const sl_gate *gate = gate_of(look);
    for (uint32_t i = 0; i < s->layers.n; i++) {
        if (s->layers.items[i] >= look->shape.n_layers) {
            sl_error("--layers: %u is beyond the model's last, %u", s->layers.items[i],
                     look->shape.n_layers - 1);
            return SL_ERR_OPTION;
        }
        uint32_t heads = gate ? gate->layers[s->layers.items[i]].shape.heads : 0;
        if (heads > look->gate_heads) look->gate_heads = heads;
    }
    return SL_OK;
}

static sl_status take_maps(const sl_settings *s, sl_look *look)
{
    size_t n = look->tokens.n, maps = n * n * s->layers.n;
    look->fates = malloc((size_t)look->shape.n_layers * look->shape.n_kv_heads * n);
    look->attention = calloc(maps * look->shape.n_heads + 1, sizeof *look->attention);
    if (look->gate_heads > 0) look->gate = calloc(maps * look->gate_heads + 1, sizeof *look->gate);
    bool good = look->fates && look->attention && (look->gate_heads == 0 || look->gate);
    if (!good) sl_error("no memory for maps of %u layers and %zu tokens", s->layers.n, n);
    return good ? SL_OK : SL_ERR_MEMORY;
}

/* ---- computing ---- */

/* From the frame's flags, of who left the window or of who survived the prompt's end. */
static void note_fates(sl_look *look, const sl_frame *frame)
{
    const sl_policy *p = &look->policy;
    uint32_t n = (uint32_t)look->tokens.n, n_kv_heads = look->shape.n_kv_heads;
    uint32_t back = sl_policy_at_prompt_end(p->kind) ? 0 : p->window;
    for (uint32_t layer = 0; layer < look->shape.n_layers; layer++)
        for (uint32_t head = 0; head < n_kv_heads; head++) {
            const uint8_t *flags = sl_frame_flags(frame, layer, head);
            uint8_t *fates = look->fates + ((size_t)layer * n_kv_heads + head) * n;
            for (uint32_t t = 0; t < n; t++) {
                bool always = t < p->sinks || n - t <= p->window;
                fates[t] = always            ? SL_FATE_ALWAYS
                           : flags[t + back] ? SL_FATE_KEPT
                                             : SL_FATE_EVICTED;
            }
        }
}

static sl_status compute(const sl_settings *s, const sl_kernels *kernels, sl_look *look)
{
    uint32_t n = (uint32_t)look->tokens.n, pages = sl_cache_head_pages(look->policy.window, n);
    if (sl_policy_at_prompt_end(look->policy.kind)) pages *= 2; /* survivors are copied */
    sl_attention_maps maps = {.layers = s->layers.items,
                              .n_layers = s->layers.n,
                              .n_tokens = n,
                              .gate_heads = look->gate_heads,
                              .attention = look->attention,
                              .gate = look->gate};
    sl_probe probe = {.context = &maps, .layer = sl_attention_maps_take};
    sl_stage_options options = {.kernels = kernels,
                                .limits = {.rows_max = n,
                                           .spans_max = 1,
                                           .controls_max = 1,
                                           .ranks = 1,
                                           .width = look->shape.width,
                                           .n_layers = look->shape.n_layers,
                                           .n_kv_heads = look->shape.n_kv_heads,
                                           .flags = true},
                                .sequences_max = 1,
                                .context = n,
                                .policy = look->policy,
                                .gate = gate_of(look),
                                .n_pages = look->shape.n_layers * look->shape.n_kv_heads * pages,
                                .probe = &probe};
    sl_lone_stage lone;
    sl_status status = sl_lone_stage_open(look->gguf, &look->shape, look->shape.n_layers, &options,
                                          s->threads, &lone);
    if (status == SL_OK && look->gate_file)
        status = sl_gate_fits_hash(sl_gate_file_gate(look->gate_file), s->gate, lone.tensors_hash,
                                   s->model);
    if (status == SL_OK) status = sl_lone_stage_compute(&lone, look->tokens.ids, n);
    if (status == SL_OK) note_fates(look, &lone.frame);
    sl_lone_stage_close(&lone);
    return status;
}

sl_status sl_look_take(const sl_settings *settings, sl_look *look)
{
    const sl_kernels *kernels;
    *look = (sl_look){0};
    sl_status status = sl_kernels_choose(&kernels);
    if (status == SL_OK) status = sl_gguf_open(settings->model, &look->gguf);
    if (status == SL_OK) status = sl_model_shape_read(look->gguf, &look->shape);
    if (status == SL_OK) status = open_gate(settings, look);
    if (status == SL_OK) status = read_prompt(settings, look);
    if (status == SL_OK) status = check_layers(settings, look);
    if (status == SL_OK) status = take_maps(settings, look);
    return status == SL_OK ? compute(settings, kernels, look) : status;
}

void sl_look_close(sl_look *look)
{
    free(look->gate);
    free(look->attention);
    free(look->fates);
    sl_tokens_free(&look->tokens);
    sl_gate_file_close(look->gate_file);
    sl_tokenizer_close(look->tokenizer);
    sl_gguf_close(look->gguf);
    *look = (sl_look){0};
}

double sl_look_retention(const sl_look *look)
{
    size_t n = (size_t)look->shape.n_layers * look->shape.n_kv_heads * look->tokens.n;
    size_t n_eligible = 0, n_kept = 0;
    for (size_t i = 0; i < n; i++) {
        n_eligible += look->fates[i] != SL_FATE_ALWAYS;
        n_kept += look->fates[i] == SL_FATE_KEPT;
    }
    return n_eligible > 0 ? (double)n_kept / (double)n_eligible : 1;
}
