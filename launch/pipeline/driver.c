/* launch/pipeline/driver.c - see driver.h. Sequences are slots of the pipeline; a request with n choices has
 * n of them: the first reads the prompt up to its last token, the others fork from it there, and
 * each then reads the last token and draws for itself. */
#include "launch/pipeline/driver.h"

#include <string.h>

#include "launch/openai/stop_match.h"
#include "launch/pipeline/page_budget.h"
#include "runtime/base/log.h"
#include "runtime/cache/cache.h"
#include "sched/batching.h"
#include "sched/credit.h"

/* sched cannot see the cache, and keeps the number for itself. */
_Static_assert((int)SL_CREDIT_PAGE_TOKENS == (int)SL_PAGE_TOKENS,
               "credit counts the cache's pages");

typedef struct {
    sl_request *request;
    uint32_t n_left; /* choices not finished */
    bool active;     /* has slots */
} entry;

typedef enum {
    SEQUENCE_FREE,
    SEQUENCE_OPENING, /* its OPEN goes with the next frame */
    SEQUENCE_FORKING, /* waits for choice 0 to read the prompt but its last token */
    SEQUENCE_PROMPT,  /* has prompt tokens to send */
    SEQUENCE_WAITING, /* for what the last stage makes of what was sent */
    SEQUENCE_READY,   /* has a token to send */
    SEQUENCE_CLOSING, /* its CLOSE goes with the next frame */
} sequence_state;

typedef struct {
    sequence_state state;
    entry *owner;
    uint32_t choice;
    uint32_t n_sent;      /* tokens of it sent down the pipeline */
    int32_t next_token;   /* READY */
    uint64_t first_frame; /* results of older frames are a former owner's */
    sl_stop_match stop;
    sl_decode_state decode;
} sequence;

struct sl_driver {
    sl_driver_options options;
    sl_credit credit;
    sl_page_budget budget;
    sl_head_account *heads; /* [n_heads] */
    size_t n_heads;
    entry *entries; /* [entries_max] oldest first */
    uint32_t n_entries, entries_max;
    sequence *sequences;         /* [sequences_max] */
    sl_batching_sequence *items; /* [sequences_max] what each could send, oldest first */
    uint32_t *item_sequence;     /* [sequences_max] */
    sl_batching_pick *picks;     /* [spans_max] */
    sl_request **finished;       /* [entries_max] ring */
    uint32_t finished_first, finished_count;
    uint32_t *frame_pages; /* [frames_max] head pages of frames under way */
    bool *frame_decodes;   /* [frames_max] whether they carry generated tokens */
    uint64_t frames_sent, frames_back;
    uint32_t decode_frames_out; /* of those under way, that carry generated tokens */
    bool closed;                /* pages ran out: nobody new until somebody finishes */
    bool ending, stop_sent, stopped;
    char *text; /* room for one decoded token */
    sl_driver_progress progress;
};

void sl_driver_init(const sl_driver_options *options, sl_arena *arena, sl_driver **driver_out)
{
    sl_driver counted = {0};
    sl_driver *d = sl_arena_array(arena, sl_driver, 1);
    *driver_out = d;
    if (!d) d = &counted; /* measuring */
    *d = (sl_driver){.options = *options, .entries_max = 2 * options->sequences_max};
    uint32_t ranks = options->limits.ranks, n = options->sequences_max;
    uint64_t *confirmed = sl_arena_array(arena, uint64_t, ranks);
    uint64_t *pending = sl_arena_array(arena, uint64_t, ranks);
    d->n_heads = (size_t)options->limits.n_layers * options->limits.n_kv_heads;
    d->heads = sl_arena_array(arena, sl_head_account, d->n_heads);
    d->budget = (sl_page_budget){.ranks = ranks,
                                 .policy = options->policy,
                                 .expected_tokens = options->expected_tokens,
                                 .rank_heads = options->rank_heads,
                                 .rank_pages = options->rank_pages,
                                 .rank_keep = options->rank_keep,
                                 .expected = sl_arena_array(arena, uint64_t, ranks)};
    d->entries = sl_arena_array(arena, entry, d->entries_max);
    d->sequences = sl_arena_array(arena, sequence, n);
    d->items = sl_arena_array(arena, sl_batching_sequence, n);
    d->item_sequence = sl_arena_array(arena, uint32_t, n);
    d->picks = sl_arena_array(arena, sl_batching_pick, options->limits.spans_max);
    d->finished = sl_arena_array(arena, sl_request *, d->entries_max);
    d->frame_pages = sl_arena_array(arena, uint32_t, options->frames_max);
    d->frame_decodes = sl_arena_array(arena, bool, options->frames_max);
    d->text = sl_arena_array(arena, char, sl_tokenizer_decode_bytes_max(options->tokenizer));
    if (!*driver_out) return;
    sl_credit_init(&d->credit, ranks, options->rank_heads, options->rank_pages, confirmed, pending);
    d->budget.head_pages = sl_credit_head_pages_free(&d->credit);
}

