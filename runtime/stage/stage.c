/* runtime/stage/stage.c - controls, embedding, layers, head and sampling of one frame. The stage
 * keeps, for each sequence slot, how long it is, and on the last stage its tokens and sampling. */
#include "runtime/stage/stage.h"

#include <string.h>

#include "runtime/base/log.h"
#include "runtime/base/numbers.h"
#include "runtime/stage/kept_distributions.h"
#include "runtime/stage/layer.h"
#include "runtime/stage/sampler.h"

enum { HEAD_ROWS = 16 }; /* rows of logits held at a time */

typedef struct {
    bool open;
    uint32_t n_tokens, n_prompt;
    uint64_t frame; /* the last with a span of it, counted by the stage */
    sl_comparison comparison;
    sl_sampling sampling; /* last stage only, as is: */
    int32_t *tokens;      /* [context] */
} slot;

/* A hidden row whose logits are wanted, and what for. */
typedef struct {
    uint32_t row;
    const sl_span *span;
    bool sample;
} wanted_row;

struct sl_stage {
    sl_stage_options options;
    sl_cache cache;
    sl_admission admission;
    sl_gates gates;
    sl_layer_context context;
    uint64_t seen; /* eligible tokens of all sequences, ever */
    slot *slots;   /* [sequences_max] */
    uint64_t n_frames;

    /* last stage only */
    wanted_row *wanted; /* [rows_max]: a row is scored or sampled, not both */
    size_t n_wanted;
    sl_activations head_rows;    /* [HEAD_ROWS][width] */
    float *logits;               /* [HEAD_ROWS][vocab] */
    sl_sampler_scratch *sampler; /* [threads] */
    sl_kept_distributions kept;
};

static bool is_first(const sl_stage *stage) { return stage->options.weights->embedding.data; }
static bool is_last(const sl_stage *stage) { return stage->options.weights->head.data; }

static void init_head(sl_stage *stage, sl_arena *arena)
{
    const sl_stage_options *o = &stage->options;
    size_t width = o->weights->shape.width, vocab = o->weights->shape.vocab;
    for (uint32_t i = 0; i < o->sequences_max; i++) {
        int32_t *tokens = sl_arena_array(arena, int32_t, o->context);
        if (stage->slots) stage->slots[i].tokens = tokens;
    }
    stage->wanted = sl_arena_array(arena, wanted_row, o->limits.rows_max);
    stage->head_rows = sl_activations_take(arena, HEAD_ROWS, width);
    stage->logits = sl_arena_array(arena, float, HEAD_ROWS *vocab);
    sl_kept_distributions_init(&stage->kept, o->compared_rows, vocab, arena);
    stage->sampler = sl_arena_array(arena, sl_sampler_scratch, o->threads);
    for (int i = 0; i < o->threads; i++) {
        sl_sampler_scratch scratch;
        sl_sampler_scratch_init(&scratch, vocab, arena);
        if (stage->sampler) stage->sampler[i] = scratch;
    }
}

static void init_policy(sl_stage *stage, sl_arena *arena)
{
    const sl_stage_options *o = &stage->options;
    const sl_weights *w = o->weights;
    sl_admission_options admission = {
        .policy = o->policy,
        .first_layer = w->layer_begin,
        .n_layers = w->layer_end - w->layer_begin,
        .n_kv_heads = w->shape.n_kv_heads,
        .head_dim = w->shape.head_dim,
        .sequences_max = o->sequences_max,
        .context = o->context,
    };
    sl_admission_init(&stage->admission, &admission, arena);
    sl_gate_options gates = {
        .gate = o->gate,
        .kernels = o->kernels,
        .layer_begin = w->layer_begin,
        .layer_end = w->layer_end,
        .window = o->policy.window,
        .sequences_max = o->sequences_max,
        .context = o->context,
        .rows_max = o->limits.rows_max,
        .threads = o->threads,
    };
    if (o->gate) sl_gates_init(&stage->gates, &gates, arena);
}

