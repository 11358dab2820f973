/* The driver alone, against a pipeline that only counts: it keeps every sequence's tokens, draws a
 * token that depends on all of them and on the seed, and tells the pages that are used. So what a
 * request must get is known beforehand, whatever the driver does on the way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "launch/pipeline/driver.h"
#include "runtime/cache/cache.h"
#include "tests/support/seeded.h"
#include "tests/support/tiny_model.h"

enum { CONTEXT = 600, SLOTS_ROOM = 6, FRAMES_ROOM = 6, RANKS_ROOM = 3, PAGE = 64 };

static tiny_model model;

/* ---- the pipeline ---- */

typedef struct {
    uint32_t chunk, slots, frames, ranks, head_pages, expected, sinks, window;
} shape;
static const shape ROOMY = {.chunk = 32,
                            .slots = 4,
                            .frames = 3,
                            .ranks = 2,
                            .head_pages = 1000,
                            .expected = 64,
                            .sinks = 4,
                            .window = 16};

typedef struct {
    bool open;
    uint64_t seed;
    uint32_t n, shared_pages;
    int32_t tokens[CONTEXT];
} slot;

typedef struct {
    sl_driver *driver;
    sl_driver_options options;
    uint32_t rank_heads[RANKS_ROOM];
    uint64_t rank_pages[RANKS_ROOM];
    double rank_keep[RANKS_ROOM];
    void *storage;
    size_t bytes;
    sl_frame frames[FRAMES_ROOM]; /* ring of those under way */
    uint64_t n_sent, n_back;
    slot slots[SLOTS_ROOM];
    uint32_t n_stops, n_opens, n_closes, most_decoding, most_under_way, n_reported;
    size_t n_read;      /* of a prompt, as the watch was last told */
    const char *script; /* the letters drawn after a prompt of one token, '$' ends; or NULL */
    seeded random;
} rig;

static uint32_t pages_of(const rig *r, uint32_t n_tokens)
{
    return sl_cache_head_pages(r->options.policy.window, n_tokens);
}

static int32_t draw(const rig *r, const int32_t *tokens, uint32_t n, uint64_t seed)
{
    if (r->script && r->script[n - 1] == '$') return TINY_ENDOFTEXT;
    if (r->script) return tiny_byte((unsigned char)r->script[n - 1]);
    uint64_t hash = seed;
    for (uint32_t i = 0; i < n; i++) hash = (hash ^ (uint64_t)tokens[i]) * 0x100000001b3U;
    hash ^= hash >> 29;
    return hash % 40 == 0 ? TINY_IM_END : tiny_byte((unsigned char)('a' + hash / 64 % 26));
}

static float logprob_of(uint32_t position, int32_t token)
{
    return -(float)(position * 512) - token;
}

static void told(void *context, const sl_request *request, uint32_t choice, int32_t token)
{
    (void)request, (void)choice, (void)token;
    ((rig *)context)->n_reported++;
}

static void told_prompt(void *context, const sl_request *request, size_t n_tokens)
{
    (void)request;
    ((rig *)context)->n_read = n_tokens;
}

static void take_memory(rig *r, sl_arena *arena)
{
    sl_driver_init(&r->options, arena, &r->driver);
    for (int i = 0; i < FRAMES_ROOM; i++)
        sl_frame_init(&r->frames[i], &r->options.limits, SL_FRAME_WITHOUT_HIDDEN, arena);
}

static rig *rig_open(const shape *s, uint64_t seed)
{
    rig *r = calloc(1, sizeof *r);
    r->random = seeded_from(seed);
    for (uint32_t i = 0; i < s->ranks; i++) { /* ranks differ, head pages do not */
        r->rank_heads[i] = i + 2;
        r->rank_pages[i] = (uint64_t)s->head_pages * (i + 2);
        r->rank_keep[i] = 1;
    }
    r->options = (sl_driver_options){
        .limits = {.rows_max = s->chunk > s->slots ? s->chunk : s->slots,
                   .spans_max = 2 * s->slots,
                   .controls_max = 2 * s->slots + 1,
                   .ranks = s->ranks,
                   .width = 1},
        .chunk = s->chunk,
        .sequences_max = s->slots,
        .frames_max = s->frames,
        .expected_tokens = s->expected,
        .policy = {.sinks = s->sinks, .window = s->window},
        .rank_heads = r->rank_heads,
        .rank_pages = r->rank_pages,
        .rank_keep = r->rank_keep,
        .tokenizer = model.tokenizer,
        .watch = {.context = r, .token = told, .prompt = told_prompt},
    };
    assert_true(s->slots <= SLOTS_ROOM && s->frames < FRAMES_ROOM && s->ranks <= RANKS_ROOM);
    sl_arena arena;
    sl_arena_init(&arena, NULL, 0);
    take_memory(r, &arena);
    r->bytes = arena.used_bytes;
    assert_int_equal(sl_storage_take(r->bytes, "the rig", &r->storage), SL_OK);
    sl_arena_init(&arena, r->storage, r->bytes);
    take_memory(r, &arena);
    assert_int_equal(arena.used_bytes, r->bytes);
    return r;
}

