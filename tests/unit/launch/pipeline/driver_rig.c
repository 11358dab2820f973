/* tests/unit/launch/pipeline/driver_rig.c - stages that compute nothing: the rig checks every
 * frame against the slots as they are, and answers it when it is sent. */
#include "tests/unit/launch/pipeline/driver_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "runtime/base/log.h"

const rig_shape ROOMY = {.chunk = 32,
                         .slots = 4,
                         .frames = 3,
                         .ranks = 2,
                         .head_pages = 1000,
                         .expected = 64,
                         .sinks = 4,
                         .window = 16};

static tiny_model model;

int rig_model_open(void **state)
{
    (void)state;
    tiny_model_open(TINY_WITHOUT_BOS, &model);
    return 0;
}

int rig_model_close(void **state)
{
    (void)state;
    tiny_model_close(&model);
    return sl_log_errors();
}

uint32_t rig_pages_of(const rig *r, uint32_t n_tokens)
{
    return sl_cache_head_pages(r->options.policy.window, n_tokens);
}

int32_t rig_draw(const rig *r, const int32_t *tokens, uint32_t n, uint64_t seed)
{
    if (r->script && r->script[n - 1] == '$') return TINY_ENDOFTEXT;
    if (r->script) return tiny_byte((unsigned char)r->script[n - 1]);
    uint64_t hash = seed;
    for (uint32_t i = 0; i < n; i++) hash = (hash ^ (uint64_t)tokens[i]) * 0x100000001b3U;
    hash ^= hash >> 29;
    return hash % 40 == 0 ? TINY_IM_END : tiny_byte((unsigned char)('a' + hash / 64 % 26));
}

float rig_logprob_of(uint32_t position, int32_t token) { return -(float)(position * 512) - token; }

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

rig *rig_open(const rig_shape *s, uint64_t seed)
{
    rig *r = calloc(1, sizeof *r);
    r->random = seeded_from(seed);
    sl_plan_init(s->ranks, r->ranks, &r->plan);
    for (uint32_t i = 0; i < s->ranks; i++) { /* ranks differ, head pages do not */
        r->ranks[i].n_paged_heads = i + 2;
        r->ranks[i].n_pages = (uint64_t)s->head_pages * (i + 2);
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
        .plan = &r->plan,
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

void rig_close(rig *r)
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

void rig_add_result(sl_frame *f, sl_result_kind kind, uint32_t sequence, uint32_t position,
                    int32_t token)
{
    f->results[f->n_results++] = (sl_token_result){.kind = kind,
                                                   .sequence = sequence,
                                                   .position = position,
                                                   .token = token,
                                                   .logprob = rig_logprob_of(position, token)};
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
            rig_add_result(f, SL_RESULT_SCORED, span->sequence, s->n, following);
    }
    if (span->sample)
        rig_add_result(f, SL_RESULT_SAMPLED, span->sequence, s->n,
                       rig_draw(r, s->tokens, s->n, s->seed));
}

/* A fork's full pages count once: with its parent. */
static void add_ledger(rig *r, sl_frame *f)
{
    uint32_t used = 0;
    for (int i = 0; i < SLOTS_ROOM; i++)
        if (r->slots[i].open) used += rig_pages_of(r, r->slots[i].n) - r->slots[i].shared_pages;
    for (uint32_t i = 0; i < r->options.limits.ranks; i++) {
        uint64_t pages = (uint64_t)used * r->ranks[i].n_paged_heads;
        assert_seeded(&r->random, pages <= r->ranks[i].n_pages); /* no stage runs dry */
        f->ledger[f->n_ledger++] = (sl_ledger_row){.rank = i, .pages_used = pages};
    }
}

uint32_t rig_under_way(const rig *r) { return (uint32_t)(r->n_sent - r->n_back); }

sl_frame *rig_send(rig *r)
{
    sl_frame *f = &r->frames[r->n_sent % FRAMES_ROOM];
    uint64_t restarts = sl_driver_progress_now(r->driver)->restarts;
    if (!sl_driver_fill(r->driver, f)) return NULL;
    assert_seeded(&r->random, rig_under_way(r) < r->options.frames_max && r->n_stops == 0);
    assert_seeded(&r->random, f->number == r->n_sent++);
    assert_seeded(&r->random, sl_frame_check(f, &r->options.limits, r->options.sequences_max,
                                             TINY_VOCAB) == SL_OK);
    /* a restart waits for all that is under way, so no result of before can follow it */
    bool restarted = sl_driver_progress_now(r->driver)->restarts > restarts;
    assert_seeded(&r->random, !restarted || rig_under_way(r) == 1);
    assert_seeded(&r->random, f->n_rows <= r->options.chunk);

    for (uint32_t i = 0; i < f->n_controls; i++) apply_control(r, &f->controls[i]);
    uint32_t n_decoding = 0;
    for (uint32_t i = 0; i < f->n_spans; i++) {
        answer_span(r, f, &f->spans[i]);
        n_decoding += f->spans[i].kind == SL_SPAN_DECODE;
    }
    add_ledger(r, f);
    if (n_decoding > r->most_decoding) r->most_decoding = n_decoding;
    if (rig_under_way(r) > r->most_under_way) r->most_under_way = rig_under_way(r);
    return f;
}

void rig_receive(rig *r)
{
    assert_seeded(&r->random, rig_under_way(r) > 0);
    assert_int_equal(sl_driver_take(r->driver, &r->frames[r->n_back++ % FRAMES_ROOM]), SL_OK);
}

void rig_run(rig *r)
{
    for (int i = 0; i < 100000; i++) {
        while (rig_send(r)) {
        }
        if (rig_under_way(r) == 0) return;
        rig_receive(r);
    }
    fail_msg("seed %llu: it never ends", (unsigned long long)r->random.seed);
}

void rig_stop(rig *r)
{
    sl_driver_end(r->driver);
    rig_run(r);
    assert_seeded(&r->random, sl_driver_stopped(r->driver) && r->n_stops == 1);
    assert_seeded(&r->random, r->n_opens == r->n_closes && !sl_driver_finished(r->driver));
    assert_seeded(&r->random, rig_send(r) == NULL);
    rig_close(r);
}