void sl_stage_init(const sl_stage_options *options, sl_arena *arena, sl_stage **stage_out)
{
    const sl_model_shape *shape = &options->weights->shape;
    sl_stage counted = {0};
    sl_stage *stage = sl_arena_array(arena, sl_stage, 1);
    *stage_out = stage;
    if (!stage) stage = &counted; /* measuring */
    stage->options = *options;
    stage->slots = sl_arena_array(arena, slot, options->sequences_max);

    uint32_t first = options->weights->layer_begin;
    uint32_t n_layers = options->weights->layer_end - first, sliding_windows[SL_LAYERS_MAX];
    for (uint32_t i = 0; i < n_layers; i++)
        sliding_windows[i] = sl_sliding_window(shape, first + i);
    sl_cache_options cache = {
        .layout = options->kernels->kv[options->kv],
        .n_layers = n_layers,
        .n_kv_heads = shape->n_kv_heads,
        .head_dim = shape->head_dim,
        .window = options->policy.window,
        .sliding_windows = sliding_windows,
        .context = options->context,
        .sequences_max = options->sequences_max,
        .chunk_max = options->limits.rows_max,
        .n_pages = options->n_pages,
    };
    sl_cache_init(&stage->cache, &cache, arena);
    init_policy(stage, arena);
    stage->context = (sl_layer_context){
        .shape = &stage->options.weights->shape,
        .weights = options->weights,
        .kernels = options->kernels,
        .cache = &stage->cache,
        .admission = &stage->admission,
        .gates = options->gate ? &stage->gates : NULL,
        .lora = options->lora,
        .layer_begin = options->weights->layer_begin,
        .probe = options->probe,
        .profile = options->profile,
        .threads = options->threads,
        .decode_max = options->limits.spans_max,
    };
    sl_layer_context_init(&stage->context, &options->limits, arena);
    if (is_last(stage)) init_head(stage, arena);
}

void sl_stage_account_get(const sl_stage *stage, sl_stage_account *account_out)
{
    *account_out = (sl_stage_account){.pages_used = stage->cache.pool.n_used,
                                      .pages_peak = stage->cache.pool.high_water,
                                      .seen = stage->seen,
                                      .gate_ns = stage->context.gate_ns};
}

/* ---- controls ---- */

static sl_status refuse(const sl_frame *frame, const char *what, uint32_t sequence)
{
    sl_error("frame %llu: %s, sequence %u", (unsigned long long)frame->number, what, sequence);
    return SL_ERR_FORMAT;
}

/* The kept distributions serve one pair of sequences after the other. */
static sl_status check_comparison(const sl_stage *stage, const sl_frame *frame,
                                  const sl_control *control)
{
    if (control->comparison.kind == SL_COMPARISON_NONE) return SL_OK;
    if (stage->options.compared_rows == 0)
        return refuse(frame, "comparison in a job that has none", control->sequence);
    for (uint32_t i = 0; i < stage->options.sequences_max; i++)
        if (stage->slots[i].open && stage->slots[i].comparison.kind != SL_COMPARISON_NONE)
            return refuse(frame, "comparison while another one is open", control->sequence);
    return SL_OK;
}

static sl_status apply_control(sl_stage *stage, const sl_frame *frame, const sl_control *control)
{
    if (control->kind == SL_CONTROL_STOP) return SL_OK;
    slot *s = &stage->slots[control->sequence];
    if (s->open != (control->kind == SL_CONTROL_CLOSE))
        return refuse(frame, "control for a slot in the wrong state", control->sequence);
    if (control->kind == SL_CONTROL_CLOSE) {
        sl_cache_close(&stage->cache, control->sequence);
        s->open = false;
        return SL_OK;
    }
    sl_status status = check_comparison(stage, frame, control);
    if (status != SL_OK) return status;
    s->n_tokens = s->n_prompt = 0;
    sl_admission_sequence as = {.id_seed = control->id_seed,
                                .n_prompt = control->n_prompt,
                                .keeps_all = control->keeps_all};
    if (control->kind == SL_CONTROL_FORK) {
        const slot *parent = &stage->slots[control->parent];
        if (!parent->open) return refuse(frame, "fork of a closed sequence", control->parent);
        sl_cache_fork(&stage->cache, control->sequence, control->parent);
        sl_admission_fork(&stage->admission, control->sequence, control->parent, as);
        if (stage->options.gate) sl_gates_fork(&stage->gates, control->sequence, control->parent);
        s->n_tokens = parent->n_tokens;
        s->n_prompt = parent->n_prompt;
        if (is_last(stage)) memcpy(s->tokens, parent->tokens, s->n_tokens * sizeof *s->tokens);
    } else {
        sl_cache_open(&stage->cache, control->sequence);
        sl_admission_open(&stage->admission, control->sequence, as);
    }
    s->sampling = control->sampling;
    s->comparison = control->comparison;
    if (control->comparison.kind == SL_COMPARISON_STORE) sl_kept_distributions_clear(&stage->kept);
    s->open = true;
    return SL_OK;
}