static void rig_close(rig *r)
{
    sl_driver_fini(r->driver);
    sl_storage_release(r->storage, r->bytes);
    free(r);
}

static void apply_control(rig *r, const sl_control *control)
{
    slot *s = &r->slots[control->sequence];
    switch (control->kind) {
    case SL_CONTROL_OPEN:
        assert_seeded(&r->random, !s->open);
        *s = (slot){.open = true, .seed = control->sampling.seed};
        r->n_opens++;
        return;
    case SL_CONTROL_FORK:
        assert_seeded(&r->random, !s->open && r->slots[control->parent].open);
        *s = r->slots[control->parent];
        s->seed = control->sampling.seed;
        s->shared_pages = s->n > r->options.policy.window ? (s->n - r->options.policy.window) / PAGE
                                                          : 0;
        r->n_opens++;
        return;
    case SL_CONTROL_CLOSE:
        assert_seeded(&r->random, s->open);
        s->open = false;
        r->n_closes++;
        return;
    case SL_CONTROL_STOP:
        for (int i = 0; i < SLOTS_ROOM; i++) assert_seeded(&r->random, !r->slots[i].open);
        r->n_stops++;
    }
}

static void add_result(sl_frame *f, sl_result_kind kind, uint32_t sequence, uint32_t position,
                       int32_t token)
{
    f->results[f->n_results++] = (sl_token_result){.kind = kind,
                                                   .sequence = sequence,
                                                   .position = position,
                                                   .token = token,
                                                   .logprob = logprob_of(position, token)};
}

static void answer_span(rig *r, sl_frame *f, const sl_span *span)
{
    slot *s = &r->slots[span->sequence];
    assert_seeded(&r->random, s->open && s->n == span->position);
    const int32_t *tokens = f->tokens + span->first_row;
    for (uint32_t i = 0; i < span->n_tokens; i++) {
        s->tokens[s->n++] = tokens[i];
        int32_t following = i + 1 < span->n_tokens ? tokens[i + 1] : span->next_token;
        if (i >= span->score_from && following >= 0)
            add_result(f, SL_RESULT_SCORED, span->sequence, s->n, following);
    }
    if (span->sample)
        add_result(f, SL_RESULT_SAMPLED, span->sequence, s->n, draw(r, s->tokens, s->n, s->seed));
}

/* A fork's full pages count once: with its parent. */
static void add_ledger(rig *r, sl_frame *f)
{
    uint32_t used = 0;
    for (int i = 0; i < SLOTS_ROOM; i++)
        if (r->slots[i].open) used += pages_of(r, r->slots[i].n) - r->slots[i].shared_pages;
    for (uint32_t i = 0; i < r->options.limits.ranks; i++) {
        uint64_t pages = (uint64_t)used * r->rank_heads[i];
        assert_seeded(&r->random, pages <= r->rank_pages[i]); /* no stage runs dry */
        f->ledger[f->n_ledger++] = (sl_ledger_row){.rank = i, .pages_used = pages};
    }
}

static uint32_t under_way(const rig *r) { return (uint32_t)(r->n_sent - r->n_back); }

/* The next frame, applied; NULL: none now. */
static sl_frame *send(rig *r)
{
    sl_frame *f = &r->frames[r->n_sent % FRAMES_ROOM];
    uint64_t restarts = sl_driver_progress_now(r->driver)->restarts;
    if (!sl_driver_fill(r->driver, f)) return NULL;
    assert_seeded(&r->random, under_way(r) < r->options.frames_max && r->n_stops == 0);
    assert_seeded(&r->random, f->number == r->n_sent++);
    assert_seeded(&r->random, sl_frame_check(f, &r->options.limits, r->options.sequences_max,
                                             TINY_VOCAB) == SL_OK);
    /* a restart waits for all that is under way, so no result of before can follow it */
    bool restarted = sl_driver_progress_now(r->driver)->restarts > restarts;
    assert_seeded(&r->random, !restarted || under_way(r) == 1);
    assert_seeded(&r->random, f->n_rows <= r->options.chunk);

    for (uint32_t i = 0; i < f->n_controls; i++) apply_control(r, &f->controls[i]);
    uint32_t n_decoding = 0;
    for (uint32_t i = 0; i < f->n_spans; i++) {
        answer_span(r, f, &f->spans[i]);
        n_decoding += f->spans[i].kind == SL_SPAN_DECODE;
    }
    add_ledger(r, f);
    if (n_decoding > r->most_decoding) r->most_decoding = n_decoding;
    if (under_way(r) > r->most_under_way) r->most_under_way = under_way(r);
    return f;
}

static void receive(rig *r)
{
    assert_seeded(&r->random, under_way(r) > 0);
    assert_int_equal(sl_driver_take(r->driver, &r->frames[r->n_back++ % FRAMES_ROOM]), SL_OK);
}

