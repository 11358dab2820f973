/* tests/support/frame_maker.c - frames that sl_frame_check accepts. */
#include "tests/support/frame_maker.h"

#include <string.h>

static float any_float(seeded *random)
{
    uint32_t bits = (uint32_t)seeded_bits(random);
    if (seeded_below(random, 8) == 0) bits |= 0x7f800000u; /* infinities and all kinds of NaN */
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float any_float_without_minus_zero(seeded *random)
{
    float value = any_float(random);
    return value == 0 ? 0 : value;
}

static int32_t any_token(seeded *random)
{
    return (int32_t)seeded_below(random, FRAME_MAKER_VOCAB);
}

static void make_sampling(sl_sampling *sampling, seeded *random)
{
    sampling->temperature = any_float_without_minus_zero(random);
    sampling->top_k = (int32_t)seeded_below(random, 1000);
    sampling->top_p = any_float_without_minus_zero(random);
    sampling->min_p = any_float_without_minus_zero(random);
    sampling->repetition_penalty = any_float_without_minus_zero(random);
    sampling->presence_penalty = any_float_without_minus_zero(random);
    sampling->frequency_penalty = any_float_without_minus_zero(random);
    sampling->seed = seeded_bits(random) >> seeded_below(random, 64);
    sampling->n_logprobs = (int32_t)seeded_below(random, SL_TOP_LOGPROBS_MAX + 2) - 1;
    sampling->n_bias = seeded_below(random, 4) ? 0 : seeded_below(random, SL_LOGIT_BIAS_MAX + 1);
    for (uint32_t i = 0; i < sampling->n_bias; i++)
        sampling->bias[i] = (sl_logit_bias){any_token(random), any_float(random)};
    sampling->min_tokens = (uint32_t)seeded_bits(random);
    sampling->n_ends = seeded_below(random, 4) ? 0 : seeded_below(random, SL_ENDS_MAX + 1);
    for (uint32_t i = 0; i < sampling->n_ends; i++) sampling->ends[i] = any_token(random);
}

static void make_control(sl_control *control, seeded *random)
{
    memset(control, 0, sizeof *control);
    control->kind = (sl_control_kind)(1 + seeded_below(random, SL_CONTROL_STOP));
    if (control->kind == SL_CONTROL_STOP) return;
    control->sequence = seeded_below(random, FRAME_MAKER_SEQUENCES);
    if (control->kind == SL_CONTROL_FORK)
        control->parent = (control->sequence + 1) % FRAME_MAKER_SEQUENCES;
    if (control->kind == SL_CONTROL_CLOSE) return;
    control->id_seed = seeded_bits(random);
    control->n_prompt = (uint32_t)seeded_bits(random);
    control->keeps_all = seeded_below(random, 2);
    control->comparison = (sl_comparison){
        .kind = (sl_comparison_kind)seeded_below(random, SL_COMPARISON_WITH + 1),
        .from = (uint32_t)seeded_bits(random),
        .step = 1 + seeded_below(random, 1u << 20)};
    make_sampling(&control->sampling, random);
}

static void make_span(sl_span *span, sl_span_kind kind, uint32_t first_row, uint32_t tokens_max,
                      seeded *random)
{
    *span = (sl_span){
        .kind = kind,
        .sequence = seeded_below(random, FRAME_MAKER_SEQUENCES),
        .position = seeded_below(random, 1u << 20),
        .first_row = first_row,
        .n_tokens = 1,
        .next_token = -1,
        .seen = seeded_bits(random) >> seeded_below(random, 64),
        .kept = seeded_bits(random) >> seeded_below(random, 64),
        .cache_bytes = seeded_bits(random) >> 24,
    };
    if (span->kind == SL_SPAN_PROMPT) span->n_tokens += seeded_below(random, tokens_max);
    span->score_from = seeded_below(random, span->n_tokens + 1);
    /* One result a row at most: the last row is scored or drawn from. */
    if (span->score_from < span->n_tokens && seeded_below(random, 2))
        span->next_token = any_token(random);
    else
        span->sample = seeded_below(random, 2);
}

static void make_result(sl_token_result *result, seeded *random)
{
    *result = (sl_token_result){
        .kind = seeded_below(random, 2) ? SL_RESULT_SAMPLED : SL_RESULT_SCORED,
        .sequence = seeded_below(random, FRAME_MAKER_SEQUENCES),
        .position = seeded_below(random, 1u << 20),
        .token = any_token(random),
        .logprob = any_float(random),
        .compared = seeded_below(random, 2),
        .agrees = seeded_below(random, 2),
        .kl = any_float_without_minus_zero(random),
        .n_top = seeded_below(random, SL_TOP_LOGPROBS_MAX + 1),
    };
    for (uint32_t i = 0; i < result->n_top; i++)
        result->top[i] = (sl_token_logprob){any_token(random), any_float(random)};
}

static void make_ledger_row(sl_ledger_row *row, uint32_t rank, seeded *random)
{
    *row = (sl_ledger_row){
        .rank = rank,
        .pages_used = seeded_below(random, 1000),
        .compute_ns = (int64_t)seeded_bits(random),
        .wait_ns = (int64_t)seeded_below(random, 1u << 30),
        .wire_ns = 0,
        .codec_ns = -1,
        .bytes_sent = seeded_bits(random),
        .planned_bytes = seeded_bits(random) >> 20,
        .peak_bytes = seeded_bits(random) >> 40,
        .pages_peak = seeded_below(random, 1000),
        .seen = seeded_bits(random) >> 30,
        .gate_ns = (int64_t)seeded_bits(random),
    };
}

/* Of a few layers, as in the middle of a pipeline. */
static void make_heads(sl_frame *frame, const sl_frame_limits *limits, seeded *random)
{
    frame->n_heads = seeded_below(random, limits->n_layers + 1) * limits->n_kv_heads;
    for (uint32_t i = 0; i < frame->n_heads; i++) {
        frame->heads[i] = (sl_head_account){.kept = seeded_bits(random) >> seeded_below(random, 64),
                                            .pages = (uint32_t)seeded_bits(random)};
        for (uint32_t t = 0; frame->flags && t < frame->n_rows; t++)
            frame->flags[(size_t)i * frame->rows_max + t] = (uint8_t)seeded_below(random, 2);
    }
}

void frame_make_random(sl_frame *frame, const sl_frame_limits *limits, seeded *random)
{
    sl_frame_reset(frame, seeded_bits(random) >> seeded_below(random, 64));
    frame->n_controls = seeded_below(random, limits->controls_max + 1);
    for (uint32_t i = 0; i < frame->n_controls; i++) make_control(&frame->controls[i], random);
    uint32_t spans = seeded_below(random, limits->spans_max + 1);
    sl_span_kind kind = SL_SPAN_DECODE;
    while (frame->n_spans < spans && frame->n_rows < limits->rows_max) {
        sl_span *span = &frame->spans[frame->n_spans++];
        if (seeded_below(random, 3) == 0) kind = SL_SPAN_PROMPT; /* and all that follow */
        make_span(span, kind, frame->n_rows, limits->rows_max - frame->n_rows, random);
        frame->n_rows += span->n_tokens;
    }
    for (uint32_t i = 0; i < frame->n_rows; i++) frame->tokens[i] = any_token(random);
    frame->n_results = seeded_below(random, limits->rows_max + 1);
    for (uint32_t i = 0; i < frame->n_results; i++) make_result(&frame->results[i], random);
    frame->n_ledger = seeded_below(random, limits->ranks + 1);
    for (uint32_t i = 0; i < frame->n_ledger; i++) make_ledger_row(&frame->ledger[i], i, random);
    make_heads(frame, limits, random);
}

static void make_largest_control(sl_control *control)
{
    *control = (sl_control){.kind = SL_CONTROL_FORK,
                            .sequence = UINT32_MAX - 1,
                            .parent = UINT32_MAX - 2,
                            .id_seed = UINT64_MAX,
                            .n_prompt = UINT32_MAX,
                            .keeps_all = true,
                            .comparison = {SL_COMPARISON_WITH, UINT32_MAX, UINT32_MAX},
                            .sampling = {.temperature = 1,
                                         .top_k = INT32_MAX,
                                         .top_p = 1,
                                         .min_p = 1,
                                         .repetition_penalty = 1,
                                         .presence_penalty = 1,
                                         .frequency_penalty = 1,
                                         .seed = UINT64_MAX,
                                         .n_logprobs = SL_TOP_LOGPROBS_MAX,
                                         .n_bias = SL_LOGIT_BIAS_MAX,
                                         .min_tokens = UINT32_MAX,
                                         .n_ends = SL_ENDS_MAX}};
    for (uint32_t i = 0; i < SL_ENDS_MAX; i++) control->sampling.ends[i] = INT32_MAX - 1;
    for (uint32_t i = 0; i < SL_LOGIT_BIAS_MAX; i++)
        control->sampling.bias[i] = (sl_logit_bias){INT32_MAX - 1, -1};
}

/* One token each, the last span takes the rest. */
static void make_largest_spans(sl_frame *frame, const sl_frame_limits *limits)
{
    frame->n_spans = limits->spans_max;
    frame->n_rows = limits->rows_max;
    for (uint32_t i = 0; i < limits->rows_max; i++) frame->tokens[i] = INT32_MAX - 1;
    for (uint32_t i = 0; i < limits->spans_max; i++) {
        uint32_t n_tokens = i + 1 < limits->spans_max ? 1 : limits->rows_max - i;
        frame->spans[i] = (sl_span){.kind = SL_SPAN_PROMPT,
                                    .sequence = UINT32_MAX - 1,
                                    .position = (uint32_t)INT32_MAX - n_tokens,
                                    .first_row = i,
                                    .n_tokens = n_tokens,
                                    .sample = true,
                                    .score_from = n_tokens,
                                    .next_token = -1,
                                    .seen = UINT64_MAX,
                                    .kept = UINT64_MAX,
                                    .cache_bytes = UINT64_MAX};
    }
}

static void make_largest_result(sl_token_result *result)
{
    *result = (sl_token_result){.kind = SL_RESULT_SCORED,
                                .sequence = UINT32_MAX - 1,
                                .position = UINT32_MAX,
                                .token = INT32_MAX - 1,
                                .logprob = -1,
                                .compared = true,
                                .agrees = true,
                                .kl = 1,
                                .n_top = SL_TOP_LOGPROBS_MAX};
    for (uint32_t i = 0; i < SL_TOP_LOGPROBS_MAX; i++)
        result->top[i] = (sl_token_logprob){INT32_MAX - 1, -1};
}

void frame_make_largest(sl_frame *frame, const sl_frame_limits *limits)
{
    sl_frame_reset(frame, UINT64_MAX);
    frame->n_controls = limits->controls_max;
    for (uint32_t i = 0; i < limits->controls_max; i++) make_largest_control(&frame->controls[i]);
    make_largest_spans(frame, limits);
    frame->n_results = limits->rows_max;
    for (uint32_t i = 0; i < limits->rows_max; i++) make_largest_result(&frame->results[i]);
    frame->n_ledger = limits->ranks;
    for (uint32_t i = 0; i < limits->ranks; i++)
        frame->ledger[i] = (sl_ledger_row){.rank = limits->ranks - 1,
                                           .pages_used = UINT64_MAX,
                                           .pages_peak = UINT64_MAX,
                                           .seen = UINT64_MAX,
                                           .compute_ns = -1,
                                           .wait_ns = -1,
                                           .wire_ns = -1,
                                           .codec_ns = -1,
                                           .gate_ns = -1,
                                           .bytes_sent = UINT64_MAX,
                                           .planned_bytes = UINT64_MAX,
                                           .peak_bytes = UINT64_MAX};
    frame->n_heads = limits->n_layers * limits->n_kv_heads;
    for (uint32_t i = 0; i < frame->n_heads; i++)
        frame->heads[i] = (sl_head_account){UINT64_MAX, UINT32_MAX};
    if (frame->flags) memset(frame->flags, 1, (size_t)frame->n_heads * frame->rows_max);
}

/* Field by field, since structs have padding; bit by bit, since NaN is not itself. */
#define SAME(field) (memcmp(&a->field, &b->field, sizeof a->field) == 0)

static bool sampling_equal(const sl_sampling *a, const sl_sampling *b)
{
    return SAME(temperature) && SAME(top_k) && SAME(top_p) && SAME(min_p) &&
           SAME(repetition_penalty) && SAME(presence_penalty) && SAME(frequency_penalty) &&
           SAME(seed) && SAME(n_logprobs) && SAME(n_bias) && SAME(min_tokens) && SAME(n_ends) &&
           memcmp(a->bias, b->bias, a->n_bias * sizeof *a->bias) == 0 &&
           memcmp(a->ends, b->ends, a->n_ends * sizeof *a->ends) == 0;
}

static bool control_equal(const sl_control *a, const sl_control *b)
{
    bool starts = a->kind == SL_CONTROL_OPEN || a->kind == SL_CONTROL_FORK;
    return SAME(kind) && SAME(sequence) && SAME(parent) &&
           (!starts || (SAME(id_seed) && SAME(n_prompt) && SAME(keeps_all) &&
                        SAME(comparison.kind) && SAME(comparison.from) && SAME(comparison.step))) &&
           (!starts || sampling_equal(&a->sampling, &b->sampling));
}

static bool span_equal(const sl_span *a, const sl_span *b)
{
    return SAME(kind) && SAME(sequence) && SAME(position) && SAME(first_row) && SAME(n_tokens) &&
           SAME(sample) && SAME(score_from) && SAME(next_token) && SAME(seen) && SAME(kept) &&
           SAME(cache_bytes);
}

static bool result_equal(const sl_token_result *a, const sl_token_result *b)
{
    return SAME(kind) && SAME(sequence) && SAME(position) && SAME(token) && SAME(logprob) &&
           SAME(compared) && SAME(agrees) && SAME(kl) && SAME(n_top) &&
           memcmp(a->top, b->top, a->n_top * sizeof *a->top) == 0;
}

static bool ledger_equal(const sl_ledger_row *a, const sl_ledger_row *b)
{
    return SAME(rank) && SAME(pages_used) && SAME(compute_ns) && SAME(wait_ns) && SAME(wire_ns) &&
           SAME(codec_ns) && SAME(bytes_sent) && SAME(planned_bytes) && SAME(peak_bytes) &&
           SAME(pages_peak) && SAME(seen) && SAME(gate_ns);
}

bool frame_equal(const sl_frame *a, const sl_frame *b)
{
    bool equal = SAME(number) && SAME(n_controls) && SAME(n_spans) && SAME(n_rows) &&
                 SAME(n_results) && SAME(n_ledger) && SAME(n_heads);
    for (uint32_t i = 0; equal && i < a->n_controls; i++)
        equal = control_equal(&a->controls[i], &b->controls[i]);
    for (uint32_t i = 0; equal && i < a->n_spans; i++)
        equal = span_equal(&a->spans[i], &b->spans[i]);
    for (uint32_t i = 0; equal && i < a->n_rows; i++) equal = SAME(tokens[i]);
    for (uint32_t i = 0; equal && i < a->n_results; i++)
        equal = result_equal(&a->results[i], &b->results[i]);
    for (uint32_t i = 0; equal && i < a->n_ledger; i++)
        equal = ledger_equal(&a->ledger[i], &b->ledger[i]);
    for (uint32_t i = 0; equal && i < a->n_heads; i++)
        equal = SAME(heads[i].kept) && SAME(heads[i].pages) &&
                (!a->flags || memcmp(a->flags + (size_t)i * a->rows_max,
                                     b->flags + (size_t)i * b->rows_max, a->n_rows) == 0);
    return equal;
}