/* Where policies tell prompt from generated tokens, spans end there too. */
static sl_status check_prompt(const sl_stage *stage, const sl_frame *frame, const sl_span *span)
{
    const sl_policy *policy = &stage->options.policy;
    uint32_t n_prompt = stage->admission.sequences[span->sequence].n_prompt;
    bool splits = policy->whole_prompts || sl_policy_at_prompt_end(policy->kind);
    if (!splits || span->position >= n_prompt) return SL_OK;
    if (span->n_tokens > n_prompt - span->position)
        return refuse(frame, "span goes beyond its prompt", span->sequence);
    if (policy->whole_prompts && span->n_tokens < n_prompt)
        return refuse(frame, "prompt in pieces, to be gated as one", span->sequence);
    return SL_OK;
}

static sl_status begin_span(sl_stage *stage, const sl_frame *frame, const sl_span *span)
{
    const sl_stage_options *o = &stage->options;
    slot *s = &stage->slots[span->sequence];
    if (!s->open || span->position != s->n_tokens || span->n_tokens > o->context - s->n_tokens)
        return refuse(frame, "span does not continue its sequence", span->sequence);
    /* Decode spans run side by side, and draws see all of a slot's tokens. */
    if (s->frame == stage->n_frames)
        return refuse(frame, "two spans of one sequence in a frame", span->sequence);
    s->frame = stage->n_frames;
    if (span->kind == SL_SPAN_PROMPT && s->n_tokens != s->n_prompt)
        return refuse(frame, "prompt after generated tokens", span->sequence);
    sl_status status = check_prompt(stage, frame, span);
    if (status != SL_OK) return status;
    if (span->sample && span->next_token >= 0)
        return refuse(frame, "token both sampled and given", span->sequence);
    if (is_last(stage))
        memcpy(s->tokens + s->n_tokens, frame->tokens + span->first_row,
               span->n_tokens * sizeof *s->tokens);
    s->n_tokens += span->n_tokens;
    if (span->kind == SL_SPAN_PROMPT) s->n_prompt += span->n_tokens;
    return SL_OK;
}

/* ---- what was kept ---- */

/* Eligible tokens of a sequence whose fate is decided, with its first n tokens in the cache. */
static uint64_t seen_by(const sl_stage *stage, uint32_t sequence, uint32_t n)
{
    const sl_policy *policy = &stage->options.policy;
    const sl_admission_sequence *as = &stage->admission.sequences[sequence];
    bool waits = sl_policy_at_prompt_end(policy->kind) && n < as->n_prompt;
    return waits || as->keeps_all ? 0 : sl_policy_eligible(policy, n);
}

/* Pages of one head; of a prompt that is pruned as it ends, those it had until then. */
static uint32_t head_pages(const sl_stage *stage, const sl_span *span, const sl_cache_head *head)
{
    const sl_policy *policy = &stage->options.policy;
    uint32_t n = span->position + span->n_tokens;
    bool pruned = sl_policy_at_prompt_end(policy->kind) &&
                  n == stage->admission.sequences[span->sequence].n_prompt;
    return pruned ? sl_cache_head_pages(policy->window, n) : sl_cache_pages_for(head->n_admitted);
}

