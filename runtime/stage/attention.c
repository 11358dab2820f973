/* runtime/stage/attention.c - see attention.h. Work is split over the team's threads in pieces that
 * never change an output's bits (contract 1): heads, query blocks, runs of pages; partial results
 * merge in index order. */
#include "runtime/stage/attention.h"

#include <math.h>
#include <string.h>

#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/stage/prompt_end.h"

/* ---- fates ---- */

static uint8_t *keep_row(const sl_layer_context *c, uint32_t head, const sl_span *span)
{
    return c->shared.keep + head * c->rows_max + span->first_row;
}

/* Whether what a span pushes out of the window is kept in one head: keep_row(). */
static void decide(const sl_layer_context *c, const sl_span *span, uint32_t layer, uint32_t head,
                   uint32_t gate_delay)
{
    const sl_model_shape *s = c->shape;
    size_t kv_width = (size_t)s->n_kv_heads * s->head_dim;
    const float *scores = NULL;
    if (sl_cache_is_sliding(c->cache, layer)) { /* what leaves such a window is gone */
        memset(keep_row(c, head, span), 0, span->n_tokens);
        return;
    }
    if (c->gates) {
        scores = c->gates->logits + head * c->rows_max + span->first_row;
    } else if (c->shared.key_scores) {
        float *own = c->shared.key_scores + head * c->rows_max + span->first_row;
        const float *k = c->shared.k + span->first_row * kv_width + (size_t)head * s->head_dim;
        sl_admission_key_scores(c->admission, span->sequence, layer, head, k, kv_width,
                                span->n_tokens, own);
        scores = own;
    }
    sl_admission_decide(c->admission, span->sequence, layer, head, span->position, span->n_tokens,
                        scores, gate_delay, keep_row(c, head, span));
}

/* Count a span's eligible tokens that were kept, and tell the flags to who asked for them. */
static void account(sl_layer_context *c, sl_frame *frame, const sl_span *span, uint32_t layer)
{
    uint32_t n_kv_heads = c->shape->n_kv_heads;
    const sl_policy *policy = &c->admission->options.policy;
    bool in_prompt = span->position < sl_layer_prompt_tokens(c, span);
    bool all = c->admission->sequences[span->sequence].keeps_all ||
               sl_cache_is_sliding(c->cache, layer);
    if (sl_policy_at_prompt_end(policy->kind) && in_prompt && !all) return; /* counted as it ends */
    uint32_t end = span->position + span->n_tokens;
    uint32_t first = sl_policy_eligible(policy, span->position);
    uint32_t n = all ? 0 : sl_policy_eligible(policy, end) - first;
    for (uint32_t head = 0; head < n_kv_heads; head++) {
        const uint8_t *keep = keep_row(c, head, span);
        uint64_t *kept = &c->kept[(size_t)layer * n_kv_heads + head];
        for (uint32_t t = span->n_tokens - n; t < span->n_tokens; t++) *kept += keep[t];
        if (!frame->flags) continue;
        uint8_t *flags = sl_frame_flags(frame, c->layer_begin + layer, head) + span->first_row;
        memset(flags, 1, span->n_tokens - n);
        memcpy(flags + span->n_tokens - n, keep + span->n_tokens - n, n);
    }
}

/* ---- attention ---- */

static void begin_softmax(size_t n_rows, size_t head_dim, sl_softmax *state, float *acc)
{
    for (size_t r = 0; r < n_rows; r++) state[r] = (sl_softmax){.max = -INFINITY, .sum = 0};
    memset(acc, 0, n_rows * head_dim * sizeof *acc);
}

static float *attended_row(const sl_layer_context *c, size_t row, uint32_t head, uint32_t g)
{
    const sl_model_shape *s = c->shape;
    return c->shared.attended.x +
           ((row * s->n_heads) + (size_t)head * sl_layer_query_group(s) + g) * s->head_dim;
}

/* What was attended to, as the input of a linear map. */
static void quantize_rows(const sl_layer_context *c, size_t begin, size_t end)
{
    sl_activations a = sl_layer_input(c, &c->shared.attended, c->rows_max);
    sl_linear_quantize(c->kernels, &a, begin, end);
}

/* Whether some of a head's keys have a bias so large that int8, whose step is that of the largest
 * of 32 numbers, leaves little of the others. Qwen2.5's reach hundreds. With such biases in 8 of 64
 * numbers, prompts in int8 change log-probabilities on average by 0.06 nat (a bias of 1), 0.07 (4),
 * 0.10 (8), 0.15 (16), 0.28 (32), 0.76 (100); tests/golden/model, synth_key_bias. */
static bool has_large_bias(const float *k_bias, uint32_t head, uint32_t head_dim)
{
    const float most = 4;
    bool large = false;
    for (uint32_t i = 0; k_bias && i < head_dim; i++)
        large |= fabsf(k_bias[(size_t)head * head_dim + i]) > most;
    return large;
}

