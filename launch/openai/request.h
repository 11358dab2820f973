/* launch/openai/request.h - one line of a job, from its text to its result.
 * Made by who reads the job (request_parse.c, or a command), filled by the driver, told by who
 * writes the results (result_record.c). One owner at a time: it travels by pointer. All memory a
 * request needs while tokens flow is taken when it is made. */
#ifndef SL_REQUEST_H
#define SL_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/status.h"
#include "runtime/frame/frame.h"
#include "runtime/text/chat.h"
#include "runtime/text/tokenizer.h"

enum { SL_STOPS_MAX = 16, SL_STOP_BYTES_MAX = 256, SL_STOP_TOKENS_MAX = 64, SL_CHOICES_MAX = 128 };

typedef enum { SL_FINISH_NONE, SL_FINISH_STOP, SL_FINISH_LENGTH } sl_finish;

/* A log-probability told about one token. */
typedef struct {
    float logprob;
    bool compared, agrees; /* as sl_token_result has them */
    float kl;
    uint32_t n_top;
    sl_token_logprob *top; /* [n_logprobs] room, from the request's memory */
} sl_token_detail;

typedef struct {
    size_t n_tokens;          /* generated, the ending token included */
    int32_t *tokens;          /* [max_tokens] */
    sl_token_detail *details; /* [max_tokens], NULL when no log-probabilities were asked for */
    sl_finish finish;
    size_t n_reported;    /* tokens passed to the watch: a restart generates them again */
    bool ended_by_token;  /* the last token is an end or stop token and not part of the text */
    size_t stop_text_end; /* bytes of text before the stop string; SIZE_MAX: none was met */
    uint64_t seen, kept;  /* eligible tokens over all layers and KV heads; those in the cache */
    uint64_t cache_bytes; /* the most its cache took on all ranks together */
} sl_choice;

/* Why a request could not be served; code as OpenAI would say it. */
typedef struct {
    int http_status; /* 0: no error; 400 bad request, 500 ours */
    char code[48];   /* "invalid_value", "unsupported_value", "context_length_exceeded" ... */
    char param[48];  /* the field, or "" */
    char message[384];
} sl_request_error;

typedef struct sl_request {
    uint64_t line;      /* in the job file, from 1 */
    uint64_t body_hash; /* sl_request_key's; 0: it is of no job file */
    char *custom_id;    /* owned */
    char *model;        /* echoed; owned, may be NULL */
    bool chat;
    sl_chat_thought thought; /* of a chat's answer: what becomes its reasoning_content */

    int32_t *prompt; /* owned */
    size_t n_prompt;
    uint32_t max_tokens; /* of each choice; fits the context with the prompt and its tail */
    /* [n_choices], owned, or NULL. Choice i reads the prompt, then tails[i], none of them empty,
     * and then generates: several questions about one text, which is read once. To policies the
     * prompt ends before the tails, which count as generated. Nothing is scored, and max_tokens
     * > 0. */
    sl_tokens *tails;
    uint32_t n_choices;
    bool echo, ignore_eos;
    sl_sampling
        sampling; /* choice i draws with seed + i; no stop string counts before min_tokens */
    uint32_t n_stops;
    sl_text stops[SL_STOPS_MAX]; /* into stop_bytes */
    char *stop_bytes;            /* owned */
    uint32_t n_stop_tokens;
    int32_t stop_tokens[SL_STOP_TOKENS_MAX]; /* each ends a choice, and is no part of its text */
    /* Prompt tokens from here on are scored (token score_from given those before it ...);
     * 0 means from 1, since nothing precedes token 0; SIZE_MAX: none. */
    size_t score_from;
    /* Reading the prompt stops after so many tokens until all ranks are through with them: a clean
     * start for what is timed from there. 0: it does not stop. One choice only. */
    size_t pause_after;

    /* Tokens of the prompt that are prompt to policies, the rest counting as generated; 0: all. */
    size_t n_policy_prompt;
    /* Every token of its sequences is kept, whatever the policy, and not counted as eligible. */
    bool keeps_all;
    /* Of what is scored, with the request before or after it. One choice only, and all requests
     * with a comparison are served one after the other: the next is submitted when this one has
     * finished. */
    sl_comparison comparison;

    sl_choice *choices;              /* [n_choices], owned */
    sl_token_detail *prompt_details; /* [n_prompt], NULL unless scored; [0] is never filled */
    void *memory;                    /* owned: what choices and details point into */
    sl_request_error error;

    /* Of a line with several prompts each is a request of its own, served by itself: the first owns
     * the line's id, its stop strings and the others, which follow in order. Ports see the first
     * only. */
    struct sl_request *first; /* NULL: this is it */
    struct sl_request *also;  /* the next prompt's */
    uint32_t n_under_way; /* of the first: those of several that were handed out and not finished */
} sl_request;

/* What policies draw with: a hash of custom_id, or the line without one. */
uint64_t sl_request_id_seed(const sl_request *request);
/* Tokens that a choice reads before it generates: the prompt's, and its tail's. */
size_t sl_request_read_tokens(const sl_request *request, uint32_t choice);
/* Tokens generated in all choices, of all prompts. */
uint64_t sl_request_generated(const sl_request *request);
/* Bytes of the prompts and of what sl_request_bind will take. */
uint64_t sl_request_bytes(const sl_request *request);
/* Take the memory for choices and details from what is filled in above.
 * SL_ERR_MEMORY. Then the request is ready for the driver. */
sl_status sl_request_bind(sl_request *request);
/* NULL is fine. Of several prompts under way the last one that is freed frees all. */
void sl_request_free(sl_request *request);

/* Set the error; printf-style message. Keeps the first one. */
void sl_request_fail(sl_request *request, int http_status, const char *code, const char *param,
                     const char *format, ...) __attribute__((format(printf, 5, 6)));

/* The characters (code points) in valid UTF-8. */
size_t sl_request_chars(const char *text, size_t bytes);

/* Whether ids begin a text, or continue one: then a space in front of them is part of it. */
typedef enum { SL_TEXT_BEGINS, SL_TEXT_CONTINUES } sl_text_place;

/* ids as UTF-8 text, special tokens left out: malloc'd, zero-terminated; NULL when memory is
 * out. chars_before_out[i], unless NULL: the characters of text before ids[i]. */
char *sl_request_text(const sl_tokenizer *tokenizer, sl_text_place place, const int32_t *ids,
                      size_t n, size_t *chars_before_out, size_t *bytes_out);

/* A choice's text as UTF-8, stop string and ending token left out: malloc'd, zero-terminated. */
char *sl_request_choice_text(const sl_request *request, const sl_choice *choice,
                             const sl_tokenizer *tokenizer, size_t *bytes_out);

#endif
