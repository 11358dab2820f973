/* tests/unit/launch/eval/test_eval_ruler_tasks.c - prompts of every task are as long as they
 * were asked to be, hold what they ask for at the place that is said, and are the same for the
 * same seed; depths and phases are swept evenly; and only whole words count as found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "launch/eval/eval_ruler_tasks.h"
#include "launch/eval/eval_ruler_words.h"
#include "tests/support/drawn_filler.h"
#include "tests/support/tiny_model.h"

enum { TEXT_BYTES = 1 << 17 };
static tiny_model model;
static sl_tokens filler;
static sl_ruler_source source;

static int open_model(void **state)
{
    (void)state;
    tiny_model_open(TINY_WITH_BOS, &model);
    source = (sl_ruler_source){.tokenizer = model.tokenizer, .filler = &filler};
    return drawn_filler(model.tokenizer, "abcde fghij klmno pqrst. uvwxyz\n", 40000, &filler);
}

static int close_model(void **state)
{
    (void)state;
    sl_tokens_free(&filler);
    tiny_model_close(&model);
    return 0;
}

static const sl_ruler_task *named(const char *name)
{
    const sl_ruler_task *task = sl_ruler_task_named(name, strlen(name));
    assert_non_null(task);
    return task;
}

static sl_ruler_prompt make(const sl_ruler_task *task, const sl_ruler_trial *trial)
{
    sl_ruler_prompt prompt;
    assert_int_equal(sl_ruler_prompt_make(task, &source, trial, &prompt), SL_OK);
    return prompt;
}

/* Tokens from `first` on as text, without BOS. */
static const char *text_of(const sl_tokens *tokens, size_t first)
{
    static char text[TEXT_BYTES];
    size_t used = 0;
    for (size_t i = first; i < tokens->n; i++) {
        sl_text piece = sl_tokenizer_piece(model.tokenizer, tokens->ids[i]);
        if (sl_tokenizer_is_control(model.tokenizer, tokens->ids[i])) continue;
        assert_true(used + piece.bytes < sizeof text);
        memcpy(text + used, piece.data, piece.bytes);
        used += piece.bytes;
    }
    text[used] = '\0';
    return text;
}

static int count_of(const char *word, const char *text)
{
    int n = 0;
    size_t bytes = strlen(word);
    for (const char *at = text; (at = strstr(at, word)); at += bytes) n++;
    return n;
}

static size_t all_tokens(const sl_ruler_prompt *prompt)
{
    size_t longest = 0;
    for (uint32_t i = 0; i < prompt->n_tails; i++)
        if (prompt->tails[i].n > longest) longest = prompt->tails[i].n;
    return prompt->prompt.n + longest + prompt->n_answer;
}

/* A list ends where its next item has no room; the tiny vocabulary has a token for most bytes. */
static size_t least_tokens(const sl_ruler_task *task, uint32_t n_tokens)
{
    bool is_list = task == named("common") || task == named("frequent") ||
                   task == named("keyvalue");
    return is_list ? n_tokens - 100 : n_tokens;
}

static void test_lengths(void **state)
{
    (void)state;
    static const uint32_t LENGTHS[] = {2500, 4096};
    for (size_t k = 0; k < SL_RULER_TASKS; k++)
        for (uint32_t i = 0; i < 12; i++) {
            const sl_ruler_task *task = &sl_ruler_tasks[k];
            sl_ruler_trial trial = sl_ruler_trial_of(task, LENGTHS[i % 2], 5, i, 12);
            sl_ruler_prompt prompt = make(task, &trial);
            assert_in_range(all_tokens(&prompt), least_tokens(task, trial.n_tokens),
                            trial.n_tokens);
            assert_int_equal(prompt.prompt.ids[0], sl_tokenizer_bos(model.tokenizer));
            assert_int_equal(prompt.n_answer == 0, task->is_likelihood);
            assert_int_equal(prompt.n_expected == 0, task->is_likelihood);
            if (task->is_likelihood) assert_int_equal(prompt.score_from, trial.n_tokens / 2);
            sl_ruler_prompt_fini(&prompt);
        }
}

/* Each expected string is in the text; what is asked for first is where it is said to be, and of
 * the trial's phase. */