uint32_t sl_driver_frames_out(const sl_driver *driver)
{
    return (uint32_t)(driver->frames_sent - driver->frames_back);
}

bool sl_driver_stopped(const sl_driver *driver) { return driver->stopped; }

const sl_driver_progress *sl_driver_progress_now(const sl_driver *driver)
{
    return &driver->progress;
}

const sl_head_account *sl_driver_heads(const sl_driver *driver) { return driver->heads; }

/* ---- requests in and out ---- */

sl_status sl_driver_submit(sl_driver *driver, sl_request *request)
{
    SL_ASSERT(!driver->ending);
    SL_ASSERT(request->pause_after == 0 ||
              (request->n_choices == 1 && request->pause_after < request->n_prompt));
    SL_ASSERT(request->comparison.kind == SL_COMPARISON_NONE || request->n_choices == 1);
    /* finished ones not taken yet hold their place: the ring cannot overflow */
    if (driver->n_entries + driver->finished_count == driver->entries_max) return SL_AGAIN;
    driver->entries[driver->n_entries++] = (entry){.request = request,
                                                   .n_left = request->n_choices};
    driver->progress.requests_waiting++;
    return SL_OK;
}

void sl_driver_end(sl_driver *driver) { driver->ending = true; }

sl_request *sl_driver_finished(sl_driver *driver)
{
    if (driver->finished_count == 0) return NULL;
    sl_request *request = driver->finished[driver->finished_first];
    driver->finished_first = (driver->finished_first + 1) % driver->entries_max;
    driver->finished_count--;
    return request;
}

void sl_driver_fini(sl_driver *driver)
{
    if (!driver) return;
    for (uint32_t i = 0; i < driver->n_entries; i++) sl_request_free(driver->entries[i].request);
    for (sl_request *r; (r = sl_driver_finished(driver));) sl_request_free(r);
    driver->n_entries = 0;
}

/* Entries stay in order of arrival; sequences point to them, so moving one moves their pointers. */
static void remove_entry(sl_driver *d, entry *e)
{
    if (e->active) {
        d->progress.requests_active--;
        sl_page_budget_give_back(&d->budget, e->request);
    } else {
        d->progress.requests_waiting--;
    }
    entry *last = &d->entries[d->n_entries - 1];
    memmove(e, e + 1, (size_t)(last - e) * sizeof *e);
    d->n_entries--;
    for (uint32_t i = 0; i < d->options.sequences_max; i++)
        if (d->sequences[i].owner > e) d->sequences[i].owner--;
}

static void close_sequences(sl_driver *d, const entry *e)
{
    for (uint32_t i = 0; i < d->options.sequences_max; i++) {
        sequence *s = &d->sequences[i];
        if (s->owner != e) continue;
        bool known = s->state != SEQUENCE_OPENING && s->state != SEQUENCE_FORKING;
        s->state = known ? SEQUENCE_CLOSING : SEQUENCE_FREE;
        s->owner = NULL;
    }
}

