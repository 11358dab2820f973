/* tests/golden/golden.h - reading the goldens, and scoring tokens with one stage alone. A program
 * exits with 1 on the first thing that is not as told. */
#ifndef SL_TEST_GOLDEN_H
#define SL_TEST_GOLDEN_H

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/seeded.h"
#include "tests/support/stage_rig.h"

#define REQUIRE(condition, ...)                             \
    do {                                                    \
        if (!(condition)) {                                 \
            fprintf(stderr, "%s:%d: ", __FILE__, __LINE__); \
            fprintf(stderr, __VA_ARGS__);                   \
            fprintf(stderr, "\n");                          \
            exit(1);                                        \
        }                                                   \
    } while (0)

/* folder/name.json; ended with json_decref. */
static inline json_t *golden_load(const char *folder, const char *name)
{
    char path[4096];
    json_error_t error;
    snprintf(path, sizeof path, "%s/%s.json", folder, name);
    json_t *golden = json_load_file(path, 0, &error);
    REQUIRE(golden, "%s: line %d: %s", path, error.line, error.text);
    return golden;
}

/* folder/name as floats; returns how many. */
static inline size_t golden_floats(const char *folder, const char *name, float *out, size_t n_max)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    REQUIRE(file, "%s is missing", path);
    size_t n = fread(out, sizeof *out, n_max, file);
    REQUIRE(fgetc(file) == EOF, "%s is longer than %zu floats", path, n_max);
    fclose(file);
    return n;
}

/* What the goldens of llama.cpp were made with: attention in f32, and n ids of seed 1. */
static inline const sl_kernels *golden_f32_kernels(void)
{
    const sl_kernels *kernels = sl_kernels_named("avx2");
    return kernels ? kernels : sl_kernels_named("ref");
}
static inline void golden_drawn_ids(int32_t *ids, uint32_t n)
{
    seeded random = seeded_from(1);
    for (uint32_t i = 0; i < n; i++) ids[i] = 8 + (int32_t)seeded_below(&random, 504);
}

/* A number by its key; that it is there is part of the test. */
static inline double golden_number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    REQUIRE(json_is_number(value), "no number %s", key);
    return json_number_value(value);
}

static inline double golden_item(const json_t *array, size_t i)
{
    const json_t *value = json_array_get(array, i);
    REQUIRE(json_is_number(value), "no number at %zu", i);
    return json_number_value(value);
}

static inline uint32_t golden_ids(const json_t *array, int32_t *ids, uint32_t n_max)
{
    size_t n = json_array_size(array);
    REQUIRE(n > 0 && n <= n_max, "%zu ids, expected 1 to %u", n, n_max);
    for (size_t i = 0; i < n; i++) ids[i] = (int32_t)golden_item(array, i);
    return (uint32_t)n;
}

/* Put ids [n] into a new sequence 0 in spans of what a frame holds, scored from position
 * `score_from` on, and draw the token after them; results come in order of their positions. */
static inline uint32_t golden_prompt(stage_rig *rig, const int32_t *ids, uint32_t n,
                                     uint32_t score_from, int32_t n_top, sl_token_result *out)
{
    sl_sampling sampling = {.top_p = 1, .repetition_penalty = 1, .n_logprobs = n_top};
    uint32_t n_out = 0, rows = rig->limits.rows_max;
    for (uint32_t at = 0; at < n; at += rows) {
        uint32_t count = n - at < rows ? n - at : rows;
        sl_frame_reset(&rig->frame, at);
        if (at == 0) stage_rig_control(rig, SL_CONTROL_OPEN, 0, 0, &sampling);
        sl_span *span = stage_rig_span(rig, SL_SPAN_PROMPT, 0, at, ids + at, count);
        /* row t is of position at + t + 1 */
        uint32_t first = score_from > at + 1 ? score_from - at - 1 : 0;
        span->score_from = first < count ? first : count;
        span->sample = at + count == n;
        if (!span->sample && span->score_from < count) span->next_token = ids[at + count];
        REQUIRE(stage_rig_compute(rig) == SL_OK, "the frame at token %u was refused", at);
        for (uint32_t i = 0; i < rig->frame.n_results; i++) out[n_out++] = rig->frame.results[i];
    }
    return n_out;
}

static inline void golden_close(stage_rig *rig)
{
    sl_frame_reset(&rig->frame, 0);
    stage_rig_control(rig, SL_CONTROL_CLOSE, 0, 0, NULL);
    REQUIRE(stage_rig_compute(rig) == SL_OK, "a sequence does not close");
}

#endif