static void test_answers(void **state)
{
    (void)state;
    for (size_t k = 0; k < SL_RULER_TASKS; k++)
        for (uint32_t i = 0; i < 16; i++) {
            const sl_ruler_task *task = &sl_ruler_tasks[k];
            sl_ruler_trial trial = sl_ruler_trial_of(task, 4096, 7, i, 16);
            sl_ruler_prompt prompt = make(task, &trial);
            for (uint32_t x = 0; x < prompt.n_expected; x++)
                assert_true(sl_ruler_found(prompt.expected[x], text_of(&prompt.prompt, 0)));
            bool everywhere = task == named("common") || task == named("frequent");
            assert_int_equal(prompt.at == SIZE_MAX, everywhere || task->is_likelihood);
            if (prompt.at != SIZE_MAX) {
                assert_int_equal(prompt.at % SL_RULER_PHASE, trial.phase);
                const char *from = text_of(&prompt.prompt, prompt.at);
                const char *found = strstr(from, prompt.expected[0]);
                assert_true(found && found - from < 100);
            }
            sl_ruler_prompt_fini(&prompt);
        }
}

/* The number is said once, and the question asks for it by name. */
static void test_needle(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 20; i++) {
        const sl_ruler_task *task = named(i % 2 ? "multikey" : "single");
        sl_ruler_trial trial = sl_ruler_trial_of(task, 3000, 3, i, 20);
        sl_ruler_prompt prompt = make(task, &trial);
        const char *text = text_of(&prompt.prompt, 0);
        assert_int_equal(count_of(prompt.expected[0], text), 1);
        const char *question = strstr(text, "\n\nThe secret number of the ");
        assert_non_null(question);
        char sentence[256];
        snprintf(sentence, sizeof sentence, " %s %s.", question + 2, prompt.expected[0]);
        assert_non_null(strstr(text, sentence));
        assert_int_equal(count_of("The secret number of the ", text), i % 2 ? 5 : 2);
        sl_ruler_prompt_fini(&prompt);
    }
}

/* Each question of several is about another sentence of the text, and not in it. */
static void test_questions(void **state)
{
    (void)state;
    sl_ruler_trial trial = sl_ruler_trial_of(named("questions"), 3000, 3, 1, 8);
    sl_ruler_prompt prompt = make(named("questions"), &trial);
    assert_int_equal(prompt.n_tails, SL_RULER_ASKED_MAX);
    for (uint32_t i = 0; i < prompt.n_tails; i++) {
        char sentence[256];
        snprintf(sentence, sizeof sentence, " %s %s.", text_of(&prompt.tails[i], 0) + 2,
                 prompt.expected[i]);
        assert_int_equal(count_of(sentence, text_of(&prompt.prompt, 0)), 1);
    }
    sl_ruler_prompt_fini(&prompt);
}

/* What is asked for stands more often than anything else. */
static void test_counts(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 8; i++) {
        const sl_ruler_task *task = named(i % 2 ? "common" : "frequent");
        sl_ruler_trial trial = sl_ruler_trial_of(task, i < 4 ? 2500 : 9000, 3, i, 8);
        sl_ruler_prompt prompt = make(task, &trial);
        const char *text = text_of(&prompt.prompt, 0);
        char other[SL_RULER_WORD_BYTES + 4];
        int least = 1 << 20, most = 0;
        for (uint32_t x = 0; x < prompt.n_expected; x++) {
            snprintf(other, sizeof other, " %s", prompt.expected[x]);
            int n = count_of(other, text);
            least = n < least ? n : least;
        }
        for (uint32_t x = 0; x < 200; x++) {
            char word[SL_RULER_WORD_BYTES];
            if (i % 2)
                snprintf(word, sizeof word, "%s", sl_ruler_noun(trial.seed, 10 + x));
            else
                sl_ruler_coded(trial.seed, 4 + x, word);
            snprintf(other, sizeof other, " %s ", word);
            int n = count_of(other, text);
            most = n > most ? n : most;
        }
        assert_true(most >= 1 && least > most);
        sl_ruler_prompt_fini(&prompt);
    }
}

static void test_seeds(void **state)
{
    (void)state;
    for (size_t k = 0; k < SL_RULER_TASKS; k++) {
        const sl_ruler_task *task = &sl_ruler_tasks[k];
        sl_ruler_trial trials[] = {sl_ruler_trial_of(task, 2500, 1, 2, 9),
                                   sl_ruler_trial_of(task, 2500, 1, 2, 9),
                                   sl_ruler_trial_of(task, 2500, 2, 2, 9)};
        sl_ruler_prompt made[3];
        for (int i = 0; i < 3; i++) made[i] = make(task, &trials[i]);
        size_t bytes = made[0].prompt.n * sizeof *made[0].prompt.ids;
        assert_int_equal(made[0].prompt.n, made[1].prompt.n);
        assert_memory_equal(made[0].prompt.ids, made[1].prompt.ids, bytes);
        assert_true(made[0].prompt.n != made[2].prompt.n ||
                    memcmp(made[0].prompt.ids, made[2].prompt.ids, bytes) != 0);
        for (int i = 0; i < 3; i++) sl_ruler_prompt_fini(&made[i]);
    }
}