static void finish_entry(sl_driver *d, entry *e)
{
    close_sequences(d, e);
    d->closed = false;
    d->progress.requests_done++;
    d->progress.requests_failed += e->request->error.http_status != 0;
    d->finished[(d->finished_first + d->finished_count++) % d->entries_max] = e->request;
    remove_entry(d, e);
}

bool sl_driver_cancel(sl_driver *driver, const sl_request *request)
{
    for (uint32_t i = 0; i < driver->n_entries; i++) {
        entry *e = &driver->entries[i];
        if (e->request != request) continue;
        sl_request_fail(e->request, 499, "cancelled", "", "the request was cancelled");
        finish_entry(driver, e);
        return true;
    }
    return false;
}

/* ---- admission ---- */

static uint32_t free_sequences(const sl_driver *d)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < d->options.sequences_max; i++)
        n += d->sequences[i].state == SEQUENCE_FREE;
    return n;
}

static void give_sequences(sl_driver *d, entry *e)
{
    uint32_t choice = 0;
    for (uint32_t i = 0; i < d->options.sequences_max && choice < e->request->n_choices; i++) {
        sequence *s = &d->sequences[i];
        if (s->state != SEQUENCE_FREE) continue;
        bool forks = choice > 0 && !d->options.policy.whole_prompts;
        *s = (sequence){
            .state = forks ? SEQUENCE_FORKING : SEQUENCE_OPENING, .owner = e, .choice = choice};
        sl_stop_match_init(&s->stop, e->request->stops, e->request->n_stops);
        choice++;
    }
    SL_ASSERT(choice == e->request->n_choices);
}

static entry *oldest_waiting(sl_driver *d)
{
    for (uint32_t i = 0; i < d->n_entries; i++)
        if (!d->entries[i].active) return &d->entries[i];
    return NULL;
}

/* In order of age, as long as slots and the pages they are expected to need are there; one request
 * is always let in, since it may have the whole pool. */
static void admit(sl_driver *d)
{
    entry *e;
    while ((e = oldest_waiting(d))) {
        sl_request *request = e->request;
        if (sl_page_budget_refuses(&d->budget, request, d->options.sequences_max)) {
            finish_entry(d, e);
            continue;
        }
        if (free_sequences(d) < request->n_choices) return;
        bool fits = !d->closed && sl_page_budget_fits(&d->budget, request);
        if (d->progress.requests_active > 0 && !fits) return;
        e->active = true;
        sl_page_budget_take(&d->budget, request);
        if (++d->progress.requests_active > d->progress.requests_most)
            d->progress.requests_most = d->progress.requests_active;
        d->progress.requests_waiting--;
        give_sequences(d, e);
    }
}

static void reset_choices(sl_request *request)
{
    for (uint32_t i = 0; i < request->n_choices; i++) {
        sl_choice *choice = &request->choices[i];
        choice->n_tokens = 0;
        choice->finish = SL_FINISH_NONE;
        choice->ended_by_token = false;
        choice->stop_text_end = SIZE_MAX;
        choice->seen = choice->kept = choice->cache_bytes = 0;
    }
}

static uint32_t tokens_sent(const sl_driver *d, const entry *e)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < d->options.sequences_max; i++)
        if (d->sequences[i].owner == e && d->sequences[i].n_sent > most)
            most = d->sequences[i].n_sent;
    return most;
}

/* No page is left and nothing is under way: the youngest starts again later. */
static void restart_youngest(sl_driver *d)
{
    entry *youngest = NULL;
    for (uint32_t i = 0; i < d->n_entries; i++)
        if (d->entries[i].active) youngest = &d->entries[i];
    SL_ASSERT(youngest);
    if (d->progress.requests_active == 1) {
        sl_page_budget_fail_alone(&d->budget, youngest->request, tokens_sent(d, youngest),
                                  d->credit.pages_confirmed);
        finish_entry(d, youngest);
        return;
    }
    close_sequences(d, youngest);
    reset_choices(youngest->request);
    youngest->n_left = youngest->request->n_choices;
    youngest->active = false;
    d->closed = true;
    sl_page_budget_give_back(&d->budget, youngest->request);
    d->progress.requests_active--;
    d->progress.requests_waiting++;
    d->progress.restarts++;
}

