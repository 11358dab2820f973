/* launch/pipeline/driver_fill.c - what the next frame carries: first the controls (CLOSE, OPEN,
 * FORK), then the spans that sched/batching.h picks within the credit of pages. */
#include <string.h>

#include "launch/pipeline/driver_admission.h"
#include "launch/pipeline/driver_state.h"

/* Tokens of the prompt that are prompt to policies. */
static uint32_t policy_prompt(const sl_request *request)
{
    return (uint32_t)(request->n_policy_prompt ? request->n_policy_prompt : request->n_prompt);
}

/* ---- controls ---- */

static sl_control *add_control(sl_frame *frame, sl_control_kind kind, uint32_t slot)
{
    sl_control *control = &frame->controls[frame->n_controls++];
    control->kind = kind;
    control->sequence = slot;
    control->parent = slot;
    return control;
}

/* What choice 0 has read when the others fork from it: before the prompt's last token, so that each
 * draws for itself, or before the tails. */
static uint32_t fork_at(const sl_request *request)
{
    return (uint32_t)(request->tails ? request->n_prompt : request->n_prompt - 1);
}

/* It has prompt tokens to send next, unless other choices fork from it first. */
static void continue_prompt(sl_driver *d, sl_driver_sequence *s)
{
    const sl_driver_request *owner = s->owner;
    bool forks = s->choice == 0 && owner->n_forking > 0 && s->n_sent == fork_at(owner->request);
    sl_driver_sequences_move(&d->sequences, s, forks ? SL_SEQUENCE_FORK_POINT : SL_SEQUENCE_PROMPT);
}

/* Open s, or fork it from another. parent: s itself when it is opened. */
static void start_sequence(sl_driver *d, sl_frame *frame, sl_control_kind kind,
                           sl_driver_sequence *s, const sl_driver_sequence *parent)
{
    const sl_request *request = s->owner->request;
    sl_control *control = add_control(frame, kind, sl_driver_sequences_slot(&d->sequences, s));
    control->parent = sl_driver_sequences_slot(&d->sequences, parent);
    control->sampling = request->sampling;
    control->sampling.seed += s->choice;
    control->id_seed = sl_request_id_seed(request);
    control->n_prompt = policy_prompt(request);
    control->keeps_all = request->keeps_all;
    control->comparison = request->comparison;
    s->first_frame = frame->number;
    s->n_sent = kind == SL_CONTROL_FORK ? parent->n_sent : 0;
    continue_prompt(d, s);
}

static void add_closes(sl_driver *d, sl_frame *frame)
{
    sl_driver_sequence *s;
    while ((s = sl_driver_sequences_first(&d->sequences, SL_SEQUENCE_CLOSING))) {
        add_control(frame, SL_CONTROL_CLOSE, sl_driver_sequences_slot(&d->sequences, s));
        sl_driver_sequences_move(&d->sequences, s, SL_SEQUENCE_FREE);
    }
}

static void add_opens(sl_driver *d, sl_frame *frame)
{
    sl_driver_sequence *s;
    while ((s = sl_driver_sequences_first(&d->sequences, SL_SEQUENCE_OPENING)))
        start_sequence(d, frame, SL_CONTROL_OPEN, s, s);
}

/* The other choices that still wait for this one. A fork copies a part-filled page of each head;
 * false when there is no credit for that. */
static bool fork_from(sl_driver *d, sl_frame *frame, sl_driver_sequence *parent,
                      uint32_t *head_pages)
{
    sl_driver_sequence *s, *next;
    for (s = sl_driver_sequences_first(&d->sequences, SL_SEQUENCE_FORKING); s; s = next) {
        next = sl_driver_sequences_next(s);
        if (s->owner != parent->owner) continue;
        if (!sl_credit_fits(&d->credit, *head_pages + SL_CREDIT_FORK_PAGES)) return false;
        *head_pages += SL_CREDIT_FORK_PAGES;
        s->owner->n_forking--;
        start_sequence(d, frame, SL_CONTROL_FORK, s, parent);
    }
    return true;
}

/* Fork what waits for sequences that have read all but their prompt's last token; false when there
 * is no credit for all of it. */
static bool add_forks(sl_driver *d, sl_frame *frame, uint32_t *head_pages)
{
    sl_driver_sequence *parent;
    while ((parent = sl_driver_sequences_first(&d->sequences, SL_SEQUENCE_FORK_POINT))) {
        if (!fork_from(d, frame, parent, head_pages)) return false;
        continue_prompt(d, parent);
    }
    return true;
}

