/* runtime/frame/frame.c - a frame's storage, and the check every frame from elsewhere passes.
 * Knows what a frame may say, not what it is for: whether a sequence is open, or a position
 * follows the last one, is for whoever holds the sequences. */
#include "runtime/frame/frame.h"

#include "runtime/base/log.h"

void sl_frame_init(sl_frame *frame, const sl_frame_limits *limits, sl_frame_payload payload,
                   sl_arena *arena)
{
    size_t n_heads = (size_t)limits->n_layers * limits->n_kv_heads;
    *frame = (sl_frame){
        .controls = sl_arena_array(arena, sl_control, limits->controls_max),
        .spans = sl_arena_array(arena, sl_span, limits->spans_max),
        .tokens = sl_arena_array(arena, int32_t, limits->rows_max),
        .results = sl_arena_array(arena, sl_token_result, limits->rows_max),
        .ledger = sl_arena_array(arena, sl_ledger_row, limits->ranks),
        .heads = sl_arena_array(arena, sl_head_account, n_heads),
        .n_kv_heads = limits->n_kv_heads,
        .rows_max = limits->rows_max,
    };
    if (limits->flags) frame->flags = sl_arena_array(arena, uint8_t, n_heads * limits->rows_max);
    if (payload == SL_FRAME_WITH_HIDDEN)
        frame->hidden = sl_arena_array(arena, float, (size_t)limits->rows_max * limits->width);
}

void sl_frame_reset(sl_frame *frame, uint64_t number)
{
    frame->number = number;
    frame->n_controls = frame->n_spans = frame->n_rows = frame->n_results = 0;
    frame->n_ledger = frame->n_heads = 0;
}

uint8_t *sl_frame_flags(const sl_frame *frame, uint32_t layer, uint32_t head)
{
    return frame->flags + ((size_t)layer * frame->n_kv_heads + head) * frame->rows_max;
}

bool sl_frame_stops(const sl_frame *frame)
{
    for (uint32_t i = 0; i < frame->n_controls; i++)
        if (frame->controls[i].kind == SL_CONTROL_STOP) return true;
    return false;
}

/* What the checks below compare with. */
typedef struct {
    const sl_frame *frame;
    uint32_t sequences_max, vocab;
} bounds;

/* Say what is wrong with item `index` of the frame. */
static sl_status refuse(const bounds *b, const char *what, uint32_t index, int64_t value)
{
    sl_error("frame %llu: %s (item %u, value %lld)", (unsigned long long)b->frame->number, what,
             index, (long long)value);
    return SL_ERR_FORMAT;
}

static bool is_token(const bounds *b, int32_t token)
{
    return token >= 0 && (uint32_t)token < b->vocab;
}