/* ---- filling a frame ---- */

/* Tokens of the prompt that are prompt to policies. */
static uint32_t policy_prompt(const sl_request *request)
{
    return (uint32_t)(request->n_policy_prompt ? request->n_policy_prompt : request->n_prompt);
}

static sl_control *add_control(sl_frame *frame, sl_control_kind kind, uint32_t index)
{
    sl_control *control = &frame->controls[frame->n_controls++];
    control->kind = kind;
    control->sequence = index;
    control->parent = index;
    return control;
}

static void start_sequence(sl_driver *d, sl_frame *frame, sl_control_kind kind, uint32_t index,
                           uint32_t parent)
{
    sequence *s = &d->sequences[index];
    sl_control *control = add_control(frame, kind, index);
    control->parent = parent;
    control->sampling = s->owner->request->sampling;
    control->sampling.seed += s->choice;
    control->id_seed = sl_request_id_seed(s->owner->request);
    control->n_prompt = policy_prompt(s->owner->request);
    control->keeps_all = s->owner->request->keeps_all;
    control->comparison = s->owner->request->comparison;
    s->first_frame = frame->number;
    s->n_sent = kind == SL_CONTROL_FORK ? d->sequences[parent].n_sent : 0;
    s->state = SEQUENCE_PROMPT;
}

static void add_closes(sl_driver *d, sl_frame *frame)
{
    for (uint32_t i = 0; i < d->options.sequences_max; i++) {
        if (d->sequences[i].state != SEQUENCE_CLOSING) continue;
        add_control(frame, SL_CONTROL_CLOSE, i);
        d->sequences[i].state = SEQUENCE_FREE;
    }
}

static void add_opens(sl_driver *d, sl_frame *frame)
{
    for (uint32_t i = 0; i < d->options.sequences_max; i++)
        if (d->sequences[i].state == SEQUENCE_OPENING)
            start_sequence(d, frame, SL_CONTROL_OPEN, i, i);
}

/* How far this sequence reads before something else must happen: choice 0 of several stops before
 * the prompt's last token, for the others to fork there; a request may ask for a pause; what policies
 * call the prompt ends with a span. */
static uint32_t prompt_end(const sl_driver *d, const sequence *s)
{
    const sl_request *request = s->owner->request;
    uint32_t n_prompt = (uint32_t)request->n_prompt, end = n_prompt;
    bool forks = request->n_choices > 1 && !d->options.policy.whole_prompts;
    if (forks && s->choice == 0 && s->n_sent + 1 < n_prompt) end = n_prompt - 1;
    if (s->n_sent < request->pause_after && request->pause_after < end)
        end = (uint32_t)request->pause_after;
    if (s->n_sent < policy_prompt(request) && policy_prompt(request) < end)
        end = policy_prompt(request);
    return end;
}

/* The span that ends a prompt copies what survives into fresh pages. */
static uint32_t end_pages(const sl_driver *d, const sequence *s, uint32_t end)
{
    const sl_policy *policy = &d->options.policy;
    bool prunes = sl_policy_at_prompt_end(policy->kind) && end == policy_prompt(s->owner->request);
    if (!prunes) return 0;
    return sl_credit_tokens_pages(policy->sinks + sl_policy_survivors(policy, end));
}

/* Fork what waits for sequences that have read all but their prompt's last token. A fork copies a
 * part-filled page of each head; false when there is no credit for that. */