/* 64 cells of phase and depth, as often each. */
static void test_sweep(void **state)
{
    (void)state;
    enum { TRIALS = 256, PARTS = 8 };
    int phases[PARTS] = {0}, cells[PARTS][PARTS] = {{0}};
    for (uint32_t t = 0; t < TRIALS; t++) {
        sl_ruler_trial trial = sl_ruler_trial_of(named("single"), 2500, 1, t, TRIALS);
        sl_ruler_prompt prompt = make(named("single"), &trial);
        phases[prompt.at % SL_RULER_PHASE * PARTS / SL_RULER_PHASE]++;
        cells[trial.phase * PARTS / SL_RULER_PHASE][(int)(trial.depth * PARTS)]++;
        sl_ruler_prompt_fini(&prompt);
    }
    for (int i = 0; i < PARTS; i++) {
        assert_int_equal(phases[i], TRIALS / PARTS);
        for (int k = 0; k < PARTS; k++) assert_int_equal(cells[i][k], TRIALS / PARTS / PARTS);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    for (size_t k = 0; k < SL_RULER_TASKS; k++) {
        const sl_ruler_task *task = &sl_ruler_tasks[k];
        sl_ruler_prompt prompt;
        sl_ruler_trial trial = sl_ruler_trial_of(task, 64, 1, 0, 1);
        if (!task->is_likelihood) {
            assert_int_equal(sl_ruler_prompt_make(task, &source, &trial, &prompt), SL_ERR_OPTION);
            sl_ruler_prompt_fini(&prompt);
        }
        trial.n_tokens = (uint32_t)filler.n;
        assert_int_equal(sl_ruler_prompt_make(task, &source, &trial, &prompt), SL_ERR_OPTION);
        sl_ruler_prompt_fini(&prompt);
    }
    char names[1024] = "";
    for (size_t k = 0; k < SL_RULER_TASKS; k++) {
        const char *name = sl_ruler_tasks[k].name;
        assert_ptr_equal(sl_ruler_task_named(name, strlen(name)), &sl_ruler_tasks[k]);
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", k > 0 ? ", " : "", name);
    }
    assert_string_equal(names, SL_RULER_TASK_NAMES);
    assert_null(sl_ruler_task_named("singl", 5));
    assert_null(sl_ruler_task_named("single,", 7));
}

static void test_noise(void **state)
{
    (void)state;
    sl_tokens noise = {0};
    assert_int_equal(sl_ruler_noise(model.tokenizer, 5000, &noise), SL_OK);
    assert_in_range(noise.n, 5000, 5200);
    assert_true(count_of("The river is wide.", text_of(&noise, 0)) > 10);
    sl_tokens_free(&noise);
}

static void test_scores(void **state)
{
    (void)state;
    static const struct {
        const char *expected, *said;
        bool found;
    } rows[] = {{"1234567", " 1234567.", true}, {"1234567", "it is 1234567", true},
                {"1234567", "12345678", false}, {"1234567", "01234567, 1234567", true},
                {"1234567", "", false},         {"owl", "a bowl", false},
                {"owl", "An OWL.", true},       {"VAR", "VARS", false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(sl_ruler_found(rows[i].expected, rows[i].said), rows[i].found);
    char expected[SL_RULER_EXPECTED_MAX][SL_RULER_EXPECTED_BYTES] = {"otter", "owl", "oak", "oar"};
    sl_ruler_prompt prompt = {.n_expected = 4, .expected = expected};
    const char *one[] = {"1. oak 2. otter 3. bowl"}, *four[] = {"owl", "owl", "oak.", "oak"};
    assert_float_equal(sl_ruler_score(&prompt, one), 0.5, 0);
    prompt.n_tails = 4; /* each answer has its own */
    assert_float_equal(sl_ruler_score(&prompt, four), 0.5, 0);
}

/* A walk through all words meets each once. */
static void test_words(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++)
        for (uint32_t i = 0; i < SL_RULER_NOUNS; i++)
            for (uint32_t k = 0; k < i; k++)
                assert_true(sl_ruler_noun(seed, i) != sl_ruler_noun(seed, k));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths), cmocka_unit_test(test_answers),
        cmocka_unit_test(test_needle),  cmocka_unit_test(test_questions),
        cmocka_unit_test(test_counts),  cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_sweep),   cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_noise),   cmocka_unit_test(test_scores),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