static sl_status check_counts(const bounds *b, const sl_frame_limits *limits)
{
    const sl_frame *frame = b->frame;
    const struct {
        const char *what;
        uint32_t n, max;
    } counts[] = {
        {"too many controls", frame->n_controls, limits->controls_max},
        {"too many spans", frame->n_spans, limits->spans_max},
        {"too many rows", frame->n_rows, limits->rows_max},
        {"too many results", frame->n_results, limits->rows_max},
        {"too many ledger rows", frame->n_ledger, limits->ranks},
        {"too many heads", frame->n_heads, limits->n_layers * limits->n_kv_heads},
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (counts[i].n > counts[i].max)
            return refuse(b, counts[i].what, counts[i].max, counts[i].n);
    return SL_OK;
}

static sl_status check_sampling(const bounds *b, const sl_sampling *sampling, uint32_t index)
{
    if (sampling->top_k < 0) return refuse(b, "top_k is negative", index, sampling->top_k);
    if (sampling->n_logprobs < -1 || sampling->n_logprobs > SL_TOP_LOGPROBS_MAX)
        return refuse(b, "logprobs out of range", index, sampling->n_logprobs);
    if (sampling->n_bias > SL_LOGIT_BIAS_MAX)
        return refuse(b, "too many logit biases", index, sampling->n_bias);
    for (uint32_t i = 0; i < sampling->n_bias; i++)
        if (!is_token(b, sampling->bias[i].token))
            return refuse(b, "biased token out of range", index, sampling->bias[i].token);
    if (sampling->n_ends > SL_ENDS_MAX)
        return refuse(b, "too many end tokens", index, sampling->n_ends);
    for (uint32_t i = 0; i < sampling->n_ends; i++)
        if (!is_token(b, sampling->ends[i]))
            return refuse(b, "end token out of range", index, sampling->ends[i]);
    return SL_OK;
}

static sl_status check_comparison(const bounds *b, const sl_comparison *comparison, uint32_t index)
{
    switch (comparison->kind) {
    case SL_COMPARISON_NONE: return SL_OK;
    case SL_COMPARISON_STORE:
    case SL_COMPARISON_WITH:
        if (comparison->step == 0) return refuse(b, "comparison without a step", index, 0);
        return SL_OK;
    }
    return refuse(b, "unknown comparison kind", index, comparison->kind);
}

static sl_status check_control(const bounds *b, uint32_t index)
{
    const sl_control *control = &b->frame->controls[index];
    switch (control->kind) {
    case SL_CONTROL_STOP: return SL_OK;
    case SL_CONTROL_FORK:
        if (control->parent >= b->sequences_max || control->parent == control->sequence)
            return refuse(b, "fork of an impossible parent", index, control->parent);
        break;
    case SL_CONTROL_OPEN:
    case SL_CONTROL_CLOSE: break;
    default: return refuse(b, "unknown control kind", index, control->kind);
    }
    if (control->sequence >= b->sequences_max)
        return refuse(b, "control sequence out of range", index, control->sequence);
    if (control->kind == SL_CONTROL_CLOSE) return SL_OK;
    sl_status status = check_comparison(b, &control->comparison, index);
    if (status != SL_OK) return status;
    return check_sampling(b, &control->sampling, index);
}

/* `first_row` is where the spans before this one end. */
static sl_status check_span(const bounds *b, uint32_t index, uint32_t first_row)
{
    const sl_span *span = &b->frame->spans[index];
    if (span->kind != SL_SPAN_PROMPT && span->kind != SL_SPAN_DECODE)
        return refuse(b, "unknown span kind", index, span->kind);
    if (span->sequence >= b->sequences_max)
        return refuse(b, "span sequence out of range", index, span->sequence);
    if (span->first_row != first_row)
        return refuse(b, "span does not start where the last one ends", index, span->first_row);
    if (span->n_tokens == 0 || span->n_tokens > b->frame->n_rows - first_row)
        return refuse(b, "span tokens out of range", index, span->n_tokens);
    if (span->kind == SL_SPAN_DECODE && span->n_tokens != 1)
        return refuse(b, "decode span of several tokens", index, span->n_tokens);
    if (span->position > (uint32_t)INT32_MAX - span->n_tokens)
        return refuse(b, "span position out of range", index, span->position);
    if (span->score_from > span->n_tokens)
        return refuse(b, "score_from beyond the span", index, span->score_from);
    if (span->next_token != -1 &&
        (!is_token(b, span->next_token) || span->score_from == span->n_tokens))
        return refuse(b, "next token out of range or not scored", index, span->next_token);
    return SL_OK;
}

/* Results the last stage will write: the scored rows whose next token is known, and the draw. */
static uint32_t span_results(const sl_span *span)
{
    uint32_t scored = span->n_tokens - span->score_from;
    if (scored > 0 && span->next_token == -1) scored--;
    return scored + span->sample;
}

static sl_status check_spans(const bounds *b, uint32_t rows_max)
{
    uint32_t first_row = 0;
    uint64_t results = 0;
    for (uint32_t i = 0; i < b->frame->n_spans; i++) {
        sl_status status = check_span(b, i, first_row);
        if (status != SL_OK) return status;
        if (i > 0 && b->frame->spans[i].kind == SL_SPAN_DECODE &&
            b->frame->spans[i - 1].kind == SL_SPAN_PROMPT)
            return refuse(b, "generated token behind a prompt", i, b->frame->spans[i].sequence);
        first_row += b->frame->spans[i].n_tokens;
        results += span_results(&b->frame->spans[i]);
    }
    if (first_row != b->frame->n_rows)
        return refuse(b, "spans do not cover the rows", b->frame->n_spans, first_row);
    if (results > rows_max)
        return refuse(b, "spans ask for too many results", b->frame->n_spans, (int64_t)results);
    return SL_OK;
}

static sl_status check_result(const bounds *b, uint32_t index)
{
    const sl_token_result *result = &b->frame->results[index];
    if (result->kind != SL_RESULT_SAMPLED && result->kind != SL_RESULT_SCORED)
        return refuse(b, "unknown result kind", index, result->kind);
    if (result->sequence >= b->sequences_max)
        return refuse(b, "result sequence out of range", index, result->sequence);
    if (!is_token(b, result->token))
        return refuse(b, "result token out of range", index, result->token);
    if (result->n_top > SL_TOP_LOGPROBS_MAX)
        return refuse(b, "too many top tokens", index, result->n_top);
    for (uint32_t i = 0; i < result->n_top; i++)
        if (!is_token(b, result->top[i].token))
            return refuse(b, "top token out of range", index, result->top[i].token);
    return SL_OK;
}

sl_status sl_frame_check(const sl_frame *frame, const sl_frame_limits *limits,
                         uint32_t sequences_max, uint32_t vocab)
{
    const bounds b = {.frame = frame, .sequences_max = sequences_max, .vocab = vocab};
    sl_status status = check_counts(&b, limits);
    for (uint32_t i = 0; status == SL_OK && i < frame->n_controls; i++)
        status = check_control(&b, i);
    if (status == SL_OK) status = check_spans(&b, limits->rows_max);
    for (uint32_t i = 0; status == SL_OK && i < frame->n_rows; i++)
        if (!is_token(&b, frame->tokens[i]))
            status = refuse(&b, "token out of range", i, frame->tokens[i]);
    for (uint32_t i = 0; status == SL_OK && i < frame->n_results; i++) status = check_result(&b, i);
    for (uint32_t i = 0; status == SL_OK && i < frame->n_ledger; i++)
        if (frame->ledger[i].rank >= limits->ranks)
            status = refuse(&b, "ledger of an unknown rank", i, frame->ledger[i].rank);
    return status;
}
