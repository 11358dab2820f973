/* launch/pipeline/driver_admission.c - requests in and out, and which of them are active. */
#include "launch/pipeline/driver_admission.h"

#include "runtime/base/log.h"

/* ---- a request as the page budget counts it ---- */

static bool holds_prompt(const sl_policy *policy, const sl_request *request)
{
    return policy->kind == SL_POLICY_FULL || policy->whole_prompts || request->keeps_all ||
           sl_policy_at_prompt_end(policy->kind);
}

/* Tokens beside the prompt that a choice may have, at most. */
static uint32_t tokens_beside(const sl_request *request)
{
    size_t most = 0;
    for (uint32_t i = 0; request->tails && i < request->n_choices; i++)
        if (request->tails[i].n > most) most = request->tails[i].n;
    return (uint32_t)most + request->max_tokens;
}

static sl_page_request page_request_of(const sl_driver *d, const sl_request *request)
{
    const sl_policy *policy = &d->options.policy;
    uint32_t n_prompt = (uint32_t)request->n_prompt;
    sl_page_request counted = {.n_prompt = n_prompt,
                               .max_tokens = tokens_beside(request),
                               .n_choices = request->n_choices,
                               .holds_prompt = holds_prompt(policy, request),
                               .prunes_prompt = sl_policy_at_prompt_end(policy->kind)};
    if (counted.prunes_prompt)
        counted.survivors = policy->sinks + sl_policy_survivors(policy, n_prompt);
    return counted;
}

static void take_pages(sl_driver *d, const sl_request *request)
{
    sl_page_request counted = page_request_of(d, request);
    sl_page_budget_take(&d->budget, &counted);
}

static void give_pages_back(sl_driver *d, const sl_request *request)
{
    sl_page_request counted = page_request_of(d, request);
    sl_page_budget_give_back(&d->budget, &counted);
}

/* ---- requests in and out ---- */

sl_status sl_driver_submit(sl_driver *driver, sl_request *request)
{
    SL_ASSERT(!driver->ending);
    SL_ASSERT(request->pause_after == 0 ||
              (request->n_choices == 1 && request->pause_after < request->n_prompt));
    SL_ASSERT(request->comparison.kind == SL_COMPARISON_NONE || request->n_choices == 1);
    SL_ASSERT(!request->tails || (request->score_from == SIZE_MAX && request->max_tokens > 0 &&
                                  request->pause_after == 0 && request->n_policy_prompt == 0));
    /* Finished ones that are not taken yet hold their place: the ring cannot overflow. */
    uint32_t inside = sl_driver_requests_count(&driver->requests);
    if (inside + driver->finished_count == driver->requests.max) return SL_AGAIN;
    sl_driver_requests_add(&driver->requests, request);
    driver->progress.requests_waiting++;
    return SL_OK;
}

void sl_driver_end(sl_driver *driver) { driver->ending = true; }

sl_request *sl_driver_finished(sl_driver *driver)
{
    if (driver->finished_count == 0) return NULL;
    sl_request *request = driver->finished[driver->finished_first];
    driver->finished_first = (driver->finished_first + 1) % driver->requests.max;
    driver->finished_count--;
    return request;
}

static void free_requests(sl_driver *d, const sl_list *list)
{
    for (sl_driver_request *r; (r = sl_driver_requests_oldest(list));) {
        sl_request_free(r->request);
        sl_driver_requests_remove(&d->requests, r);
    }
}

void sl_driver_fini(sl_driver *driver)
{
    if (!driver) return;
    free_requests(driver, &driver->requests.active);
    free_requests(driver, &driver->requests.waiting);
    for (sl_request *r; (r = sl_driver_finished(driver));) sl_request_free(r);
}

/* Slots that the stages do not know yet are free at once. */
static void close_sequences(sl_driver *d, const sl_driver_request *r)
{
    for (uint32_t i = 0; i < d->sequences.n; i++) {
        sl_driver_sequence *s = &d->sequences.slots[i];
        if (s->owner != r) continue;
        bool open = sl_driver_is_open(s);
        s->owner = NULL;
        sl_driver_sequences_move(&d->sequences, s, open ? SL_SEQUENCE_CLOSING : SL_SEQUENCE_FREE);
    }
}

void sl_driver_finish_request(sl_driver *d, sl_driver_request *r)
{
    close_sequences(d, r);
    d->admission_closed = false;
    d->progress.requests_done++;
    d->progress.requests_failed += r->request->error.http_status != 0;
    d->finished[(d->finished_first + d->finished_count++) % d->requests.max] = r->request;
    if (r->active) {
        d->progress.requests_active--;
        give_pages_back(d, r->request);
    } else {
        d->progress.requests_waiting--;
    }
    sl_driver_requests_remove(&d->requests, r);
}

bool sl_driver_cancel(sl_driver *driver, const sl_request *request)
{
    sl_driver_request *r = sl_driver_requests_find(&driver->requests, request);
    if (!r) return false;
    sl_request_fail(r->request, 499, "cancelled", "", "the request was cancelled");
    sl_driver_finish_request(driver, r);
    return true;
}

/* ---- admission ---- */

