/* launch/show/prompt_trace.c - see prompt_trace.h. The whole prompt is one frame through one stage
 * of all layers. */
#include "launch/show/prompt_trace.h"

#include <stdlib.h>
#include <string.h>

#include "launch/setup/local_stage.h"
#include "runtime/base/log.h"
#include "runtime/base/read_file.h"
#include "runtime/stage/attention_maps.h"

/* ---- opening ---- */

static sl_status read_prompt(const sl_settings *s, sl_prompt_trace *trace)
{
    char *text = NULL;
    size_t bytes = 0;
    sl_status status = sl_model_setup_open(&trace->setup, SL_SETUP_TOKENIZER);
    if (status == SL_OK && s->file) status = sl_read_file(s->file, &text, &bytes);
    if (status == SL_OK)
        status = sl_tokenizer_encode_whole(trace->setup.tokenizer, text ? text : s->prompt,
                                           text ? bytes : strlen(s->prompt), SL_SPECIAL_PARSED,
                                           &trace->tokens);
    free(text);
    if (status != SL_OK) return status;
    if (trace->tokens.n > 0 && trace->tokens.n <= SL_PROMPT_TRACE_TOKENS_MAX) return SL_OK;
    sl_error("the prompt is %zu tokens; a picture holds 1 to %d", trace->tokens.n,
             SL_PROMPT_TRACE_TOKENS_MAX);
    return SL_ERR_OPTION;
}

static sl_status check_layers(const sl_settings *s, sl_prompt_trace *trace)
{
    const sl_gate *gate = sl_model_setup_policy_gate(&trace->setup);
    for (uint32_t i = 0; i < s->layers.n; i++) {
        if (s->layers.items[i] >= trace->setup.shape.n_layers) {
            sl_error("--layers: %u is beyond the model's last, %u", s->layers.items[i],
                     trace->setup.shape.n_layers - 1);
            return SL_ERR_OPTION;
        }
        uint32_t heads = gate ? gate->layers[s->layers.items[i]].shape.heads : 0;
        if (heads > trace->gate_heads) trace->gate_heads = heads;
    }
    return SL_OK;
}

static sl_status take_maps(const sl_settings *s, sl_prompt_trace *trace)
{
    size_t n = trace->tokens.n, maps = n * n * s->layers.n;
    trace->fates = malloc((size_t)trace->setup.shape.n_layers * trace->setup.shape.n_kv_heads * n);
    trace->attention = calloc(maps * trace->setup.shape.n_heads + 1, sizeof *trace->attention);
    if (trace->gate_heads > 0)
        trace->gate = calloc(maps * trace->gate_heads + 1, sizeof *trace->gate);
    bool good = trace->fates && trace->attention && (trace->gate_heads == 0 || trace->gate);
    if (!good) sl_error("no memory for maps of %u layers and %zu tokens", s->layers.n, n);
    return good ? SL_OK : SL_ERR_MEMORY;
}

/* ---- computing ---- */

/* From the frame's flags, of who left the window or of who survived the prompt's end. */
static void note_fates(sl_prompt_trace *trace, const sl_frame *frame)
{
    const sl_policy *p = &trace->setup.policy;
    uint32_t n = (uint32_t)trace->tokens.n, n_kv_heads = trace->setup.shape.n_kv_heads;
    uint32_t back = sl_policy_at_prompt_end(p->kind) ? 0 : p->window;
    for (uint32_t layer = 0; layer < trace->setup.shape.n_layers; layer++) {
        bool sliding = sl_sliding_window(&trace->setup.shape, layer) > 0;
        for (uint32_t head = 0; head < n_kv_heads; head++) {
            const uint8_t *flags = sl_frame_flags(frame, layer, head);
            uint8_t *fates = trace->fates + ((size_t)layer * n_kv_heads + head) * n;
            for (uint32_t t = 0; t < n; t++) {
                bool always = sliding || t < p->sinks || n - t <= p->window;
                fates[t] = always            ? SL_FATE_ALWAYS
                           : flags[t + back] ? SL_FATE_KEPT
                                             : SL_FATE_EVICTED;
            }
        }
    }
}

static sl_status compute(const sl_settings *s, sl_prompt_trace *trace)
{
    uint32_t n = (uint32_t)trace->tokens.n,
             pages = sl_cache_head_pages(trace->setup.policy.window, n);
    if (sl_policy_at_prompt_end(trace->setup.policy.kind)) pages *= 2; /* survivors are copied */
    sl_attention_maps maps = {.layers = s->layers.items,
                              .n_layers = s->layers.n,
                              .n_tokens = n,
                              .gate_heads = trace->gate_heads,
                              .attention = trace->attention,
                              .gate = trace->gate};
    sl_probe probe = {.context = &maps, .layer = sl_attention_maps_take};
    sl_stage_options options = {
        .kernels = trace->setup.kernels,
        .limits = {.rows_max = n,
                   .spans_max = 1,
                   .controls_max = 1,
                   .ranks = 1,
                   .width = trace->setup.shape.width,
                   .n_layers = trace->setup.shape.n_layers,
                   .n_kv_heads = trace->setup.shape.n_kv_heads,
                   .flags = true},
        .sequences_max = 1,
        .context = n,
        .policy = trace->setup.policy,
        .gate = sl_model_setup_policy_gate(&trace->setup),
        .n_pages = sl_full_heads(&trace->setup.shape, 0, trace->setup.shape.n_layers) * pages,
        .probe = &probe};
    sl_local_stage local;
    sl_status status = sl_local_stage_open(trace->setup.gguf, NULL, &trace->setup.shape,
                                           trace->setup.shape.n_layers, &options, s->threads,
                                           &local);
    if (status == SL_OK) status = sl_model_setup_check_gate(&trace->setup, local.tensors_hash);
    if (status == SL_OK) status = sl_local_stage_compute(&local, trace->tokens.ids, n);
    if (status == SL_OK) note_fates(trace, &local.frame);
    sl_local_stage_close(&local);
    return status;
}

sl_status sl_prompt_trace_take(const sl_settings *settings, sl_prompt_trace *trace)
{
    *trace = (sl_prompt_trace){.setup = {.model = settings->model, .settings = settings}};
    sl_status status = sl_model_setup_open(&trace->setup, SL_SETUP_KERNELS | SL_SETUP_POLICY);
    /* The flags of a pruned prompt need it in one piece, and here it is. */
    sl_policy *policy = &trace->setup.policy;
    if (status == SL_OK && sl_policy_at_prompt_end(policy->kind)) policy->whole_prompts = true;
    if (status == SL_OK) status = read_prompt(settings, trace);
    if (status == SL_OK) status = check_layers(settings, trace);
    if (status == SL_OK) status = take_maps(settings, trace);
    return status == SL_OK ? compute(settings, trace) : status;
}

void sl_prompt_trace_close(sl_prompt_trace *trace)
{
    free(trace->gate);
    free(trace->attention);
    free(trace->fates);
    sl_tokens_free(&trace->tokens);
    sl_model_setup_close(&trace->setup);
    *trace = (sl_prompt_trace){0};
}

double sl_prompt_trace_retention(const sl_prompt_trace *trace)
{
    size_t n = (size_t)trace->setup.shape.n_layers * trace->setup.shape.n_kv_heads *
               trace->tokens.n;
    size_t n_eligible = 0, n_kept = 0;
    for (size_t i = 0; i < n; i++) {
        n_eligible += trace->fates[i] != SL_FATE_ALWAYS;
        n_kept += trace->fates[i] == SL_FATE_KEPT;
    }
    return n_eligible > 0 ? (double)n_kept / (double)n_eligible : 1;
}