static bool add_forks(sl_driver *d, sl_frame *frame, uint32_t *head_pages)
{
    uint32_t n = d->options.sequences_max;
    for (uint32_t p = 0; p < n; p++) {
        sequence *parent = &d->sequences[p];
        if (parent->state != SEQUENCE_PROMPT || parent->choice != 0) continue;
        if (parent->n_sent + 1 != parent->owner->request->n_prompt) continue;
        for (uint32_t i = 0; i < n; i++) {
            sequence *s = &d->sequences[i];
            if (s->state != SEQUENCE_FORKING || s->owner != parent->owner) continue;
            if (!sl_credit_fits(&d->credit, *head_pages + SL_CREDIT_FORK_PAGES)) return false;
            *head_pages += SL_CREDIT_FORK_PAGES;
            start_sequence(d, frame, SL_CONTROL_FORK, i, p);
        }
    }
    return true;
}

static bool has_forks_waiting(const sl_driver *d, const entry *e)
{
    for (uint32_t i = 0; i < d->options.sequences_max; i++)
        if (d->sequences[i].owner == e && d->sequences[i].state == SEQUENCE_FORKING) return true;
    return false;
}

/* Prompt tokens the sequence could send now. */
static uint32_t prompt_ready(const sl_driver *d, const sequence *s)
{
    if (s->state != SEQUENCE_PROMPT) return 0;
    bool at_fork = s->choice == 0 && s->n_sent + 1 == s->owner->request->n_prompt;
    if (at_fork && has_forks_waiting(d, s->owner)) return 0;
    return prompt_end(d, s) - s->n_sent;
}

/* What each sequence could send now, oldest request first; *any_out: one of them can. */
static uint32_t list_items(sl_driver *d, bool *any_out)
{
    uint32_t n = 0;
    *any_out = false;
    for (uint32_t k = 0; k < d->n_entries; k++) {
        for (uint32_t i = 0; i < d->options.sequences_max; i++) {
            const sequence *s = &d->sequences[i];
            if (s->owner != &d->entries[k]) continue;
            sl_batching_sequence item = {.prompt_tokens = prompt_ready(d, s),
                                         .row_ready = s->state == SEQUENCE_READY};
            if (item.prompt_tokens > 0) {
                uint32_t end = s->n_sent + item.prompt_tokens;
                item.end_pages = end_pages(d, s, end);
                item.whole = d->options.policy.whole_prompts &&
                             end <= policy_prompt(s->owner->request);
            }
            *any_out |= item.row_ready || item.prompt_tokens > 0;
            d->items[n] = item;
            d->item_sequence[n++] = i;
        }
    }
    return n;
}

static void add_prompt_span(sequence *s, uint32_t n_tokens, sl_frame *frame, sl_span *span)
{
    const sl_request *request = s->owner->request;
    uint32_t first = s->n_sent, end = first + n_tokens;
    memcpy(frame->tokens + frame->n_rows, request->prompt + first,
           n_tokens * sizeof *frame->tokens);
    span->kind = SL_SPAN_PROMPT;
    span->sample = end == request->n_prompt && request->max_tokens > 0;
    span->next_token = end < request->n_prompt ? request->prompt[end] : -1;
    /* the row of token t scores token t + 1; choice 0 does it for all */
    size_t from = request->score_from == 0 ? 1 : request->score_from;
    span->score_from = n_tokens;
    if (request->score_from != SIZE_MAX && s->choice == 0 && from <= end)
        span->score_from = from - 1 > first ? (uint32_t)(from - 1 - first) : 0;
    if (span->score_from >= n_tokens) span->next_token = -1;
    bool waits = end == request->n_prompt || end == request->pause_after;
    s->state = waits ? SEQUENCE_WAITING : SEQUENCE_PROMPT;
}