/* ---- what each sequence could send ---- */

/* How far this sequence reads before something else must happen: choice 0 of several stops for the
 * others to fork there; a request may ask for a pause; what policies call the prompt ends with a
 * span, so none has tokens both of the prompt and of a tail. */
static uint32_t prompt_end(const sl_driver *d, const sl_driver_sequence *s)
{
    const sl_request *request = s->owner->request;
    uint32_t end = (uint32_t)sl_request_read_tokens(request, s->choice);
    bool forks = request->n_choices > 1 && !d->options.policy.whole_prompts;
    if (forks && s->choice == 0 && s->n_sent < fork_at(request)) end = fork_at(request);
    if (s->n_sent < request->pause_after && request->pause_after < end)
        end = (uint32_t)request->pause_after;
    if (s->n_sent < policy_prompt(request) && policy_prompt(request) < end)
        end = policy_prompt(request);
    return end;
}

/* The span that ends a prompt copies what survives into fresh pages. */
static uint32_t end_pages(const sl_driver *d, const sl_driver_sequence *s, uint32_t end)
{
    const sl_policy *policy = &d->options.policy;
    bool prunes = sl_policy_at_prompt_end(policy->kind) && end == policy_prompt(s->owner->request);
    if (!prunes) return 0;
    return sl_credit_tokens_pages(policy->sinks + sl_policy_survivors(policy, end));
}

static sl_batching_sequence prompt_item(const sl_driver *d, const sl_driver_sequence *s)
{
    uint32_t end = prompt_end(d, s);
    return (sl_batching_sequence){
        .prompt_tokens = end - s->n_sent,
        .end_pages = end_pages(d, s, end),
        .whole = d->options.policy.whole_prompts && end <= policy_prompt(s->owner->request),
    };
}

/* What sequences could send now, each kind with the oldest request first. Returns how many. */
static uint32_t list_items(sl_driver *d)
{
    const sl_driver_sequences *all = &d->sequences;
    sl_driver_sequence *s;
    uint32_t n = 0;
    for (s = sl_driver_sequences_first(all, SL_SEQUENCE_READY); s;
         s = sl_driver_sequences_next(s)) {
        d->items[n] = (sl_batching_sequence){.row_ready = true};
        d->item_sequences[n++] = s;
    }
    for (s = sl_driver_sequences_first(all, SL_SEQUENCE_PROMPT); s;
         s = sl_driver_sequences_next(s)) {
        d->items[n] = prompt_item(d, s);
        d->item_sequences[n++] = s;
    }
    return n;
}

/* Sequences that a request has and that could send nothing now. */
static uint32_t count_unlisted(const sl_driver *d)
{
    const sl_driver_sequences *all = &d->sequences;
    return sl_driver_sequences_count(all, SL_SEQUENCE_WAITING) +
           sl_driver_sequences_count(all, SL_SEQUENCE_FORKING) +
           sl_driver_sequences_count(all, SL_SEQUENCE_FORK_POINT);
}

/* ---- spans ---- */

/* What a choice reads from a place on, which is in the prompt or in its tail. */
static const int32_t *tokens_from(const sl_request *request, uint32_t choice, uint32_t first)
{
    if (first < request->n_prompt) return request->prompt + first;
    return request->tails[choice].ids + (first - request->n_prompt);
}

static void add_prompt_span(sl_driver *d, sl_driver_sequence *s, uint32_t n_tokens, sl_frame *frame,
                            sl_span *span)
{
    const sl_request *request = s->owner->request;
    uint32_t first = s->n_sent, end = first + n_tokens;
    bool all_read = end == sl_request_read_tokens(request, s->choice);
    memcpy(frame->tokens + frame->n_rows, tokens_from(request, s->choice, first),
           n_tokens * sizeof *frame->tokens);
    span->kind = SL_SPAN_PROMPT;
    span->sample = all_read && request->max_tokens > 0;
    span->next_token = end < request->n_prompt ? request->prompt[end] : -1;
    /* The row of token t scores token t + 1; choice 0 does it for all. */
    size_t from = request->score_from == 0 ? 1 : request->score_from;
    span->score_from = n_tokens;
    if (request->score_from != SIZE_MAX && s->choice == 0 && from <= end)
        span->score_from = from - 1 > first ? (uint32_t)(from - 1 - first) : 0;
    if (span->score_from >= n_tokens) span->next_token = -1;
    s->n_sent = end;
    if (all_read || end == request->pause_after)
        sl_driver_sequences_move(&d->sequences, s, SL_SEQUENCE_WAITING);
    else
        continue_prompt(d, s);
}

