/* tests/unit/gate/test_admission.c - who is kept, against the policies' words in plain loops over
 * all scores; the same fates however tokens come, after a fork, and whichever stage has the
 * layer. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/gate/admission.h"
#include "tests/support/seeded.h"

enum { LAYERS = 3, HEADS = 2, DIM = 8, SEQUENCES = 3, TOKENS = 3000 };

typedef struct {
    sl_admission admission;
    void *storage;
    size_t bytes;
} rig;

static void rig_open(rig *r, sl_policy policy, uint32_t first_layer)
{
    sl_admission_options options = {.policy = policy,
                                    .first_layer = first_layer,
                                    .n_layers = LAYERS - first_layer,
                                    .n_kv_heads = HEADS,
                                    .head_dim = DIM,
                                    .sequences_max = SEQUENCES,
                                    .context = TOKENS};
    sl_arena arena;
    sl_arena_init(&arena, NULL, 0);
    sl_admission_init(&r->admission, &options, &arena);
    r->bytes = arena.used_bytes;
    assert_int_equal(sl_storage_take(r->bytes, "admission", &r->storage), SL_OK);
    memset(r->storage, 0x5a, r->bytes); /* opening a sequence makes it clean */
    sl_arena_init(&arena, r->storage, r->bytes);
    sl_admission_init(&r->admission, &options, &arena);
    assert_int_equal(arena.used_bytes, r->bytes);
}

static void rig_close(rig *r) { sl_storage_release(r->storage, r->bytes); }

/* Scores of tokens [0, n) through spans of random length; fates of those that leave the window, one
 * byte each, into out [n - window]. score t is known `delay` tokens late. */
static void decide_all(rig *r, const float *scores, uint32_t n, uint32_t delay, seeded *cut,
                       uint32_t layer, uint32_t head, uint8_t *out)
{
    uint32_t sequence = seeded_below(cut, SEQUENCES), window = r->admission.options.policy.window;
    uint32_t longest = 1 + seeded_below(cut, 300);
    sl_admission_open(&r->admission, sequence,
                      (sl_admission_sequence){.id_seed = 77, .n_prompt = n});
    for (uint32_t p = 0, step; p < n; p += step) {
        float fresh[300] = {0};
        uint8_t keep[300];
        step = 1 + seeded_below(cut, longest);
        if (step > n - p) step = n - p;
        for (uint32_t t = 0; t < step; t++)
            if (p + t >= delay) fresh[t] = scores[p + t - delay];
        memset(keep, 0xee, sizeof keep);
        sl_admission_decide(&r->admission, sequence, layer, head, p, step, fresh, delay, keep);
        for (uint32_t t = 0; t < step; t++) {
            if (p + t < window)
                assert_seeded(cut, keep[t] == 0xee);
            else
                out[p + t - window] = keep[t];
        }
        if (seeded_below(cut, 5) > 0) continue;
        uint32_t child = (sequence + 1) % SEQUENCES;
        sl_admission_fork(&r->admission, child, sequence, r->admission.sequences[sequence]);
        float other[3] = {9, 9, 9}; /* the parent goes on; no other sequence changes */
        sl_admission_decide(&r->admission, sequence, layer, head, p + step, 3, other, delay, keep);
        sequence = child;
    }
}

/* The words of policy.h: among the best `keep` of the last SL_RANKED_TOKENS eligible ones. */
static bool plain_ranks(const float *scores, uint32_t sinks, uint32_t t, double keep)
{
    uint32_t n_better = 0, n_seen = 0;
    for (uint32_t j = t; n_seen < SL_RANKED_TOKENS; j--) {
        n_better += scores[j] > scores[t];
        n_seen++;
        if (j == sinks) break;
    }
    return n_better < keep * n_seen;
}

static void make_scores(float *scores, seeded *random)
{
    for (int i = 0; i < TOKENS; i++) {
        scores[i] = (float)seeded_below(random, 5000) - 2500; /* some are equal */
        if (seeded_below(random, 50) == 0) scores[i] = NAN;
    }
}

static void test_ranks_and_thresholds(void **state)
{
    (void)state;
    static float scores[TOKENS];
    static uint8_t got[TOKENS];
    for (uint64_t seed = 1; seed <= 24; seed++) {
        seeded random = seeded_from(seed);
        make_scores(scores, &random);
        sl_policy p = {.kind = SL_POLICY_GATE,
                       .sinks = seeded_below(&random, 9),
                       .window = 1 + seeded_below(&random, 200),
                       .keep = (1 + seeded_below(&random, 99)) / 100.0,
                       .has_threshold = seed % 3 == 0,
                       .threshold = (float)seeded_below(&random, 2000) - 1000};
        uint32_t delay = seeded_below(&random, p.window), n = TOKENS - seeded_below(&random, 1000);
        rig r;
        rig_open(&r, p, 0);
        decide_all(&r, scores, n, delay, &random, 1, 1, got);
        uint32_t n_kept = 0, n_eligible = 0;
        for (uint32_t t = 0; t + p.window < n; t++) {
            bool keep = t < p.sinks || isnan(scores[t]);
            if (!keep && p.has_threshold) keep = scores[t] >= p.threshold;
            if (!keep && !p.has_threshold) keep = plain_ranks(scores, p.sinks, t, p.keep);
            assert_seeded(&random, got[t] == keep);
            n_eligible += t >= p.sinks;
            n_kept += t >= p.sinks && keep;
        }
        assert_seeded(&random, n_eligible == sl_policy_eligible(&p, n));
        if (!p.has_threshold) { /* a steady stream is kept at the rate, and what is no number */
            double kept = (double)n_kept / n_eligible;
            assert_seeded(&random, fabs(kept - p.keep) < 0.06);
        }
        rig_close(&r);
    }
}