/* Add this stage's part to what a span reports of its sequence. */
static void account_span(sl_stage *stage, sl_span *span)
{
    const sl_cache_options *o = &stage->cache.options;
    uint32_t n = span->position + span->n_tokens, sinks = stage->options.policy.sinks;
    uint32_t n_sinks = sl_min_u32(sl_saturating_sub_u32(n, o->window), sinks);
    uint64_t seen = seen_by(stage, span->sequence, n);
    uint64_t pages = stage->cache.rings_pages, kept = 0, n_paged_heads = 0;
    for (uint32_t layer = 0; layer < o->n_layers; layer++) {
        if (sl_cache_is_sliding(&stage->cache, layer)) continue;
        n_paged_heads += o->n_kv_heads;
        for (uint32_t head = 0; head < o->n_kv_heads; head++) {
            const sl_cache_head *h = sl_cache_head_of(&stage->cache, span->sequence, layer, head);
            kept += h->n_admitted - n_sinks;
            pages += head_pages(stage, span, h);
        }
    }
    stage->seen += seen - seen_by(stage, span->sequence, span->position);
    span->seen += n_paged_heads * seen;
    span->kept += seen > 0 ? kept : 0;
    span->cache_bytes += pages * stage->cache.page_bytes +
                         sl_admission_sequence_bytes(&stage->admission);
    if (stage->options.gate) span->cache_bytes += sl_gates_sequence_bytes(&stage->gates);
}

static sl_status check_heads(const sl_stage *stage, const sl_frame *frame)
{
    uint32_t before = stage->options.weights->layer_begin * stage->cache.options.n_kv_heads;
    if (frame->n_heads == before) return SL_OK;
    sl_error("frame %llu tells of %u heads before layer %u, not %u",
             (unsigned long long)frame->number, frame->n_heads, stage->options.weights->layer_begin,
             before);
    return SL_ERR_FORMAT;
}

/* Each head of this stage, behind those of the stages before. */
static void account_heads(const sl_stage *stage, sl_frame *frame)
{
    const sl_cache_options *o = &stage->cache.options;
    for (uint32_t layer = 0; layer < o->n_layers; layer++)
        for (uint32_t head = 0; head < o->n_kv_heads; head++) {
            size_t i = (size_t)layer * o->n_kv_heads + head;
            sl_head_account account = {.kept = stage->context.kept[i],
                                       .pages = stage->cache.accounts[i].most};
            frame->heads[frame->n_heads++] = account;
        }
}

/* ---- the last stage: logits, scores, samples ---- */

static size_t collect_wanted(const sl_stage *stage, const sl_frame *frame)
{
    size_t n = 0;
    for (uint32_t i = 0; i < frame->n_spans; i++) {
        const sl_span *span = &frame->spans[i];
        for (uint32_t t = span->score_from; t < span->n_tokens; t++)
            if (t + 1 < span->n_tokens || span->next_token >= 0)
                stage->wanted[n++] = (wanted_row){.row = span->first_row + t, .span = span};
        if (span->sample)
            stage->wanted[n++] = (wanted_row){
                .row = span->first_row + span->n_tokens - 1, .span = span, .sample = true};
    }
    return n;
}

static void tell_row(sl_stage *stage, const sl_frame *frame, const wanted_row *wanted,
                     const float *logits, sl_sampler_scratch *scratch, sl_token_result *result)
{
    const sl_span *span = wanted->span;
    const slot *s = &stage->slots[span->sequence];
    size_t vocab = stage->options.weights->shape.vocab;
    uint32_t t = wanted->row - span->first_row;
    result->kind = wanted->sample ? SL_RESULT_SAMPLED : SL_RESULT_SCORED;
    result->sequence = span->sequence;
    result->position = span->position + t + 1;
    result->compared = result->agrees = false;
    result->kl = 0;
    if (wanted->sample) {
        sl_sampler_draw(&s->sampling, s->tokens, s->n_prompt, s->n_tokens, logits, vocab, scratch,
                        result);
        return;
    }
    result->token = t + 1 < span->n_tokens ? frame->tokens[wanted->row + 1] : span->next_token;
    uint32_t n_top = s->sampling.n_logprobs > 0 ? (uint32_t)s->sampling.n_logprobs : 0;
    sl_sampler_score(logits, vocab, n_top, scratch, result);
    sl_kept_distributions_compare(&stage->kept, &s->comparison, logits, result);
}