/* Queries [first, first + n) of a prompt span against everything they see in one KV head. */
static void attend_block(const sl_layer_context *c, const sl_span *span, uint32_t layer,
                         uint32_t head, uint32_t first, uint32_t n, sl_thread_scratch *own)
{
    const sl_model_shape *s = c->shape;
    const sl_kv_layout *layout = c->cache->options.layout;
    uint32_t group = sl_layer_query_group(s);
    size_t row = span->first_row + first, n_rows = (size_t)n * group;
    size_t n_tiles = sl_cache_prompt_tiles(c->cache, span->sequence, layer, head, span->position,
                                           first, n, group, own->tiles, own->visible);
    sl_layer_queries(c, head, row, n, own->q);
    begin_softmax(n_rows, s->head_dim, own->state, own->acc);
    own->n_tiles += n_tiles;
    own->n_products += n_tiles * n_rows;
    if (has_large_bias(c->weights->layers[layer].k_bias, head, s->head_dim))
        layout->attend(own->tiles, n_tiles, own->q, n_rows, s->head_dim, own->state, own->acc);
    else
        layout->attend_prompt(own->tiles, n_tiles, own->q, n_rows, s->head_dim, own->state,
                              own->acc);
    if (c->shared.row_state)
        memcpy(sl_layer_row_state(c, head, row), own->state, n_rows * sizeof *own->state);
    for (uint32_t r = 0; r < n_rows; r++)
        layout->finish(&own->state[r], own->acc + (size_t)r * s->head_dim, s->head_dim,
                       attended_row(c, row + r / group, head, r % group));
}

/* Put a span's keys and values of one head, deciding who leaves the window for the pages. */
static void put_prompt(const sl_layer_context *c, const sl_span *span, uint32_t layer,
                       uint32_t head, uint32_t gate_delay)
{
    const sl_model_shape *s = c->shape;
    size_t kv_width = (size_t)s->n_kv_heads * s->head_dim;
    size_t at = span->first_row * kv_width + (size_t)head * s->head_dim;
    decide(c, span, layer, head, gate_delay);
    sl_cache_put_prompt(c->cache, span->sequence, layer, head, span->position, span->n_tokens,
                        c->shared.k + at, c->shared.v + at, kv_width, keep_row(c, head, span));
}

/* Pieces of query blocks, longest first: later queries see more. */
static void attend_prompt(sl_layer_context *c, sl_member me, sl_frame *frame, const sl_span *span,
                          uint32_t layer)
{
    const sl_model_shape *s = c->shape;
    uint32_t step = sl_layer_block_tokens(s), n_blocks = (span->n_tokens + step - 1) / step;
    uint32_t delay = 0;
    sl_share rows = sl_team_share(me, span->n_tokens, 1);
    sl_layer_finish_heads(c, layer, span->first_row + rows.begin, span->first_row + rows.end);
    sl_team_barrier(me);
    if (c->gates) {
        int64_t began_ns = sl_clock_now_ns();
        delay = sl_gates_score_prompt(c->gates, me, layer, span, sl_layer_prompt_tokens(c, span));
        if (me.thread == 0) c->gate_ns += sl_clock_now_ns() - began_ns;
    }
    sl_share heads = sl_team_share(me, s->n_kv_heads, 1);
    for (uint32_t head = (uint32_t)heads.begin; head < heads.end; head++)
        put_prompt(c, span, layer, head, delay);
    sl_team_barrier(me);
    for (size_t i; (i = sl_team_take(me)) < (size_t)n_blocks * s->n_kv_heads;) {
        uint32_t block = n_blocks - 1 - (uint32_t)(i / s->n_kv_heads), first = block * step;
        uint32_t n = span->n_tokens - first < step ? span->n_tokens - first : step;
        attend_block(c, span, layer, (uint32_t)(i % s->n_kv_heads), first, n, &c->own[me.thread]);
    }
    sl_team_barrier(me);
    quantize_rows(c, span->first_row + rows.begin, span->first_row + rows.end);
    if (c->shared.row_state) sl_prompt_end_after(c, me, frame, span, layer);
    sl_team_barrier(me);
}

/* Where the partial results of run 0 of (decode span d, head) are kept. */
static size_t partial_index(const sl_layer_context *c, uint32_t d, uint32_t head)
{
    return ((size_t)d * c->shape->n_kv_heads + head) * sl_cache_decode_runs_max(c->cache) *
           sl_layer_query_group(c->shape);
}