/* policy.h: n tokens beyond its share of those seen put a head's threshold n / steer higher. So a
 * stream that scores higher than expected keeps its share all the same, however it is cut, forked
 * and placed. */
static void test_steered_thresholds(void **state)
{
    (void)state;
    static float scores[TOKENS], share[LAYERS * HEADS];
    static uint8_t got[TOKENS];
    for (uint64_t seed = 1; seed <= 16; seed++) {
        seeded random = seeded_from(seed);
        uint32_t first_layer = seeded_below(&random, 2), layer = 1, head = 1;
        for (int i = 0; i < TOKENS; i++) scores[i] = 2 * seeded_real(&random) + 3.5F;
        scores[100] = NAN;
        for (int i = 0; i < LAYERS * HEADS; i++)
            share[i] = 0.05F + 0.9F * (float)seeded_below(&random, 100) / 100;
        sl_policy p = {.kind = SL_POLICY_GATE,
                       .sinks = seeded_below(&random, 9),
                       .window = 1 + seeded_below(&random, 200),
                       .has_threshold = true,
                       .steer = 1 + (float)seeded_below(&random, 16),
                       .share = share};
        rig r;
        rig_open(&r, p, first_layer);
        decide_all(&r, scores, TOKENS, seeded_below(&random, p.window), &random, layer, head, got);
        float own = share[(first_layer + layer) * HEADS + head];
        uint32_t kept = 0, seen = 0;
        for (uint32_t t = p.sinks; t + p.window < TOKENS; t++, seen++) {
            float threshold = ((float)kept - own * (float)seen) / p.steer;
            bool keep = !(scores[t] < threshold);
            assert_seeded(&random, got[t] == keep);
            kept += keep;
        }
        assert_seeded(&random, fabs((double)kept / seen - (double)own) < 0.04);
        rig_close(&r);
    }
}

/* Policies without scores. A token's draw depends on id, layer, head and position alone. */
static void test_without_scores(void **state)
{
    (void)state;
    static const float none[TOKENS];
    static uint8_t got[LAYERS][HEADS][TOKENS], again[TOKENS];
    for (uint64_t seed = 1; seed <= 6; seed++) {
        seeded random = seeded_from(seed);
        sl_policy p = {
            .kind = SL_POLICY_RANDOM, .sinks = 3, .window = 20, .keep = 0.1 * (double)seed};
        rig whole, split;
        rig_open(&whole, p, 0);
        rig_open(&split, p, 1);
        for (uint32_t layer = 0; layer < LAYERS; layer++)
            for (uint32_t head = 0; head < HEADS; head++) {
                uint32_t n_kept = 0;
                decide_all(&whole, none, TOKENS, 0, &random, layer, head, got[layer][head]);
                for (uint32_t t = 3; t < TOKENS - 20; t++) n_kept += got[layer][head][t];
                assert_seeded(&random, fabs((double)n_kept / (TOKENS - 23) - p.keep) < 0.04);
                if (layer == 0) continue;
                decide_all(&split, none, TOKENS, 0, &random, layer - 1, head, again);
                assert_memory_equal(got[layer][head], again, TOKENS - 20);
            }
        assert_memory_not_equal(got[0][0], got[0][1], TOKENS - 20);
        assert_memory_not_equal(got[0][0], got[1][0], TOKENS - 20);
        rig_close(&whole), rig_close(&split);
    }
    static const sl_policy_kind kinds[] = {SL_POLICY_FULL, SL_POLICY_STREAMING, SL_POLICY_H2O};
    for (int i = 0; i < 3; i++) {
        seeded random = seeded_from((uint64_t)i);
        sl_policy p = {.kind = kinds[i], .sinks = 4, .window = 10, .keep = 0.5};
        rig r;
        rig_open(&r, p, 0);
        decide_all(&r, none, 500, 0, &random, 0, 0, again);
        for (uint32_t t = 0; t < 490; t++)
            assert_int_equal(again[t], t < 4 || kinds[i] != SL_POLICY_STREAMING);
        rig_close(&r);
    }
}