static void give_sequence(sl_driver *d, sl_driver_request *r, uint32_t choice,
                          sl_sequence_state state)
{
    sl_driver_sequence *s = sl_driver_sequences_first(&d->sequences, SL_SEQUENCE_FREE);
    SL_ASSERT(s);
    s->owner = r;
    s->choice = choice;
    s->n_sent = 0;
    s->next_token = 0;
    s->first_frame = 0;
    s->decode = (sl_decode_state){0};
    sl_stop_match_init(&s->stop, r->request->stops, r->request->n_stops);
    sl_driver_sequences_move(&d->sequences, s, state);
}

/* One for each choice. Choice 0 is opened; the others fork from it, unless each must read the
 * prompt for itself. */
static void give_sequences(sl_driver *d, sl_driver_request *r)
{
    bool fork = !d->options.policy.whole_prompts;
    give_sequence(d, r, 0, SL_SEQUENCE_OPENING);
    for (uint32_t choice = 1; choice < r->request->n_choices; choice++)
        give_sequence(d, r, choice, fork ? SL_SEQUENCE_FORKING : SL_SEQUENCE_OPENING);
    r->n_forking = fork ? r->request->n_choices - 1 : 0;
}

static void activate_oldest(sl_driver *d)
{
    sl_driver_request *r = sl_driver_requests_oldest(&d->requests.waiting);
    take_pages(d, r->request);
    sl_driver_requests_activate_oldest(&d->requests);
    d->progress.requests_waiting--;
    if (++d->progress.requests_active > d->progress.requests_most)
        d->progress.requests_most = d->progress.requests_active;
    give_sequences(d, r);
}

/* It can never be served: it fails with the numbers. */
static void refuse(sl_driver *d, sl_driver_request *r)
{
    sl_request *request = r->request;
    sl_page_request counted = page_request_of(d, request);
    sl_request_fail(request, 400, "out_of_memory", "",
                    "the prompt's %zu tokens need %u pages of each KV head's cache and %u "
                    "sequences; the pool has %u and %u: give --memory more, use more ranks, or "
                    "evict as the prompt is read (--policy, --keep)",
                    request->n_prompt, sl_page_budget_least(&d->budget, &counted),
                    request->n_choices, d->budget.head_pages, d->budget.sequences_max);
    sl_driver_finish_request(d, r);
}

static sl_request_admission decide(const sl_driver *d, const sl_request *request)
{
    sl_page_request counted = page_request_of(d, request);
    sl_request_admission_state state = {
        .sequences_free = sl_driver_sequences_count(&d->sequences, SL_SEQUENCE_FREE),
        .requests_active = d->progress.requests_active,
        .closed = d->admission_closed,
    };
    return sl_page_budget_decide(&d->budget, &counted, &state);
}

void sl_driver_admit(sl_driver *d)
{
    sl_driver_request *r;
    while ((r = sl_driver_requests_oldest(&d->requests.waiting))) {
        switch (decide(d, r->request)) {
        case SL_REQUEST_ADMITTED: activate_oldest(d); break;
        case SL_REQUEST_REFUSED: refuse(d, r); break;
        case SL_REQUEST_WAITS: return;
        }
    }
}

/* ---- restarts ---- */

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

/* Of the sequence that is furthest. */
static uint32_t tokens_sent(const sl_driver *d, const sl_driver_request *r)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < d->sequences.n; i++) {
        const sl_driver_sequence *s = &d->sequences.slots[i];
        if (s->owner == r && s->n_sent > most) most = s->n_sent;
    }
    return most;
}

/* It had all pools for itself, and they were full: it fails with the numbers. */
static void fail_only_request(sl_driver *d, sl_driver_request *r)
{
    sl_request *request = r->request;
    const sl_choice *first = &request->choices[0];
    const sl_policy_kind kind = d->options.policy.kind;
    uint32_t rank = sl_credit_fullest_rank(&d->credit);
    double kept = first->seen > 0 ? (double)first->kept / (double)first->seen : 1;
    sl_request_fail(request, 400, "out_of_memory", "",
                    "alone, it filled the cache after %u tokens (prompt %zu, up to %u to "
                    "generate): policy %s kept %.1f%%, and rank %u has %llu of %llu pages left "
                    "for the next ones; give --memory more, use more ranks, or %s",
                    tokens_sent(d, r), request->n_prompt, request->max_tokens, sl_policy_name(kind),
                    100 * kept, rank, (unsigned long long)sl_credit_pages_free(&d->credit, rank),
                    (unsigned long long)d->options.plan->ranks[rank].n_pages,
                    sl_policy_has_rate(kind) ? "a smaller --keep" : "a policy that evicts");
    sl_driver_finish_request(d, r);
}

void sl_driver_restart_youngest(sl_driver *d)
{
    sl_driver_request *r = sl_driver_requests_youngest(&d->requests.active);
    SL_ASSERT(r);
    if (d->progress.requests_active == 1) {
        fail_only_request(d, r);
        return;
    }
    close_sequences(d, r);
    reset_choices(r->request);
    r->n_left = r->request->n_choices;
    sl_driver_requests_deactivate_youngest(&d->requests);
    d->admission_closed = true;
    give_pages_back(d, r->request);
    d->progress.requests_active--;
    d->progress.requests_waiting++;
    d->progress.restarts++;
}