static void add_generated_span(sl_driver *d, sl_driver_sequence *s, sl_frame *frame, sl_span *span)
{
    frame->tokens[frame->n_rows] = s->next_token;
    span->kind = SL_SPAN_DECODE;
    span->sample = true;
    span->score_from = 1;
    span->next_token = -1;
    s->n_sent++;
    sl_driver_sequences_move(&d->sequences, s, SL_SEQUENCE_WAITING);
}

static void add_span(sl_driver *d, sl_frame *frame, sl_driver_sequence *s, uint32_t n_tokens)
{
    sl_span *span = &frame->spans[frame->n_spans++];
    *span = (sl_span){.sequence = sl_driver_sequences_slot(&d->sequences, s),
                      .position = s->n_sent,
                      .first_row = frame->n_rows,
                      .n_tokens = n_tokens};
    if (s->state == SL_SEQUENCE_READY)
        add_generated_span(d, s, frame, span);
    else
        add_prompt_span(d, s, n_tokens, frame, span);
    frame->n_rows += n_tokens;
}

/* Pick spans within credit; adds their head pages. */
static void add_spans(sl_driver *d, sl_frame *frame, uint32_t n_items, uint32_t *head_pages)
{
    sl_batching_room room = {
        .rows_max = d->options.chunk,
        .spans_max = d->options.limits.spans_max,
        .stages = d->options.limits.ranks,
        .frames_in_flight = sl_driver_frames_out(d),
        .frames_max = d->options.frames_max,
        .decode_frames_in_flight = d->generating_frames_out,
        .unlisted = count_unlisted(d),
        .head_pages = sl_credit_head_pages_free(&d->credit) - *head_pages,
    };
    uint32_t n_picks = sl_batching_next(&room, d->items, n_items, d->picks);
    for (uint32_t i = 0; i < n_picks; i++) {
        const sl_batching_sequence *item = &d->items[d->picks[i].index];
        uint32_t n = d->picks[i].n_tokens;
        *head_pages += sl_credit_tokens_pages(n) + (n == item->prompt_tokens ? item->end_pages : 0);
        add_span(d, frame, d->item_sequences[d->picks[i].index], n);
    }
}

/* ---- the frame ---- */

/* They come first among the spans. */
static bool carries_generated_tokens(const sl_frame *frame)
{
    return frame->n_spans > 0 && frame->spans[0].kind == SL_SPAN_DECODE;
}

static bool may_stop(const sl_driver *d)
{
    return d->ending && sl_driver_requests_count(&d->requests) == 0 && !d->stop_sent;
}

static void note_sent(sl_driver *d, const sl_frame *frame, uint32_t head_pages)
{
    bool generates = carries_generated_tokens(frame);
    sl_credit_take(&d->credit, head_pages);
    d->frames[frame->number % d->options.frames_max] = (sl_driver_frame){.head_pages = head_pages,
                                                                         .generates = generates};
    d->frames_sent++;
    d->generating_frames_out += generates;
}

bool sl_driver_fill(sl_driver *driver, sl_frame *frame)
{
    if (driver->stop_sent || sl_driver_frames_out(driver) == driver->options.frames_max)
        return false;
    sl_frame_reset(frame, driver->frames_sent);
    uint32_t head_pages = 0;
    sl_driver_admit(driver);
    add_closes(driver, frame);
    add_opens(driver, frame);
    bool forked = add_forks(driver, frame, &head_pages);
    uint32_t n_items = list_items(driver);
    if (n_items > 0) add_spans(driver, frame, n_items, &head_pages);

    bool short_of_pages = frame->n_spans == 0 && (n_items > 0 || !forked);
    if (short_of_pages && frame->n_controls == 0 && sl_driver_frames_out(driver) == 0) {
        sl_driver_restart_youngest(driver);
        return sl_driver_fill(driver, frame); /* at least its CLOSE goes out, or another request */
    }
    if (may_stop(driver)) {
        add_control(frame, SL_CONTROL_STOP, 0);
        driver->stop_sent = true;
    }
    if (frame->n_controls == 0 && frame->n_spans == 0) return false;
    note_sent(driver, frame, head_pages);
    return true;
}
