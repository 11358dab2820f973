/* launch/pipeline/driver_results.c - what a frame that came back says: pages, caches, tokens, and
 * which sequences go on or end with it. */
#include "launch/pipeline/driver_admission.h"
#include "launch/pipeline/driver_state.h"
#include "runtime/base/log.h"

static void set_detail(sl_token_detail *detail, const sl_token_result *result)
{
    detail->logprob = result->logprob;
    detail->compared = result->compared;
    detail->agrees = result->agrees;
    detail->kl = result->kl;
    detail->n_top = result->n_top;
    for (uint32_t i = 0; i < result->n_top; i++) detail->top[i] = result->top[i];
}

static void finish_choice(sl_driver *d, sl_driver_sequence *s, sl_finish finish)
{
    sl_driver_request *owner = s->owner;
    owner->request->choices[s->choice].finish = finish;
    s->owner = NULL;
    sl_driver_sequences_move(&d->sequences, s, SL_SEQUENCE_CLOSING);
    if (--owner->n_left == 0) sl_driver_finish_request(d, owner);
}

/* A stop string is complete with this token. */
static bool meets_stop(sl_driver *d, sl_driver_sequence *s, int32_t token, sl_choice *choice)
{
    const sl_request *request = s->owner->request;
    if (request->n_stops == 0) return false;
    size_t bytes = sl_tokenizer_decode(d->options.tokenizer, &s->decode, token, d->text);
    if (choice->n_tokens > request->sampling.min_tokens)
        return sl_stop_match_feed(&s->stop, d->text, bytes, &choice->stop_text_end);
    sl_stop_match_pass(&s->stop, d->text, bytes);
    return false;
}

/* The token is one that ends this request's text. */
static bool is_end(const sl_driver *d, const sl_request *request, int32_t token)
{
    if (!request->ignore_eos && sl_tokenizer_ends(d->options.tokenizer, token)) return true;
    for (uint32_t i = 0; i < request->n_stop_tokens; i++)
        if (request->stop_tokens[i] == token) return true;
    return false;
}

/* Pass the newest token to the watch. Each token is passed once: after a restart the same tokens
 * are generated again. */
static void report_token(const sl_driver *d, const sl_request *request, uint32_t index)
{
    sl_choice *choice = &request->choices[index];
    if (choice->n_tokens <= choice->n_reported) return;
    choice->n_reported = choice->n_tokens;
    const sl_watch *watch = &d->options.watch;
    if (!choice->ended_by_token && watch->token)
        watch->token(watch->context, request, index, choice->tokens[choice->n_tokens - 1]);
}

static void take_sample(sl_driver *d, sl_driver_sequence *s, const sl_token_result *result)
{
    sl_request *request = s->owner->request;
    sl_choice *choice = &request->choices[s->choice];
    if (choice->details) set_detail(&choice->details[choice->n_tokens], result);
    choice->tokens[choice->n_tokens++] = result->token;
    d->progress.generated_tokens++;

    choice->ended_by_token = is_end(d, request, result->token);
    report_token(d, request, s->choice);
    if (choice->ended_by_token || meets_stop(d, s, result->token, choice)) {
        finish_choice(d, s, SL_FINISH_STOP);
    } else if (choice->n_tokens == request->max_tokens) {
        finish_choice(d, s, SL_FINISH_LENGTH);
    } else {
        s->next_token = result->token;
        sl_driver_sequences_move(&d->sequences, s, SL_SEQUENCE_READY);
    }
}

/* The sequence a span or result of this frame belongs to, or NULL when it was closed since. */
static sl_driver_sequence *owned_sequence(sl_driver *d, const sl_frame *frame, uint32_t slot)
{
    sl_driver_sequence *s = &d->sequences.slots[slot];
    return sl_driver_is_open(s) && s->first_frame <= frame->number ? s : NULL;
}

/* The request wants this result, and it is the one that its sequence waits for. */
static bool is_expected(const sl_driver_sequence *s, const sl_token_result *result)
{
    const sl_request *request = s->owner->request;
    if ((int32_t)result->n_top > request->sampling.n_logprobs && result->n_top > 0) return false;
    if (result->compared && request->comparison.kind != SL_COMPARISON_WITH) return false;
    if (result->kind == SL_RESULT_SCORED)
        return request->prompt_details && result->position < request->n_prompt;
    return s->state == SL_SEQUENCE_WAITING &&
           request->choices[s->choice].n_tokens < request->max_tokens;
}