/* As much as can be done without new requests. */
static void run(rig *r)
{
    for (int i = 0; i < 100000; i++) {
        while (send(r)) {
        }
        if (under_way(r) == 0) return;
        receive(r);
    }
    fail_msg("seed %llu: it never ends", (unsigned long long)r->random.seed);
}

static void stop(rig *r)
{
    sl_driver_end(r->driver);
    run(r);
    assert_seeded(&r->random, sl_driver_stopped(r->driver) && r->n_stops == 1);
    assert_seeded(&r->random, r->n_opens == r->n_closes && !sl_driver_finished(r->driver));
    assert_seeded(&r->random, send(r) == NULL);
    rig_close(r);
}

/* ---- requests ---- */

static sl_request *request_new(uint32_t n_prompt, uint32_t max_tokens, uint32_t n_choices)
{
    sl_request *request = calloc(1, sizeof *request);
    request->prompt = calloc(n_prompt, sizeof *request->prompt);
    request->n_prompt = n_prompt;
    for (uint32_t i = 0; i < n_prompt; i++)
        request->prompt[i] = tiny_byte((unsigned char)((i * i + n_prompt) % 251));
    request->max_tokens = max_tokens;
    request->n_choices = n_choices;
    request->ignore_eos = true;
    request->score_from = SIZE_MAX;
    request->sampling = (sl_sampling){.n_logprobs = 0, .seed = 7};
    return request;
}

static void add_stop(sl_request *request, const char *text)
{
    request->stops[request->n_stops++] = (sl_text){.data = text, .bytes = strlen(text)};
}

static sl_request *submit(rig *r, sl_request *request)
{
    assert_int_equal(sl_request_bind(request), SL_OK);
    assert_int_equal(sl_driver_submit(r->driver, request), SL_OK);
    return request;
}

/* What the choice must be, from the prompt alone. */
static void check_choice(rig *r, const sl_request *request, uint32_t index)
{
    const sl_choice *choice = &request->choices[index];
    int32_t tokens[CONTEXT];
    char text[CONTEXT + 1] = "";
    memcpy(tokens, request->prompt, request->n_prompt * sizeof *tokens);
    uint32_t n = (uint32_t)request->n_prompt;
    sl_finish finish = request->max_tokens == 0 ? SL_FINISH_LENGTH : SL_FINISH_NONE;
    bool ended = false;
    size_t stop_at = SIZE_MAX, n_text = 0;
    for (uint32_t i = 0; finish == SL_FINISH_NONE; i++) {
        int32_t token = draw(r, tokens, n, request->sampling.seed + index);
        assert_seeded(&r->random, i < choice->n_tokens && choice->tokens[i] == token);
        assert_seeded(&r->random, choice->details[i].logprob == logprob_of(n, token));
        tokens[n++] = token;
        bool is_end = token < SYNTH_SPECIALS;
        if (!is_end) text[n_text++] = (char)(token - SYNTH_SPECIALS);
        for (uint32_t k = 0; k < request->n_stops; k++) {
            const char *at = strstr(text, request->stops[k].data);
            if (at && (size_t)(at - text) < stop_at) stop_at = (size_t)(at - text);
        }
        ended = is_end && !request->ignore_eos;
        if (i + 1 == request->max_tokens) finish = SL_FINISH_LENGTH;
        if (ended || stop_at != SIZE_MAX) finish = SL_FINISH_STOP;
    }
    assert_seeded(&r->random, choice->n_tokens == n - request->n_prompt);
    assert_seeded(&r->random, choice->finish == finish && choice->ended_by_token == ended);
    assert_seeded(&r->random, choice->stop_text_end == stop_at);
}

/* A served request is as it must be; it is freed. */
static void check_served(rig *r, sl_request *request)
{
    assert_non_null(request);
    assert_string_equal(request->error.message, "");
    for (uint32_t i = 0; i < request->n_choices; i++) check_choice(r, request, i);
    size_t from = request->score_from > 0 ? request->score_from : 1;
    for (size_t i = 0; request->prompt_details && i < request->n_prompt; i++) {
        float expected = i >= from ? logprob_of((uint32_t)i, request->prompt[i]) : 0;
        assert_seeded(&r->random, request->prompt_details[i].logprob == expected);
    }
    sl_request_free(request);
}

static void check_failed(sl_request *request, const char *number)
{
    assert_non_null(request);
    assert_int_equal(request->error.http_status, 400);
    assert_string_equal(request->error.code, "out_of_memory");
    if (!strstr(request->error.message, number)) fail_msg("%s", request->error.message);
    sl_request_free(request);
}

/* ---- tests ---- */

static void check_span(const sl_frame *f, uint32_t index, uint32_t position, uint32_t n_tokens,
                       bool sample)
{
    assert_non_null(f);
    assert_true(index < f->n_spans);
    assert_int_equal(f->spans[index].position, position);
    assert_int_equal(f->spans[index].n_tokens, n_tokens);
    assert_int_equal(f->spans[index].sample, sample);
}