static void attend_run(const sl_layer_context *c, const sl_span *span, uint32_t d, uint32_t layer,
                       uint32_t head, uint32_t run, sl_thread_scratch *own)
{
    const sl_model_shape *s = c->shape;
    uint32_t group = sl_layer_query_group(s);
    size_t partial = partial_index(c, d, head) + (size_t)run * group;
    sl_softmax *state = c->shared.run_state + partial;
    float *acc = c->shared.run_acc + partial * s->head_dim;
    size_t n_tiles = sl_cache_decode_tiles(c->cache, span->sequence, layer, head, span->position,
                                           run, group, own->tiles, own->visible);
    sl_layer_queries(c, head, span->first_row, 1, own->q);
    begin_softmax(group, s->head_dim, state, acc);
    own->n_tiles += n_tiles;
    own->n_products += n_tiles * group;
    c->cache->options.layout->attend(own->tiles, n_tiles, own->q, group, s->head_dim, state, acc);
}

static void merge_runs(const sl_layer_context *c, const sl_span *span, uint32_t d, uint32_t layer,
                       uint32_t head)
{
    const sl_model_shape *s = c->shape;
    const sl_kv_layout *layout = c->cache->options.layout;
    uint32_t group = sl_layer_query_group(s),
             n_runs = sl_cache_decode_runs(c->cache, span->sequence, layer, head);
    for (uint32_t g = 0; g < group; g++) {
        sl_softmax *state = c->shared.run_state + partial_index(c, d, head) + g;
        float *acc = c->shared.run_acc + (partial_index(c, d, head) + g) * s->head_dim;
        for (uint32_t run = 1; run < n_runs; run++)
            layout->merge(state, acc, state + (size_t)run * group,
                          acc + (size_t)run * group * s->head_dim, s->head_dim);
        layout->finish(state, acc, s->head_dim, attended_row(c, span->first_row, head, g));
    }
}

static void put_decode(const sl_layer_context *c, const sl_span *span, uint32_t layer, int thread)
{
    const sl_model_shape *s = c->shape;
    uint32_t delay = 0;
    sl_layer_finish_heads(c, layer, span->first_row, span->first_row + 1);
    if (c->gates)
        delay = sl_gates_score_decode(c->gates, layer, span, sl_layer_prompt_tokens(c, span),
                                      thread);
    for (uint32_t head = 0; head < s->n_kv_heads; head++) {
        size_t at = ((size_t)span->first_row * s->n_kv_heads + head) * s->head_dim;
        decide(c, span, layer, head, delay);
        sl_cache_put_decode(c->cache, span->sequence, layer, head, span->position, c->shared.k + at,
                            c->shared.v + at, *keep_row(c, head, span));
    }
}

/* All decode spans of a frame together: work is split by (span, head, run), since lengths
 * differ. */
static void attend_decode(const sl_layer_context *c, sl_member me, const sl_frame *frame,
                          uint32_t n_decode, uint32_t layer)
{
    uint32_t n_heads = c->shape->n_kv_heads, runs_max = sl_cache_decode_runs_max(c->cache);
    const uint32_t *spans = c->shared.decode_spans;
    sl_share own = sl_team_share(me, n_decode, 1);
    for (uint32_t d = (uint32_t)own.begin; d < own.end; d++)
        put_decode(c, &frame->spans[spans[d]], layer, me.thread);
    sl_team_barrier(me);
    for (size_t i; (i = sl_team_take(me)) < (size_t)n_decode * n_heads * runs_max;) {
        uint32_t run = (uint32_t)(i % runs_max), head = (uint32_t)(i / runs_max % n_heads);
        uint32_t d = (uint32_t)(i / runs_max / n_heads);
        const sl_span *span = &frame->spans[spans[d]];
        if (run < sl_cache_decode_runs(c->cache, span->sequence, layer, head))
            attend_run(c, span, d, layer, head, run, &c->own[me.thread]);
    }
    sl_team_barrier(me);
    for (uint32_t d = (uint32_t)own.begin; d < own.end; d++) {
        const sl_span *span = &frame->spans[spans[d]];
        for (uint32_t head = 0; head < n_heads; head++) merge_runs(c, span, d, layer, head);
        quantize_rows(c, span->first_row, span->first_row + 1);
    }
    sl_team_barrier(me);
}

void sl_attention_run(sl_layer_context *c, sl_member me, sl_frame *frame, uint32_t layer)
{
    for (uint32_t i = 0; i < frame->n_spans; i++)
        if (frame->spans[i].kind == SL_SPAN_PROMPT)
            attend_prompt(c, me, frame, &frame->spans[i], layer);
    if (c->shared.n_decode > 0) attend_decode(c, me, frame, c->shared.n_decode, layer);
    if (me.thread == 0) { /* reads what nobody writes before the next layer's barriers */
        for (uint32_t i = 0; i < frame->n_spans; i++) account(c, frame, &frame->spans[i], layer);
        if (c->probe) c->probe->layer(c->probe->context, c, frame, layer);
    }
    if (c->probe) sl_team_barrier(me); /* what it looks at stays as it is */
}