/* Logits of n wanted rows, then a result for each: rows are independent of each other. */
static void tell_rows(sl_stage *stage, sl_member me, sl_frame *frame, const wanted_row *wanted,
                      size_t n)
{
    const sl_stage_options *o = &stage->options;
    const sl_weights *w = o->weights;
    size_t width = w->shape.width, vocab = w->shape.vocab;
    sl_activations rows = stage->head_rows;
    rows.n_rows = n;
    sl_share own = sl_team_share(me, n, 1);
    for (size_t i = own.begin; i < own.end; i++) {
        o->kernels->rmsnorm(frame->hidden + wanted[i].row * width, w->output_norm, 1, width,
                            w->shape.rms_eps, rows.x + i * width);
        sl_linear_quantize(o->kernels, &rows, i, i + 1);
    }
    sl_team_barrier(me);
    sl_linear head = {.matrix = &w->head, .out = stage->logits};
    sl_linear_run(o->kernels, me, &rows, &head, 1);
    sl_team_barrier(me);
    if (o->profile && me.thread == 0)
        sl_profile_lap(o->profile, SL_STEP_HEAD, (double)vocab * (double)w->head.row_bytes,
                       2.0 * (double)n * (double)vocab * (double)width);
    for (size_t i; (i = sl_team_take(me)) < n;)
        tell_row(stage, frame, &wanted[i], stage->logits + i * vocab, &stage->sampler[me.thread],
                 &frame->results[frame->n_results + i]);
    sl_team_barrier(me);
    if (o->profile && me.thread == 0) sl_profile_lap(o->profile, SL_STEP_SAMPLE, 0, 0);
}

/* ---- a frame ---- */

static void embed(const sl_stage *stage, sl_member me, sl_frame *frame)
{
    const sl_matrix *embedding = &stage->options.weights->embedding;
    sl_share rows = sl_team_share(me, frame->n_rows, 1);
    float scale = stage->options.weights->shape.embedding_scale;
    for (size_t row = rows.begin; row < rows.end; row++) {
        float *x = frame->hidden + row * embedding->n_in;
        sl_matrix_row(embedding, (size_t)frame->tokens[row], x);
        for (size_t i = 0; i < embedding->n_in && scale != 1; i++) x[i] *= scale;
    }
    sl_team_barrier(me);
}

/* One frame on its way through the layers, for all threads of the team. */
typedef struct {
    sl_stage *stage;
    sl_frame *frame;
} passage;

static void run_layers(const passage *p, sl_member me)
{
    sl_layer_context *c = &p->stage->context;
    const sl_weights *w = p->stage->options.weights;
    sl_layer_begin_frame(c, me, p->frame);
    for (uint32_t i = 0; i < w->layer_end - w->layer_begin; i++)
        sl_layer_forward(c, me, i, p->frame);
}

static void tell_results(const passage *p, sl_member me)
{
    sl_stage *stage = p->stage;
    for (size_t i = 0; i < stage->n_wanted; i += HEAD_ROWS) {
        size_t n = stage->n_wanted - i < HEAD_ROWS ? stage->n_wanted - i : HEAD_ROWS;
        tell_rows(stage, me, p->frame, stage->wanted + i, n);
        if (me.thread == 0) p->frame->n_results += (uint32_t)n;
        sl_team_barrier(me);
    }
}

static void pass(void *context, sl_member me)
{
    const passage *p = context;
    if (is_first(p->stage)) embed(p->stage, me, p->frame);
    run_layers(p, me);
    if (is_last(p->stage)) tell_results(p, me);
}

static sl_phase phase_of(const sl_frame *frame)
{
    for (uint32_t i = 0; i < frame->n_spans; i++)
        if (frame->spans[i].kind == SL_SPAN_PROMPT) return SL_PHASE_PROMPT;
    return SL_PHASE_DECODE;
}

sl_status sl_stage_compute(sl_stage *stage, sl_frame *frame)
{
    sl_status status = SL_OK;
    stage->n_frames++;
    for (uint32_t i = 0; i < frame->n_controls && status == SL_OK; i++)
        status = apply_control(stage, frame, &frame->controls[i]);
    for (uint32_t i = 0; i < frame->n_spans && status == SL_OK; i++)
        status = begin_span(stage, frame, &frame->spans[i]);
    if (status == SL_OK) status = check_heads(stage, frame);
    if (status != SL_OK) return status;
    if (frame->n_rows > 0) {
        if (is_last(stage)) stage->n_wanted = collect_wanted(stage, frame);
        if (stage->options.profile) sl_profile_begin(stage->options.profile, phase_of(frame));
        sl_team_run(stage->options.team, pass, &(passage){stage, frame});
        for (uint32_t i = 0; i < frame->n_spans; i++) account_span(stage, &frame->spans[i]);
    }
    account_heads(stage, frame);
    return SL_OK;
}
