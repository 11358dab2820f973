/* launch/pipeline/driver_admission.c - requests in and out, and which of them are active. */
#include "launch/pipeline/driver_admission.h"

#include "runtime/base/log.h"

/* ---- requests in and out ---- */

sl_status sl_driver_submit(sl_driver *driver, sl_request *request)
{
    SL_ASSERT(!driver->ending);
    SL_ASSERT(request->pause_after == 0 ||
              (request->n_choices == 1 && request->pause_after < request->n_prompt));
    SL_ASSERT(request->comparison.kind == SL_COMPARISON_NONE || request->n_choices == 1);
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
        sl_page_budget_give_back(&d->budget, r->request);
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
    sl_page_budget_take(&d->budget, r->request);
    sl_driver_requests_activate_oldest(&d->requests);
    d->progress.requests_waiting--;
    if (++d->progress.requests_active > d->progress.requests_most)
        d->progress.requests_most = d->progress.requests_active;
    give_sequences(d, r);
}

void sl_driver_admit(sl_driver *d)
{
    sl_driver_request *r;
    while ((r = sl_driver_requests_oldest(&d->requests.waiting))) {
        if (sl_page_budget_refuses(&d->budget, r->request, d->options.sequences_max)) {
            sl_driver_finish_request(d, r);
            continue;
        }
        uint32_t n_free = sl_driver_sequences_count(&d->sequences, SL_SEQUENCE_FREE);
        if (n_free < r->request->n_choices) return;
        bool fits = !d->admission_closed && sl_page_budget_fits(&d->budget, r->request);
        if (d->progress.requests_active > 0 && !fits) return;
        activate_oldest(d);
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

void sl_driver_restart_youngest(sl_driver *d)
{
    sl_driver_request *r = sl_driver_requests_youngest(&d->requests.active);
    SL_ASSERT(r);
    if (d->progress.requests_active == 1) {
        sl_page_budget_fail_alone(&d->budget, r->request, tokens_sent(d, r), &d->credit);
        sl_driver_finish_request(d, r);
        return;
    }
    close_sequences(d, r);
    reset_choices(r->request);
    r->n_left = r->request->n_choices;
    sl_driver_requests_deactivate_youngest(&d->requests);
    d->admission_closed = true;
    sl_page_budget_give_back(&d->budget, r->request);
    d->progress.requests_active--;
    d->progress.requests_waiting++;
    d->progress.restarts++;
}