static void test_long_prompt(void **state)
{
    (void)state;
    rig *r = rig_open(&ROOMY, 0);
    submit(r, request_new(100, 5, 1));
    check_span(send(r), 0, 0, 32, false);
    check_span(send(r), 0, 32, 32, false);
    check_span(send(r), 0, 64, 32, false);
    assert_null(send(r)); /* frames_max are under way */
    assert_int_equal(sl_driver_frames_out(r->driver), 3);
    receive(r);
    check_span(send(r), 0, 96, 4, true);
    assert_null(send(r));
    run(r);
    assert_int_equal(sl_driver_progress_now(r->driver)->prompt_tokens, 100);
    assert_int_equal(sl_driver_progress_now(r->driver)->generated_tokens, 5);
    check_served(r, sl_driver_finished(r->driver));
    stop(r);
}

/* Rows of all sequences travel together; with two stages, half of them, so that both compute. */
static void test_decode_rows(void **state)
{
    (void)state;
    for (uint32_t ranks = 1; ranks <= 2; ranks++) {
        shape s = ROOMY;
        s.slots = 6, s.ranks = ranks;
        rig *r = rig_open(&s, 0);
        for (int i = 0; i < 6; i++) submit(r, request_new(1, 20, 1));
        run(r);
        assert_int_equal(r->most_decoding, 6 / ranks);
        assert_int_equal(r->most_under_way, ranks);
        for (int i = 0; i < 6; i++) check_served(r, sl_driver_finished(r->driver));
        stop(r);
    }
}

static void test_choices_fork(void **state)
{
    (void)state;
    rig *r = rig_open(&ROOMY, 0);
    submit(r, request_new(70, 8, 3));
    check_span(send(r), 0, 0, 32, false);
    check_span(send(r), 0, 32, 32, false);
    const sl_frame *f = send(r);
    check_span(f, 0, 64, 5, false); /* up to the prompt's last token */
    assert_int_equal(f->n_controls, 0);
    receive(r);
    f = send(r);
    assert_int_equal(f->n_controls, 2);
    assert_int_equal(f->n_spans, 3);
    for (uint32_t i = 0; i < 3; i++) check_span(f, i, 69, 1, true);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(f->controls[i].kind, SL_CONTROL_FORK);
        assert_int_equal(f->controls[i].sampling.seed, 8 + i);
    }
    run(r);
    check_served(r, sl_driver_finished(r->driver));

    submit(r, request_new(1, 4, 4)); /* nothing to share: forks of an empty sequence */
    submit(r, request_new(33, 0, 2));
    run(r);
    for (int i = 0; i < 2; i++) check_served(r, sl_driver_finished(r->driver));
    stop(r);
}

static void test_slots(void **state)
{
    (void)state;
    shape s = ROOMY;
    s.slots = 1;
    rig *r = rig_open(&s, 0);
    submit(r, request_new(3, 1, 1));
    submit(r, request_new(5, 1, 1));
    check_span(send(r), 0, 0, 3, true);
    assert_null(send(r));
    assert_null(sl_driver_finished(r->driver));
    receive(r);
    check_served(r, sl_driver_finished(r->driver)); /* before its slot is closed */

    sl_frame *closing = send(r);
    assert_int_equal(closing->n_controls, 1);
    assert_int_equal(closing->controls[0].kind, SL_CONTROL_CLOSE);
    assert_int_equal(closing->n_spans, 0);
    const sl_frame *opening = send(r);
    assert_int_equal(opening->controls[0].kind, SL_CONTROL_OPEN);
    check_span(opening, 0, 0, 5, true);

    /* a result in a frame from before the slot had its new owner is not for the new one */
    add_result(closing, SL_RESULT_SAMPLED, 0, 3, tiny_byte('!'));
    receive(r);
    assert_null(sl_driver_finished(r->driver));
    run(r);
    check_served(r, sl_driver_finished(r->driver));
    assert_int_equal(sl_driver_progress_now(r->driver)->generated_tokens, 2);
    stop(r);
}

static void test_restart(void **state)
{
    (void)state;
    /* each has two pages after its prompt and wants five: not both at once */
    const shape s = {.chunk = 64, .slots = 3, .frames = 3, .ranks = 2, .head_pages = 6};
    rig *r = rig_open(&s, 0);
    sl_request *older = submit(r, request_new(100, 200, 1));
    sl_request *younger = submit(r, request_new(101, 200, 1));
    run(r);
    const sl_driver_progress *p = sl_driver_progress_now(r->driver);
    assert_true(p->restarts > 0);
    /* Tokens are generated again, and never fed as prompt. */
    assert_true(p->generated_tokens > 400);
    assert_int_equal(p->requests_done, 2);
    assert_int_equal(p->requests_failed, 0);
    assert_ptr_equal(sl_driver_finished(r->driver), older);
    assert_ptr_equal(sl_driver_finished(r->driver), younger);
    assert_int_equal(r->n_reported, 400); /* and the watch gets each once */
    check_served(r, older);
    check_served(r, younger);
    stop(r);
}