static sl_status take_results(sl_driver *d, const sl_frame *frame)
{
    for (uint32_t i = 0; i < frame->n_results; i++) {
        const sl_token_result *result = &frame->results[i];
        sl_driver_sequence *s = owned_sequence(d, frame, result->sequence);
        if (!s) continue;
        if (!is_expected(s, result)) {
            sl_error("frame %llu tells of token %u of sequence %u, which was not asked for",
                     (unsigned long long)frame->number, result->position, result->sequence);
            return SL_ERR_FORMAT;
        }
        if (result->kind == SL_RESULT_SAMPLED)
            take_sample(d, s, result);
        else
            set_detail(&s->owner->request->prompt_details[result->position], result);
    }
    return SL_OK;
}

/* What spans and heads have in their caches, before results close any of the sequences. */
static void take_accounts(sl_driver *d, const sl_frame *frame)
{
    for (uint32_t i = 0; i < frame->n_spans; i++) {
        const sl_span *span = &frame->spans[i];
        sl_driver_sequence *s = owned_sequence(d, frame, span->sequence);
        if (!s) continue;
        sl_choice *choice = &s->owner->request->choices[s->choice];
        choice->seen = span->seen;
        choice->kept = span->kept;
        if (span->cache_bytes > choice->cache_bytes) choice->cache_bytes = span->cache_bytes;
        if (d->options.watch.span)
            d->options.watch.span(d->options.watch.context, s->owner->request, frame, span);
    }
    for (uint32_t i = 0; i < frame->n_heads; i++) {
        d->heads[i].kept = frame->heads[i].kept;
        if (frame->heads[i].pages > d->heads[i].pages) d->heads[i].pages = frame->heads[i].pages;
    }
}

static void take_prompt_spans(sl_driver *d, const sl_frame *frame)
{
    for (uint32_t i = 0; i < frame->n_spans; i++) {
        const sl_span *span = &frame->spans[i];
        if (span->kind != SL_SPAN_PROMPT) continue;
        d->progress.prompt_tokens += span->n_tokens;
        sl_driver_sequence *s = owned_sequence(d, frame, span->sequence);
        if (!s) continue;
        const sl_request *request = s->owner->request;
        size_t n_read = span->position + span->n_tokens;
        if (d->options.watch.prompt)
            d->options.watch.prompt(d->options.watch.context, request, n_read);
        if (n_read == request->n_prompt && request->max_tokens == 0)
            finish_choice(d, s, SL_FINISH_LENGTH); /* no more than the prompt was wanted */
        else if (n_read == request->pause_after)
            sl_driver_sequences_move(&d->sequences, s, SL_SEQUENCE_PROMPT);
    }
}

static void take_ledger(sl_driver *d, const sl_frame *frame, uint32_t head_pages)
{
    d->progress.pages_used = 0;
    d->progress.compute_ns = d->progress.gate_ns = 0;
    for (uint32_t i = 0; i < frame->n_ledger; i++) {
        const sl_ledger_row *row = &frame->ledger[i];
        sl_credit_settle(&d->credit, row->rank, head_pages, row->pages_used);
        d->progress.pages_used += row->pages_used;
        d->progress.compute_ns += row->compute_ns;
        d->progress.gate_ns += row->gate_ns;
        if (row->peak_bytes > d->progress.peak_bytes) d->progress.peak_bytes = row->peak_bytes;
    }
}

sl_status sl_driver_take(sl_driver *driver, const sl_frame *frame)
{
    bool stops = sl_frame_stops(frame);
    if (driver->frames_back == driver->frames_sent || frame->number != driver->frames_back ||
        (stops && !driver->stop_sent)) {
        sl_error("frame %llu came back, but was not sent", (unsigned long long)frame->number);
        return SL_ERR_FORMAT;
    }
    const sl_driver_frame *sent = &driver->frames[frame->number % driver->options.frames_max];
    take_ledger(driver, frame, sent->head_pages);
    driver->frames_back++;
    driver->generating_frames_out -= sent->generates;
    take_accounts(driver, frame);
    sl_status status = take_results(driver, frame);
    if (status != SL_OK) return status;
    /* After the results: a request that is only scored ends with its last span. */
    take_prompt_spans(driver, frame);
    driver->stopped = stops;
    return SL_OK;
}