static void add_span(sl_driver *d, sl_frame *frame, uint32_t index, uint32_t n_tokens)
{
    sequence *s = &d->sequences[index];
    sl_span *span = &frame->spans[frame->n_spans++];
    *span = (sl_span){
        .sequence = index, .position = s->n_sent, .first_row = frame->n_rows, .n_tokens = n_tokens};
    if (s->state == SEQUENCE_READY) {
        frame->tokens[frame->n_rows] = s->next_token;
        span->kind = SL_SPAN_DECODE;
        span->sample = true;
        span->score_from = 1;
        span->next_token = -1;
        s->state = SEQUENCE_WAITING;
    } else {
        add_prompt_span(s, n_tokens, frame, span);
    }
    s->n_sent += n_tokens;
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
        .decode_frames_in_flight = d->decode_frames_out,
        .head_pages = sl_credit_head_pages_free(&d->credit) - *head_pages,
    };
    uint32_t n_picks = sl_batching_next(&room, d->items, n_items, d->picks);
    for (uint32_t i = 0; i < n_picks; i++) {
        const sl_batching_sequence *item = &d->items[d->picks[i].index];
        uint32_t n = d->picks[i].n_tokens;
        *head_pages += sl_credit_tokens_pages(n) + (n == item->prompt_tokens ? item->end_pages : 0);
        add_span(d, frame, d->item_sequence[d->picks[i].index], d->picks[i].n_tokens);
    }
}

/* Generated tokens come first. */
static bool carries_rows(const sl_frame *frame)
{
    return frame->n_spans > 0 && frame->spans[0].kind == SL_SPAN_DECODE;
}

static bool may_stop(const sl_driver *d) { return d->ending && d->n_entries == 0 && !d->stop_sent; }

bool sl_driver_fill(sl_driver *driver, sl_frame *frame)
{
    if (driver->stop_sent || sl_driver_frames_out(driver) == driver->options.frames_max)
        return false;
    sl_frame_reset(frame, driver->frames_sent);
    uint32_t head_pages = 0;
    bool any_ready;
    admit(driver);
    add_closes(driver, frame);
    add_opens(driver, frame);
    bool forked = add_forks(driver, frame, &head_pages);
    uint32_t n_items = list_items(driver, &any_ready);
    add_spans(driver, frame, n_items, &head_pages);

    bool short_of_pages = frame->n_spans == 0 && (any_ready || !forked);
    if (short_of_pages && frame->n_controls == 0 && sl_driver_frames_out(driver) == 0) {
        restart_youngest(driver);
        return sl_driver_fill(driver, frame); /* at least its CLOSE goes out, or another request */
    }
    if (may_stop(driver)) {
        add_control(frame, SL_CONTROL_STOP, 0);
        driver->stop_sent = true;
    }
    if (frame->n_controls == 0 && frame->n_spans == 0) return false;
    sl_credit_take(&driver->credit, head_pages);
    driver->frame_pages[frame->number % driver->options.frames_max] = head_pages;
    driver->frames_sent++;
    driver->frame_decodes[frame->number % driver->options.frames_max] = carries_rows(frame);
    driver->decode_frames_out += carries_rows(frame);
    return true;
}

/* ---- results ---- */

static void set_detail(sl_token_detail *detail, const sl_token_result *result)
{
    detail->logprob = result->logprob;
    detail->compared = result->compared;
    detail->agrees = result->agrees;
    detail->kl = result->kl;
    detail->n_top = result->n_top;
    for (uint32_t i = 0; i < result->n_top; i++) detail->top[i] = result->top[i];
}

static void finish_choice(sl_driver *d, sequence *s, sl_finish finish)
{
    entry *e = s->owner;
    e->request->choices[s->choice].finish = finish;
    s->state = SEQUENCE_CLOSING;
    s->owner = NULL;
    if (--e->n_left == 0) finish_entry(d, e);
}