/* How many tokens the choice gets until one that ends it. */
static uint32_t tokens_to_end(const rig *r, const sl_request *request, uint32_t choice)
{
    int32_t tokens[CONTEXT];
    uint32_t n = (uint32_t)request->n_prompt;
    memcpy(tokens, request->prompt, n * sizeof *tokens);
    do {
        tokens[n] = draw(r, tokens, n, request->sampling.seed + choice);
        n++;
    } while (n < CONTEXT && tokens[n - 1] >= SYNTH_SPECIALS);
    return n - (uint32_t)request->n_prompt;
}

/* A choice that was finished before the restart is made again with the others. */
static void test_restart_of_choices(void **state)
{
    (void)state;
    const shape s = {.chunk = 64, .slots = 3, .frames = 3, .ranks = 2, .head_pages = 8};
    rig *r = rig_open(&s, 0);
    sl_request *older = request_new(100, 200, 1), *younger = request_new(101, 180, 2);
    younger->ignore_eos = false;
    while (tokens_to_end(r, younger, 0) > 20 || tokens_to_end(r, younger, 1) < 180)
        younger->sampling.seed++;
    submit(r, older);
    submit(r, younger);
    run(r);
    assert_true(sl_driver_progress_now(r->driver)->restarts > 0);
    size_t n_reported = 0;
    for (uint32_t i = 0; i < 2; i++)
        n_reported += younger->choices[i].n_tokens - younger->choices[i].ended_by_token;
    assert_int_equal(r->n_reported, 200 + n_reported);
    check_served(r, sl_driver_finished(r->driver));
    check_served(r, sl_driver_finished(r->driver));
    stop(r);
}

static void test_expected_pages_hold_back(void **state)
{
    (void)state;
    shape s = {.chunk = 64, .slots = 3, .frames = 3, .ranks = 2, .head_pages = 6, .expected = 200};
    rig *r = rig_open(&s, 0);
    for (int i = 0; i < 2; i++) submit(r, request_new(100, 200, 1));
    run(r); /* one after the other: nothing is done twice */
    assert_int_equal(sl_driver_progress_now(r->driver)->restarts, 0);
    assert_int_equal(sl_driver_progress_now(r->driver)->generated_tokens, 400);
    for (int i = 0; i < 2; i++) check_served(r, sl_driver_finished(r->driver));
    stop(r);
}

static void test_cannot_fit(void **state)
{
    (void)state;
    const shape s = {.chunk = 64, .slots = 2, .frames = 3, .ranks = 2, .head_pages = 3};
    rig *r = rig_open(&s, 0);
    submit(r, request_new(3 * PAGE + 1, 1, 1));
    submit(r, request_new(10, 1, 3));
    submit(r, request_new(10, 4 * PAGE, 1));
    submit(r, request_new(10, 40, 2));
    run(r);
    check_failed(sl_driver_finished(r->driver), "193 tokens need 4 pages");
    check_failed(sl_driver_finished(r->driver), "3 sequences; the pool has 3 and 2");
    check_failed(sl_driver_finished(r->driver),
                 "filled the cache after 129 tokens (prompt 10, up to 256");
    check_served(r, sl_driver_finished(r->driver)); /* the others are served as ever */
    assert_int_equal(sl_driver_progress_now(r->driver)->requests_failed, 3);
    assert_int_equal(sl_driver_progress_now(r->driver)->requests_done, 4);
    stop(r);
}

/* What rank_assembly.c plans for one sequence is enough to fill its context, also when all of it
 * is in the window: a page more than it fills. */
static void test_lone_request_fills_its_pages(void **state)
{
    (void)state;
    static const uint32_t windows[] = {0, 30, 64, 200, CONTEXT};
    for (int i = 0; i < 5; i++) {
        shape s = {.chunk = 48, .slots = 1, .frames = 3, .ranks = 2, .window = windows[i]};
        s.head_pages = (windows[i] < 300 ? (300 - windows[i] + PAGE - 1) / PAGE : 0) + 1;
        rig *r = rig_open(&s, windows[i]);
        submit(r, request_new(150, 150, 1));
        submit(r, request_new(299, 1, 1));
        run(r);
        assert_int_equal(sl_driver_progress_now(r->driver)->restarts, 0);
        for (int k = 0; k < 2; k++) check_served(r, sl_driver_finished(r->driver));
        stop(r);
    }
}