static void test_key_scores(void **state)
{
    (void)state;
    static float k[400][HEADS][DIM];
    for (uint64_t seed = 1; seed <= 8; seed++) {
        seeded random = seeded_from(seed);
        bool norms = seed % 2;
        sl_policy p = {
            .kind = norms ? SL_POLICY_KEYNORM : SL_POLICY_KEYDIFF, .window = 5, .keep = 0.5};
        rig r;
        double anchor[DIM] = {0};
        float scores[400];
        rig_open(&r, p, 0);
        sl_admission_open(&r.admission, 1, (sl_admission_sequence){0});
        for (int t = 0; t < 400; t++)
            for (int i = 0; i < HEADS * DIM; i++)
                k[t][i / DIM][i % DIM] = (float)seeded_below(&random, 2000) / 1000 - 0.7F;
        for (uint32_t t = 0, n; t < 400; t += n) {
            n = 1 + seeded_below(&random, 60);
            if (n > 400 - t) n = 400 - t;
            sl_admission_key_scores(&r.admission, 1, 2, 1, k[t][1], (size_t)HEADS * DIM, n,
                                    scores + t);
        }
        for (int t = 0; t < 400; t++) {
            double square = 0, along = 0, anchor_square = 0;
            for (int i = 0; i < DIM; i++) square += (double)k[t][1][i] * (double)k[t][1][i];
            for (int i = 0; i < DIM; i++) {
                anchor[i] += (double)k[t][1][i] / sqrt(square);
                along += (double)k[t][1][i] * anchor[i];
                anchor_square += anchor[i] * anchor[i];
            }
            double want = norms ? -sqrt(square) : -along / sqrt(square * anchor_square);
            assert_seeded(&random, fabs((double)scores[t] - want) < 1e-4);
        }
        rig_close(&r);
    }
}

/* The best of what a prompt's tokens received, of equals the earlier; sinks always, the window not
 * asked. */
static void test_prompt_end(void **state)
{
    (void)state;
    static float room[TOKENS];
    static uint8_t keep[TOKENS];
    for (uint64_t seed = 1; seed <= 40; seed++) {
        seeded random = seeded_from(seed);
        sl_policy p = {.kind = seed % 2 ? SL_POLICY_H2O : SL_POLICY_SNAPKV,
                       .sinks = seeded_below(&random, 6),
                       .window = 1 + seeded_below(&random, 40),
                       .keep = seeded_below(&random, 101) / 100.0};
        uint32_t n_prompt = 1 + seeded_below(&random, 300);
        rig r;
        rig_open(&r, p, 0);
        sl_admission_open(&r.admission, 2, (sl_admission_sequence){.n_prompt = n_prompt});
        float *received = sl_admission_received(&r.admission, 2, 1, 0);
        for (uint32_t t = 0; t < n_prompt; t++) {
            assert_true(received[t] == 0);
            received[t] = (float)seeded_below(&random, 40);
            if (seeded_below(&random, 60) == 0) received[t] = NAN;
        }
        uint32_t n_kept = sl_admission_prompt_end(&r.admission, 2, 1, 0, room, keep);
        uint32_t n_left = n_prompt > p.window ? n_prompt - p.window : 0, n = 0;
        assert_seeded(&random, n_kept == sl_policy_survivors(&p, n_prompt));
        static double score[TOKENS];
        for (uint32_t t = 0; t < n_left; t++) {
            score[t] = isnan(received[t]) ? INFINITY : (double)received[t];
            if (p.kind == SL_POLICY_SNAPKV) { /* and two neighbours on each side */
                score[t] = 0;
                for (uint32_t j = t > 2 ? t - 2 : 0; j < n_left && j <= t + 2; j++)
                    score[t] += isnan(received[j]) ? INFINITY : (double)received[j];
            }
        }
        for (uint32_t t = 0; t < n_left; t++) {
            uint32_t n_before = 0; /* those that go first */
            for (uint32_t j = p.sinks; j < n_left; j++)
                n_before += score[j] > score[t] || (score[j] == score[t] && j < t);
            bool stays = t < p.sinks || n_before < n_kept;
            assert_seeded(&random, keep[t] == stays);
            n += stays && t >= p.sinks;
        }
        assert_seeded(&random, n == n_kept);
        rig_close(&r);
    }
}

static void test_keeps_all(void **state)
{
    (void)state;
    for (int kind = SL_POLICY_FULL; kind <= SL_POLICY_H2O; kind++) {
        sl_policy p = {.kind = (sl_policy_kind)kind, .sinks = 2, .window = 8, .keep = 0.1};
        rig r;
        rig_open(&r, p, 0);
        sl_admission_open(&r.admission, 1, (sl_admission_sequence){.keeps_all = true});
        float scores[100];
        uint8_t keep[100] = {0};
        for (int t = 0; t < 100; t++) scores[t] = (float)-t;
        sl_admission_decide(&r.admission, 1, 0, 0, 0, 100, scores, 0, keep);
        for (int t = 8; t < 100; t++) assert_int_equal(keep[t], 1);
        rig_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranks_and_thresholds), cmocka_unit_test(test_steered_thresholds),
        cmocka_unit_test(test_without_scores),       cmocka_unit_test(test_key_scores),
        cmocka_unit_test(test_prompt_end),           cmocka_unit_test(test_keeps_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