/* A stop string is complete with this token. */
static bool meets_stop(sl_driver *d, sequence *s, int32_t token, sl_choice *choice)
{
    if (s->owner->request->n_stops == 0) return false;
    size_t bytes = sl_tokenizer_decode(d->options.tokenizer, &s->decode, token, d->text);
    if (choice->n_tokens > s->owner->request->sampling.min_tokens)
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

/* Each token once: what a restart generates again is the same as before. */
static void tell_watch(const sl_driver *d, const sl_request *request, uint32_t index)
{
    sl_choice *choice = &request->choices[index];
    if (choice->n_tokens <= choice->n_told) return;
    choice->n_told = choice->n_tokens;
    const sl_watch *watch = &d->options.watch;
    if (!choice->ended_by_token && watch->token)
        watch->token(watch->context, request, index, choice->tokens[choice->n_tokens - 1]);
}

static void take_sample(sl_driver *d, sequence *s, const sl_token_result *result)
{
    sl_request *request = s->owner->request;
    sl_choice *choice = &request->choices[s->choice];
    if (choice->details) set_detail(&choice->details[choice->n_tokens], result);
    choice->tokens[choice->n_tokens++] = result->token;
    d->progress.generated_tokens++;

    choice->ended_by_token = is_end(d, request, result->token);
    tell_watch(d, request, s->choice);
    if (choice->ended_by_token || meets_stop(d, s, result->token, choice)) {
        finish_choice(d, s, SL_FINISH_STOP);
    } else if (choice->n_tokens == request->max_tokens) {
        finish_choice(d, s, SL_FINISH_LENGTH);
    } else {
        s->next_token = result->token;
        s->state = SEQUENCE_READY;
    }
}

/* The sequence a span or result of this frame belongs to, or NULL when it was closed since. */
static sequence *owner_of(sl_driver *d, const sl_frame *frame, uint32_t index)
{
    sequence *s = &d->sequences[index];
    return s->owner && s->first_frame <= frame->number && s->state != SEQUENCE_OPENING &&
                   s->state != SEQUENCE_FORKING
               ? s
               : NULL;
}

/* The result is one that was asked for. */
static bool is_expected(const sequence *s, const sl_token_result *result)
{
    const sl_request *request = s->owner->request;
    if ((int32_t)result->n_top > request->sampling.n_logprobs && result->n_top > 0) return false;
    if (result->compared && request->comparison.kind != SL_COMPARISON_WITH) return false;
    if (result->kind == SL_RESULT_SCORED)
        return request->prompt_details && result->position < request->n_prompt;
    return s->state == SEQUENCE_WAITING &&
           request->choices[s->choice].n_tokens < request->max_tokens;
}

static sl_status take_results(sl_driver *d, const sl_frame *frame)
{
    for (uint32_t i = 0; i < frame->n_results; i++) {
        const sl_token_result *result = &frame->results[i];
        sequence *s = owner_of(d, frame, result->sequence);
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

/* What spans tell of their sequences' caches, before any of them is closed by its results. */
static void take_accounts(sl_driver *d, const sl_frame *frame)
{
    for (uint32_t i = 0; i < frame->n_spans; i++) {
        const sl_span *span = &frame->spans[i];
        sequence *s = owner_of(d, frame, span->sequence);
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

static void take_spans(sl_driver *d, const sl_frame *frame)
{
    for (uint32_t i = 0; i < frame->n_spans; i++) {
        const sl_span *span = &frame->spans[i];
        if (span->kind != SL_SPAN_PROMPT) continue;
        d->progress.prompt_tokens += span->n_tokens;
        sequence *s = owner_of(d, frame, span->sequence);
        if (!s) continue;
        const sl_request *request = s->owner->request;
        size_t n_read = span->position + span->n_tokens;
        if (d->options.watch.prompt)
            d->options.watch.prompt(d->options.watch.context, request, n_read);
        if (n_read == request->n_prompt && request->max_tokens == 0)
            finish_choice(d, s, SL_FINISH_LENGTH); /* only its prompt was asked for */
        else if (n_read == request->pause_after)
            s->state = SEQUENCE_PROMPT;
    }
}

static void take_ledger(sl_driver *d, const sl_frame *frame)
{
    uint32_t head_pages = d->frame_pages[frame->number % d->options.frames_max];
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
    take_ledger(driver, frame);
    driver->frames_back++;
    driver->decode_frames_out -= driver->frame_decodes[frame->number % driver->options.frames_max];
    take_accounts(driver, frame);
    sl_status status = take_results(driver, frame);
    if (status != SL_OK) return status;
    take_spans(driver, frame); /* after: a request that is only scored ends with its last span */
    driver->stopped = stops;
    return SL_OK;
}