static void test_scores(void **state)
{
    (void)state;
    static const size_t froms[] = {0, 1, 31, 32, 33, 34, 64, 69, 70};
    for (size_t i = 0; i < sizeof froms / sizeof *froms; i++) {
        rig *r = rig_open(&ROOMY, 0);
        sl_request *scored = request_new(70, 0, 1), *both = request_new(70, 3, 2);
        scored->score_from = both->score_from = froms[i];
        submit(r, scored);
        for (int k = 0; k < 3; k++) assert_non_null(send(r)); /* all of its prompt */
        for (int k = 0; k < 3; k++) {
            assert_null(sl_driver_finished(r->driver));
            receive(r);
        }
        check_served(r, sl_driver_finished(r->driver));
        submit(r, both);
        run(r);
        check_served(r, sl_driver_finished(r->driver));
        assert_int_equal(r->n_reported, 6);
        stop(r);
    }
}

/* Nothing is sent beyond the pause until what was sent before it is back; then the rest as
 * usual. */
static void test_pause(void **state)
{
    (void)state;
    rig *r = rig_open(&ROOMY, 0);
    sl_request *request = request_new(70, 2, 1);
    request->pause_after = 40;
    submit(r, request);
    assert_int_equal(send(r)->n_rows, 32);
    assert_int_equal(send(r)->n_rows, 8);
    assert_null(send(r));
    receive(r);
    assert_int_equal(r->n_read, 32);
    assert_null(send(r));
    receive(r);
    assert_int_equal(r->n_read, 40);
    assert_int_equal(send(r)->n_rows, 30);
    receive(r);
    assert_int_equal(r->n_read, 70);
    run(r);
    check_served(r, sl_driver_finished(r->driver));
    stop(r);
}

