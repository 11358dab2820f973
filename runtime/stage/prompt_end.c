/* runtime/stage/prompt_end.c - see prompt_end.h. Until the prompt ends everything is admitted, so
 * the i-th token of a head's pages is the sequence's i-th. A token's sum runs over queries in
 * order, in one thread, so it does not depend on how the prompt was cut (contract 1). */
#include "runtime/stage/prompt_end.h"

#include <math.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/base/numbers.h"

enum { SNAPKV_QUERIES = 32 }; /* the prompt's last, which choose: the paper's window */

/* The span's first token whose attention counts. */
static uint32_t first_observer(const sl_layer_context *c, const sl_span *span)
{
    if (c->admission->options.policy.kind == SL_POLICY_H2O) return 0;
    uint32_t n_prompt = sl_layer_prompt_tokens(c, span), end = span->position + SNAPKV_QUERIES;
    return sl_min_u32(sl_saturating_sub_u32(n_prompt, end), span->n_tokens);
}

/* Add to received[slot] what each of n rows' softmax gives it; rows of one token in a group. */
static void add_weights(const sl_key_stretch *stretch, const float *scores, const sl_softmax *state,
                        uint32_t position, size_t n_rows, uint32_t group, float *received)
{
    for (size_t r = 0; r < n_rows; r++) {
        uint32_t sees = position + (uint32_t)(r / group) + 1;
        sl_slots slots = sl_slots_within(0, sees, stretch->start);
        uint32_t end = slots.end < stretch->slots.end ? slots.end : stretch->slots.end;
        const float *row = scores + r * SL_PAGE_TOKENS;
        for (uint32_t slot = stretch->slots.begin; slot < end; slot++)
            received[stretch->start + slot] += expf(row[slot] - state[r].max) / state[r].sum;
    }
}

static void observe(const sl_layer_context *c, const sl_span *span, uint32_t layer, uint32_t head,
                    uint32_t first, const sl_key_stretch *stretch, sl_thread_scratch *own)
{
    const sl_model_shape *s = c->shape;
    uint32_t group = sl_layer_query_group(s), step = sl_layer_block_tokens(s);
    float *received = sl_admission_received(c->admission, span->sequence, layer, head);
    for (uint32_t t = first, n; t < span->n_tokens; t += n) {
        n = span->n_tokens - t < step ? span->n_tokens - t : step;
        if (span->position + t + n <= stretch->start) continue;
        size_t row = span->first_row + t, n_rows = (size_t)n * group;
        sl_layer_queries(c, head, row, n, own->q);
        c->cache->options.layout->scores(stretch->page, own->q, n_rows, s->head_dim, own->scores);
        add_weights(stretch, own->scores, sl_layer_row_state(c, head, row), span->position + t,
                    n_rows, group, received);
    }
}

static void prune(sl_layer_context *c, sl_frame *frame, const sl_span *span, uint32_t layer,
                  uint32_t head, sl_thread_scratch *own)
{
    const sl_policy *policy = &c->admission->options.policy;
    uint32_t n_prompt = sl_layer_prompt_tokens(c, span);
    uint32_t n_kept = sl_admission_prompt_end(c->admission, span->sequence, layer, head,
                                              own->smoothed, own->survives);
    sl_cache_retain(c->cache, span->sequence, layer, head, own->survives);
    c->kept[(size_t)layer * c->shape->n_kv_heads + head] += n_kept;
    if (!frame->flags) return;
    SL_ASSERT(span->position == 0); /* flags have room for a token a row */
    uint8_t *flags = sl_frame_flags(frame, c->layer_begin + layer, head) + span->first_row;
    uint32_t n_left = sl_saturating_sub_u32(n_prompt, policy->window);
    memset(flags, 1, n_prompt);
    memcpy(flags, own->survives, n_left);
}

void sl_prompt_end_after(sl_layer_context *context, sl_member me, sl_frame *frame,
                         const sl_span *span, uint32_t layer)
{
    sl_layer_context *c = context;
    sl_thread_scratch *own = &c->own[me.thread];
    uint32_t n_kv_heads = c->shape->n_kv_heads, n_prompt = sl_layer_prompt_tokens(c, span);
    if (span->position >= n_prompt || c->admission->sequences[span->sequence].keeps_all ||
        sl_cache_is_sliding(c->cache, layer))
        return;
    uint32_t first = first_observer(c, span);
    uint32_t n = first < span->n_tokens
                     ? sl_cache_n_stretches(c->cache, layer, span->position, span->n_tokens)
                     : 0;
    for (size_t i; (i = sl_team_take(me)) < (size_t)n * n_kv_heads;) {
        uint32_t head = (uint32_t)(i / n);
        sl_key_stretch stretch = sl_cache_stretch(c->cache, span->sequence, layer, head,
                                                  span->position, span->n_tokens,
                                                  (uint32_t)(i % n));
        observe(c, span, layer, head, first, &stretch, own);
    }
    sl_team_barrier(me);
    if (span->position + span->n_tokens < n_prompt) return;
    sl_share heads = sl_team_share(me, n_kv_heads, 1);
    for (uint32_t head = (uint32_t)heads.begin; head < heads.end; head++)
        prune(c, frame, span, layer, head, own);
    sl_team_barrier(me);
}
