/* tests/unit/launch/pipeline/driver_expected.c - requests and what they must get. */
#include "tests/unit/launch/pipeline/driver_expected.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

sl_request *request_new(uint32_t n_prompt, uint32_t max_tokens, uint32_t n_choices)
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

void request_add_tails(sl_request *request, seeded *random)
{
    request->tails = calloc(request->n_choices, sizeof *request->tails);
    for (uint32_t i = 0; i < request->n_choices; i++)
        for (uint32_t n = 1 + seeded_below(random, 40); request->tails[i].n < n;)
            sl_tokens_add(&request->tails[i], tiny_byte((unsigned char)seeded_below(random, 251)));
}

void request_add_stop(sl_request *request, const char *text)
{
    request->stops[request->n_stops++] = (sl_text){.data = text, .bytes = strlen(text)};
}

sl_request *rig_submit(rig *r, sl_request *request)
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
    uint32_t n = (uint32_t)sl_request_read_tokens(request, index);
    for (size_t i = request->n_prompt; i < n; i++)
        tokens[i] = request->tails[index].ids[i - request->n_prompt];
    const uint32_t n_read = n;
    sl_finish finish = request->max_tokens == 0 ? SL_FINISH_LENGTH : SL_FINISH_NONE;
    bool ended = false;
    size_t stop_at = SIZE_MAX, n_text = 0;
    for (uint32_t i = 0; finish == SL_FINISH_NONE; i++) {
        int32_t token = rig_draw(r, tokens, n, request->sampling.seed + index);
        assert_seeded(&r->random, i < choice->n_tokens && choice->tokens[i] == token);
        assert_seeded(&r->random, choice->details[i].logprob == rig_logprob_of(n, token));
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
    assert_seeded(&r->random, choice->n_tokens == n - n_read);
    assert_seeded(&r->random, choice->finish == finish && choice->ended_by_token == ended);
    assert_seeded(&r->random, choice->stop_text_end == stop_at);
}

void check_served(rig *r, sl_request *request)
{
    assert_non_null(request);
    assert_string_equal(request->error.message, "");
    for (uint32_t i = 0; i < request->n_choices; i++) check_choice(r, request, i);
    size_t from = request->score_from > 0 ? request->score_from : 1;
    for (size_t i = 0; request->prompt_details && i < request->n_prompt; i++) {
        float expected = i >= from ? rig_logprob_of((uint32_t)i, request->prompt[i]) : 0;
        assert_seeded(&r->random, request->prompt_details[i].logprob == expected);
    }
    sl_request_free(request);
}

void check_failed(sl_request *request, const char *number)
{
    assert_non_null(request);
    assert_int_equal(request->error.http_status, 400);
    assert_string_equal(request->error.code, "out_of_memory");
    if (!strstr(request->error.message, number)) fail_msg("%s", request->error.message);
    sl_request_free(request);
}

void check_cancelled(sl_request *request)
{
    assert_int_equal(request->error.http_status, 499);
    assert_string_equal(request->error.code, "cancelled");
    sl_request_free(request);
}