static void test_ends(void **state)
{
    (void)state;
    static const struct {
        const char *script, *stops[2];
        bool ignore_eos;
        size_t n_tokens;
        sl_finish finish;
        bool ended;
        size_t stop_text_end;
        uint32_t n_reported;
    } rows[] = {
        {"abcdefgh", {NULL}, false, 6, SL_FINISH_LENGTH, false, SIZE_MAX, 6},
        {"ab$defgh", {NULL}, false, 3, SL_FINISH_STOP, true, SIZE_MAX, 2},
        {"ab$defgh", {NULL}, true, 6, SL_FINISH_LENGTH, false, SIZE_MAX, 6},
        {"abcdefgh", {"cd"}, false, 4, SL_FINISH_STOP, false, 2, 4},
        {"abcdefgh", {"de", "c"}, false, 3, SL_FINISH_STOP, false, 2, 3},
        {"ab$cdefg", {"bc"}, true, 4, SL_FINISH_STOP, false, 1, 4}, /* '$' is no text */
        {"abcdefgh", {"f"}, false, 6, SL_FINISH_STOP, false, 5, 6}, /* also at the last token */
        {"abcde$gh", {NULL}, false, 6, SL_FINISH_STOP, true, SIZE_MAX, 5},
        {"$bcdefgh", {"a"}, false, 1, SL_FINISH_STOP, true, SIZE_MAX, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rig *r = rig_open(&ROOMY, i);
        r->script = rows[i].script;
        sl_request *request = request_new(1, 6, 1);
        request->ignore_eos = rows[i].ignore_eos;
        for (int k = 0; k < 2 && rows[i].stops[k]; k++) add_stop(request, rows[i].stops[k]);
        submit(r, request);
        run(r);
        assert_ptr_equal(sl_driver_finished(r->driver), request);
        const sl_choice *choice = &request->choices[0];
        assert_seeded(&r->random, choice->n_tokens == rows[i].n_tokens);
        assert_seeded(&r->random, choice->finish == rows[i].finish);
        assert_seeded(&r->random, choice->ended_by_token == rows[i].ended);
        assert_seeded(&r->random, choice->stop_text_end == rows[i].stop_text_end);
        assert_seeded(&r->random, r->n_reported == rows[i].n_reported);
        check_served(r, request);
        stop(r);
    }
}

/* A stop token ends the text and is no part of it; stop strings count after min_tokens. */
static void test_stop_tokens(void **state)
{
    (void)state;
    static const struct {
        const char *script, *stop;
        char stop_token;
        uint32_t min_tokens;
        size_t n_tokens;
        bool ended;
        size_t stop_text_end;
    } rows[] = {
        {"abcdefgh", NULL, 'c', 0, 3, true, SIZE_MAX},
        {"ab$defgh", NULL, 'd', 0, 4, true, SIZE_MAX}, /* whatever ignore_eos says */
        {"abcdefgh", "b", 'z', 1, 2, false, 1},
        {"abcbefgh", "b", 'z', 2, 4, false, 3},
        {"abcdefgh", "bc", 'z', 2, 3, false, 1}, /* it ends after them */
        {"abcdefgh", "b", 'z', 3, 6, false, SIZE_MAX},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rig *r = rig_open(&ROOMY, i);
        r->script = rows[i].script;
        sl_request *request = request_new(1, 6, 1);
        if (rows[i].stop) add_stop(request, rows[i].stop);
        request->stop_tokens[request->n_stop_tokens++] = tiny_byte((uint8_t)rows[i].stop_token);
        request->sampling.min_tokens = rows[i].min_tokens;
        submit(r, request);
        run(r);
        assert_ptr_equal(sl_driver_finished(r->driver), request);
        const sl_choice *choice = &request->choices[0];
        assert_seeded(&r->random, choice->n_tokens == rows[i].n_tokens);
        assert_seeded(&r->random, choice->ended_by_token == rows[i].ended);
        assert_seeded(&r->random, choice->stop_text_end == rows[i].stop_text_end);
        assert_seeded(&r->random, r->n_reported == rows[i].n_tokens - rows[i].ended);
        sl_request_free(request);
        stop(r);
    }
}

static void check_cancelled(sl_request *request)
{
    assert_int_equal(request->error.http_status, 499);
    assert_string_equal(request->error.code, "cancelled");
    sl_request_free(request);
}

/* One that is served, one that forks, one that waits; the others do not notice. */
static void test_cancel(void **state)
{
    (void)state;
    for (int frames = 0; frames < 8; frames++) {
        rig *r = rig_open(&ROOMY, (uint64_t)frames);
        sl_request *all[] = {request_new(40, 50, 1), request_new(70, 50, 3), request_new(41, 50, 1),
                             request_new(42, 50, 1)};
        for (int i = 0; i < 4; i++) submit(r, all[i]);
        for (int i = 0; i < frames; i++)
            if (!send(r)) receive(r);
        assert_true(sl_driver_cancel(r->driver, all[1]));
        assert_false(sl_driver_cancel(r->driver, all[1]));
        assert_ptr_equal(sl_driver_finished(r->driver), all[1]);
        assert_true(sl_driver_cancel(r->driver, all[3]));
        assert_ptr_equal(sl_driver_finished(r->driver), all[3]);
        check_cancelled(all[1]);
        check_cancelled(all[3]);
        run(r);
        check_served(r, sl_driver_finished(r->driver));
        check_served(r, sl_driver_finished(r->driver));
        assert_int_equal(sl_driver_progress_now(r->driver)->pages_used, 0);
        stop(r);
    }
}

static void test_stop_frame(void **state)
{
    (void)state;
    rig *r = rig_open(&ROOMY, 0); /* a job without requests */
    assert_null(send(r));
    sl_driver_end(r->driver);
    const sl_frame *f = send(r);
    assert_int_equal(f->n_controls, 1);
    assert_true(sl_frame_stops(f));
    assert_null(send(r));
    assert_false(sl_driver_stopped(r->driver));
    receive(r);
    assert_true(sl_driver_stopped(r->driver));
    assert_null(send(r));
    rig_close(r);

    r = rig_open(&ROOMY, 0);
    submit(r, request_new(3, 1, 1));
    sl_driver_end(r->driver);
    assert_false(sl_frame_stops(send(r)));
    assert_null(send(r));
    receive(r);
    f = send(r); /* behind the last close */
    assert_int_equal(f->n_controls, 2);
    assert_int_equal(f->controls[0].kind, SL_CONTROL_CLOSE);
    assert_int_equal(f->controls[1].kind, SL_CONTROL_STOP);
    run(r);
    assert_true(sl_driver_stopped(r->driver));
    check_served(r, sl_driver_finished(r->driver));
    rig_close(r);
}

static void test_full(void **state)
{
    (void)state;
    shape s = ROOMY;
    s.slots = 2;
    rig *r = rig_open(&s, 0);
    for (int i = 0; i < 4; i++) submit(r, request_new(3, 2, 1));
    sl_request *more = request_new(4, 2, 1);
    assert_int_equal(sl_request_bind(more), SL_OK);
    assert_int_equal(sl_driver_submit(r->driver, more), SL_AGAIN);
    assert_int_equal(sl_driver_progress_now(r->driver)->requests_waiting, 4);
    run(r);
    /* The finished ones were not taken. */
    assert_int_equal(sl_driver_submit(r->driver, more), SL_AGAIN);
    check_served(r, sl_driver_finished(r->driver));
    assert_int_equal(sl_driver_submit(r->driver, more), SL_OK);
    run(r);
    for (int i = 0; i < 4; i++) check_served(r, sl_driver_finished(r->driver));
    stop(r);
}

/* Requests that are still inside are freed: with a sanitizer a leak fails the test. */
static void test_closed_early(void **state)
{
    (void)state;
    rig *r = rig_open(&ROOMY, 0);
    for (int i = 0; i < 6; i++) submit(r, request_new(40, i == 0 ? 1 : 50, 1));
    for (int i = 0; i < 4; i++) {
        send(r);
        receive(r);
    }
    assert_int_equal(sl_driver_progress_now(r->driver)->requests_done, 1);
    rig_close(r);
    sl_driver_fini(NULL);
}

/* ---- any job ---- */

enum { REQUESTS = 24, SEEDS = 400 };

static sl_request *random_request(seeded *random, uint32_t number)
{
    uint32_t n_prompt = 1 + seeded_below(random, seeded_below(random, 4) ? 40 : 300);
    uint32_t max_tokens = seeded_below(random, seeded_below(random, 4) ? 20 : 200);
    sl_request *request = request_new(n_prompt, max_tokens, 1);
    request->line = number;
    if (seeded_below(random, 3) == 0) request->n_choices = 1 + seeded_below(random, 4);
    if (max_tokens == 0 || seeded_below(random, 4) == 0)
        request->score_from = seeded_below(random, n_prompt);
    request->ignore_eos = seeded_below(random, 2);
    request->sampling.seed = number;
    if (seeded_below(random, 3) == 0) add_stop(request, "q");
    if (seeded_below(random, 3) == 0) add_stop(request, "zx");
    return request;
}

/* An error is right only when the pool or the slots are too few for this request alone. */
static void check_out(rig *r, sl_request *request, bool *seen)
{
    assert_seeded(&r->random, !seen[request->line]);
    seen[request->line] = true;
    uint32_t most = (uint32_t)request->n_prompt + request->max_tokens;
    uint64_t needed = (uint64_t)request->n_choices * pages_of(r, most) + 1; /* and one ahead */
    bool impossible = request->n_choices > r->options.sequences_max;
    if (request->error.http_status == 499) {
        check_cancelled(request);
    } else if (!request->error.http_status) {
        assert_seeded(&r->random, !impossible);
        check_served(r, request);
    } else {
        assert_seeded(&r->random, impossible || needed * r->rank_heads[0] > r->rank_pages[0]);
        check_failed(request, "pages");
    }
}

static void run_seed(uint64_t seed, uint64_t *restarts, uint64_t *failed)
{
    seeded random = seeded_from(seed);
    const shape s = {.chunk = 1 + seeded_below(&random, 100),
                     .slots = 1 + seeded_below(&random, SLOTS_ROOM),
                     .frames = 1 + seeded_below(&random, FRAMES_ROOM - 1),
                     .ranks = 1 + seeded_below(&random, RANKS_ROOM),
                     .head_pages = 2 + seeded_below(&random, 14),
                     .expected = seeded_below(&random, 100),
                     .sinks = seeded_below(&random, 5),
                     .window = seeded_below(&random, 40)};
    rig *r = rig_open(&s, seed);
    bool seen[REQUESTS] = {false};
    uint32_t n_submitted = 0;
    sl_request *waiting = NULL, *last = NULL;
    for (int steps = 0; n_submitted < REQUESTS; steps++) {
        assert_seeded(&r->random, steps < 100000);
        switch (seeded_below(&random, 4)) {
        case 0:
            if (!waiting) {
                waiting = random_request(&random, n_submitted);
                assert_int_equal(sl_request_bind(waiting), SL_OK);
            }
            if (sl_driver_submit(r->driver, waiting) != SL_OK) break;
            n_submitted++;
            last = waiting;
            waiting = NULL;
            break;
        case 1: send(r); break;
        case 2:
            if (under_way(r) > 0) receive(r);
            break;
        default:
            /* some are given up on the way */
            if (last && seeded_below(&random, 64) == 0) sl_driver_cancel(r->driver, last);
            for (sl_request *out; (out = sl_driver_finished(r->driver));) {
                if (out == last) last = NULL;
                check_out(r, out, seen);
            }
        }
    }
    run(r);
    for (sl_request *out; (out = sl_driver_finished(r->driver));) check_out(r, out, seen);
    for (int i = 0; i < REQUESTS; i++) assert_seeded(&r->random, seen[i]);
    const sl_driver_progress *p = sl_driver_progress_now(r->driver);
    assert_seeded(&r->random, p->requests_done == REQUESTS);
    assert_seeded(&r->random, p->requests_active == 0 && p->requests_waiting == 0);
    *restarts += p->restarts;
    *failed += p->requests_failed;
    stop(r);
}

static void test_any_job(void **state)
{
    (void)state;
    uint64_t restarts = 0, failed = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) run_seed(seed, &restarts, &failed);
    printf("%d jobs: %llu restarts, %llu requests that cannot fit\n", SEEDS,
           (unsigned long long)restarts, (unsigned long long)failed);
    assert_true(restarts > SEEDS / 4 && failed > SEEDS / 4); /* the seeds meet both cases */
}

static int open_model(void **state)
{
    (void)state;
    tiny_model_open(TINY_WITHOUT_BOS, &model);
    return 0;
}

static int close_model(void **state)
{
    (void)state;
    tiny_model_close(&model);
    return sl_log_errors();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_long_prompt),
        cmocka_unit_test(test_decode_rows),
        cmocka_unit_test(test_choices_fork),
        cmocka_unit_test(test_slots),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_restart_of_choices),
        cmocka_unit_test(test_expected_pages_hold_back),
        cmocka_unit_test(test_cannot_fit),
        cmocka_unit_test(test_lone_request_fills_its_pages),
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_stop_tokens),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_stop_frame),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_closed_early),
        cmocka_unit_test(test_any_job),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
