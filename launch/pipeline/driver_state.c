/* launch/pipeline/driver_state.c - the driver's memory, and what can be asked of it at any time. */
#include "launch/pipeline/driver_state.h"

#include "runtime/base/log.h"
#include "runtime/cache/cache.h"
#include "sched/head_pages.h"

/* sched cannot see the cache, and keeps the number for itself. */
_Static_assert((int)SL_HEAD_PAGE_TOKENS == (int)SL_PAGE_TOKENS, "sched counts the cache's pages");

void sl_driver_init(const sl_driver_options *options, sl_arena *arena, sl_driver **driver_out)
{
    sl_driver counted = {0};
    sl_driver *d = sl_arena_array(arena, sl_driver, 1);
    *driver_out = d;
    if (!d) d = &counted; /* measuring */
    *d = (sl_driver){.options = *options};
    uint32_t ranks = options->plan->n_ranks, n = options->sequences_max;
    sl_credit_rank *credits = sl_arena_array(arena, sl_credit_rank, ranks);
    d->n_heads = (size_t)options->limits.n_layers * options->limits.n_kv_heads;
    d->heads = sl_arena_array(arena, sl_head_account, d->n_heads);
    d->budget = (sl_page_budget){.plan = options->plan,
                                 .sinks = options->policy.sinks,
                                 .window = options->policy.window,
                                 .forks = !options->policy.whole_prompts,
                                 .expected_tokens = options->expected_tokens,
                                 .sequences_max = n,
                                 .expected = sl_arena_array(arena, uint64_t, ranks)};
    sl_driver_requests_init(2 * n, arena, &d->requests);
    sl_driver_sequences_init(n, arena, &d->sequences);
    d->items = sl_arena_array(arena, sl_batching_sequence, n);
    d->item_sequences = sl_arena_array(arena, sl_driver_sequence *, n);
    d->picks = sl_arena_array(arena, sl_batching_pick, options->limits.spans_max);
    d->finished = sl_arena_array(arena, sl_request *, d->requests.max);
    d->frames = sl_arena_array(arena, sl_driver_frame, options->frames_max);
    d->text = sl_arena_array(arena, char, sl_tokenizer_decode_bytes_max(options->tokenizer));
    if (!*driver_out) return;
    sl_credit_init(&d->credit, options->plan, credits);
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

bool sl_driver_is_open(const sl_driver_sequence *s)
{
    return s->owner && s->state != SL_SEQUENCE_OPENING && s->state != SL_SEQUENCE_FORKING;
}
