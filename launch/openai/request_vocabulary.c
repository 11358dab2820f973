/* launch/openai/request_vocabulary.c - one table. What a field would change is lost in silence when
 * it is only warned about: a warning once a job is not seen in the morning. So each known one is an
 * error record, unless its value asks for nothing. A field that tunes another one (mirostat_tau)
 * asks for nothing itself: the other one (mirostat) is what is refused. */
#include "launch/openai/request_vocabulary.h"

#include <string.h>

#include "launch/openai/request_json.h"

/* Values that ask for nothing, besides null. */
enum {
    NO = 1,          /* false */
    YES = 2,         /* true */
    ZERO = 4,        /* 0 */
    ONE = 8,         /* 1 */
    LESS = 16,       /* a number below 0 */
    EMPTY_TEXT = 32, /* "" */
    EMPTY_LIST = 64,
    EMPTY_OBJECT = 128,
    PLAIN_TEXT = 256, /* {"type": "text"} or ["text"] */
    NO_TOOL = 512,    /* "none" or "auto" */
    MEDIUM = 1024,    /* "medium" */
    EMPTY = NO | EMPTY_TEXT | EMPTY_LIST | EMPTY_OBJECT,
    OFF = EMPTY | ZERO, /* a number that switches something on */
    ANY = 1 << 30,
};

static const char GUIDED[] = "what is generated cannot be constrained";
static const char NO_TOOLS[] = "tools cannot be called";
static const char TEXT_ONLY[] = "text is all that goes in and out";
static const char TEMPLATE[] = "the model's own chat template is used, as it is";
static const char REASONING[] = "the model's way of reasoning cannot be chosen";
static const char SAMPLER[] = "there is no such sampler here";
static const char BEAMS[] = "there is no beam search";
static const char SHAPE[] = "the result's shape is OpenAI's";
static const char LORA[] = "an adapter is given when the job starts, not to one request";
static const char STOP_TEXT[] = "the stop string is left out of the text";
static const char SAY_LENGTH[] = "give max_tokens";
static const char SAY_STOP[] = "give stop";
static const char SAY_PENALTY[] = "give repetition_penalty";
static const char OLLAMA[] = "give its fields by OpenAI's names, beside the others";

typedef struct {
    const char *name;
    unsigned known, harmless;
    const char *why; /* NULL with ANY */
} word;

static const word WORDS[] = {
    /* OpenAI */
    {"tools", SL_URL_COMPLETIONS, EMPTY, "a completion has a 'prompt'"},
    {"tool_choice", SL_URL_BOTH, EMPTY | NO_TOOL, NO_TOOLS},
    {"functions", SL_URL_BOTH, EMPTY, "functions cannot be called"},
    {"function_call", SL_URL_BOTH, EMPTY | NO_TOOL, "functions cannot be called"},
    {"parallel_tool_calls", SL_URL_BOTH, ANY, NULL},
    {"max_tool_calls", SL_URL_BOTH, ANY, NULL},
    {"response_format", SL_URL_BOTH, PLAIN_TEXT, "the only format is {\"type\": \"text\"}"},
    {"text_format", SL_URL_BOTH, EMPTY, GUIDED},
    {"stream", SL_URL_BOTH, EMPTY, "a batch has whole results only"},
    {"stream_options", SL_URL_BOTH, ANY, NULL},
    {"suffix", SL_URL_BOTH, EMPTY, "text cannot be inserted before a suffix"},
    {"modalities", SL_URL_BOTH, EMPTY_LIST | PLAIN_TEXT, "the only modality is [\"text\"]"},
    {"audio", SL_URL_BOTH, EMPTY, "the only modality is text"},
    {"web_search_options", SL_URL_BOTH, NO, "nothing is searched for"},
    {"prediction", SL_URL_BOTH, ANY, NULL}, /* only makes it faster */
    {"reasoning_effort", SL_URL_BOTH, EMPTY_TEXT, REASONING},
    {"verbosity", SL_URL_BOTH, EMPTY_TEXT | MEDIUM, "the model knows no levels of verbosity"},
    {"max_output_tokens", SL_URL_BOTH, 0, SAY_LENGTH},
    {"instructions", SL_URL_BOTH, EMPTY, "give a message of role system"},
    {"user", SL_URL_BOTH, ANY, NULL},
    {"metadata", SL_URL_BOTH, ANY, NULL},
    {"store", SL_URL_BOTH, ANY, NULL},
    {"service_tier", SL_URL_BOTH, ANY, NULL},
    {"safety_identifier", SL_URL_BOTH, ANY, NULL},
    {"prompt_cache_key", SL_URL_BOTH, ANY, NULL},
    {"prompt_cache_retention", SL_URL_BOTH, ANY, NULL},
    /* of OpenAI's clients: never sent as such, unless a batch was written by hand */
    {"extra_body", SL_URL_BOTH, EMPTY, "its fields stand in the body itself"},
    {"extra_headers", SL_URL_BOTH, ANY, NULL},
    {"extra_query", SL_URL_BOTH, ANY, NULL},
    {"timeout", SL_URL_BOTH, ANY, NULL},
    /* of the other endpoint */
    {"messages", SL_URL_COMPLETIONS, EMPTY, "a completion has a 'prompt'"},
    {"top_logprobs", SL_URL_COMPLETIONS, OFF, "a completion's are asked for by 'logprobs'"},
    {"prompt", SL_URL_CHAT, EMPTY, "a chat has 'messages'"},
    {"echo", SL_URL_CHAT, NO, "a chat's prompt cannot be echoed"},

    /* vLLM: guided decoding */
    {"guided_json", SL_URL_BOTH, NO | EMPTY_TEXT, GUIDED},
    {"guided_json_object", SL_URL_BOTH, NO, GUIDED},
    {"guided_regex", SL_URL_BOTH, EMPTY, GUIDED},
    {"guided_choice", SL_URL_BOTH, EMPTY, GUIDED},
    {"guided_grammar", SL_URL_BOTH, EMPTY, GUIDED},
    {"structured_outputs", SL_URL_BOTH, EMPTY, GUIDED},
    {"structural_tag", SL_URL_BOTH, EMPTY, GUIDED},
    {"guided_decoding_backend", SL_URL_BOTH, ANY, NULL},
    {"guided_whitespace_pattern", SL_URL_BOTH, ANY, NULL},
    {"guided_decoding_disable_fallback", SL_URL_BOTH, ANY, NULL},
    {"guided_decoding_disable_any_whitespace", SL_URL_BOTH, ANY, NULL},
    {"guided_decoding_disable_additional_properties", SL_URL_BOTH, ANY, NULL},
    /* vLLM: sampling */
    {"allowed_token_ids", SL_URL_BOTH, EMPTY, GUIDED},
    {"bad_words", SL_URL_BOTH, EMPTY, "words cannot be forbidden; logit_bias forbids tokens"},
    {"bad_words_ids", SL_URL_BOTH, EMPTY, "words cannot be forbidden; logit_bias forbids tokens"},
    {"include_stop_str_in_output", SL_URL_BOTH, NO, STOP_TEXT},
    {"skip_special_tokens", SL_URL_BOTH, YES, "special tokens are left out of the text"},
    {"spaces_between_special_tokens", SL_URL_BOTH, ANY, NULL}, /* there are none in the text */
    {"prompt_logprobs", SL_URL_BOTH, NO, "a completion's 'echo' with 'logprobs' tells them"},
    {"logprob_token_ids", SL_URL_BOTH, EMPTY, "log-probabilities are of the most likely tokens"},
    {"use_beam_search", SL_URL_BOTH, NO | ZERO, BEAMS},
    {"length_penalty", SL_URL_BOTH, ONE, BEAMS},
    {"early_stopping", SL_URL_BOTH, NO, BEAMS},
    {"logits_processors", SL_URL_BOTH, EMPTY, "no code of a request is run"},
    {"repetition_detection", SL_URL_BOTH, EMPTY, SAMPLER},
    {"thinking_token_budget", SL_URL_BOTH, LESS, REASONING},
    /* vLLM: chat */
    {"chat_template", SL_URL_BOTH, EMPTY, TEMPLATE},
    {"chat_template_kwargs", SL_URL_COMPLETIONS, EMPTY, "a completion has a 'prompt'"},
    {"add_generation_prompt", SL_URL_BOTH, YES, "the model's reply begins a message of its own"},
    {"continue_final_message", SL_URL_BOTH, NO, "the model's reply begins a message of its own"},
    {"add_special_tokens", SL_URL_COMPLETIONS, YES, "give the prompt as token ids"},
    {"add_special_tokens", SL_URL_CHAT, NO, TEMPLATE},
    {"documents", SL_URL_BOTH, EMPTY, "write them into a message"},
    {"include_reasoning", SL_URL_BOTH, YES, "reasoning is part of the text"},
    {"mm_processor_kwargs", SL_URL_BOTH, ANY, NULL}, /* of pictures, which are refused */
    {"media_io_kwargs", SL_URL_BOTH, ANY, NULL},
    /* vLLM: the rest */
    {"prompt_embeds", SL_URL_BOTH, EMPTY, "give the prompt as text or token ids"},
    {"return_tokens_as_token_ids", SL_URL_BOTH, NO, SHAPE},
    {"return_token_ids", SL_URL_BOTH, NO, SHAPE},
    {"kv_transfer_params", SL_URL_BOTH, EMPTY, "no cache is taken from another server"},
    {"vllm_xargs", SL_URL_BOTH, EMPTY, "there are no extensions"},
    {"priority", SL_URL_BOTH, ANY, NULL},
    {"truncation_side", SL_URL_BOTH, EMPTY_TEXT, "truncate_prompt_tokens keeps the prompt's end"},
    {"watermarking", SL_URL_BOTH, EMPTY, SAMPLER},
    {"return_prompt_text", SL_URL_BOTH, NO, SHAPE},
    {"return_mm_kwargs", SL_URL_BOTH, NO, SHAPE},
    {"return_token_offsets", SL_URL_BOTH, NO, SHAPE},
    {"routed_experts_prompt_start", SL_URL_BOTH, ZERO, SHAPE},
    {"ec_transfer_params", SL_URL_BOTH, EMPTY, "no cache is taken from another server"},
    {"stream_interval", SL_URL_BOTH, ANY, NULL},
    {"request_id", SL_URL_BOTH, ANY, NULL},
    {"cache_salt", SL_URL_BOTH, ANY, NULL},

    /* llama.cpp's server: constraints */
    {"grammar", SL_URL_BOTH, EMPTY, GUIDED},
    {"grammar_type", SL_URL_BOTH, EMPTY, GUIDED},
    {"generation_prompt", SL_URL_BOTH, EMPTY, TEMPLATE},
    {"reasoning_control", SL_URL_BOTH, EMPTY, REASONING},
    {"reasoning_budget_message", SL_URL_BOTH, EMPTY, REASONING},
    {"json_schema", SL_URL_BOTH, NO | EMPTY_TEXT, GUIDED},
    {"grammar_lazy", SL_URL_BOTH, ANY, NULL},
    {"grammar_triggers", SL_URL_BOTH, ANY, NULL},
    {"preserved_tokens", SL_URL_BOTH, ANY, NULL},
    {"parse_tool_calls", SL_URL_BOTH, ANY, NULL},
    /* llama.cpp's server: sampling */
    {"mirostat", SL_URL_BOTH, OFF, SAMPLER},
    {"mirostat_tau", SL_URL_BOTH, ANY, NULL},
    {"mirostat_eta", SL_URL_BOTH, ANY, NULL},
    {"typical_p", SL_URL_BOTH, ONE, SAMPLER},
    {"typ_p", SL_URL_BOTH, ONE, SAMPLER},
    {"tfs_z", SL_URL_BOTH, ONE, SAMPLER},
    {"dynatemp_range", SL_URL_BOTH, OFF, SAMPLER},
    {"dynatemp_exponent", SL_URL_BOTH, ANY, NULL},
    {"dry_multiplier", SL_URL_BOTH, OFF, SAMPLER},
    {"dry_base", SL_URL_BOTH, ANY, NULL},
    {"dry_allowed_length", SL_URL_BOTH, ANY, NULL},
    {"dry_penalty_last_n", SL_URL_BOTH, ANY, NULL},
    {"dry_sequence_breakers", SL_URL_BOTH, ANY, NULL},
    {"xtc_probability", SL_URL_BOTH, OFF, SAMPLER},
    {"xtc_threshold", SL_URL_BOTH, ANY, NULL},
    {"top_n_sigma", SL_URL_BOTH, OFF | LESS, SAMPLER},
    {"adaptive_target", SL_URL_BOTH, LESS, SAMPLER},
    {"adaptive_decay", SL_URL_BOTH, ANY, NULL},
    {"min_keep", SL_URL_BOTH, OFF | ONE, SAMPLER},
    {"samplers", SL_URL_BOTH, EMPTY, "samplers have an order of their own"},
    {"penalize_nl", SL_URL_BOTH, NO, "line ends are penalized as any token"},
    {"n_probs", SL_URL_BOTH, OFF, "give logprobs"},
    {"post_sampling_probs", SL_URL_BOTH, NO, "log-probabilities are the model's own"},
    {"n_indent", SL_URL_BOTH, OFF, GUIDED},
    {"n_cmpl", SL_URL_BOTH, ONE, "give n"},
    {"t_max_predict_ms", SL_URL_BOTH, OFF | LESS, "no clock decides what is generated"},
    {"t_max_prompt_ms", SL_URL_BOTH, OFF | LESS, "no clock decides what is generated"},
    /* llama.cpp's server: prompts */
    {"input_prefix", SL_URL_BOTH, EMPTY, "text is not filled in"},
    {"input_suffix", SL_URL_BOTH, EMPTY, "text is not filled in"},
    {"input_extra", SL_URL_BOTH, EMPTY, "text is not filled in"},
    {"infill", SL_URL_BOTH, EMPTY, "text is not filled in"},
    {"system_prompt", SL_URL_BOTH, EMPTY, "give a message of role system"},
    {"image_data", SL_URL_BOTH, EMPTY, TEXT_ONLY},
    {"n_keep", SL_URL_BOTH, ANY, NULL}, /* no prompt is shifted out of the context */
    {"n_discard", SL_URL_BOTH, ANY, NULL},
    /* llama.cpp's server: the rest */
    {"lora", SL_URL_BOTH, EMPTY, LORA},
    {"return_tokens", SL_URL_BOTH, NO, SHAPE},
    {"response_fields", SL_URL_BOTH, EMPTY, SHAPE},
    {"reasoning_format", SL_URL_BOTH, EMPTY_TEXT | NO_TOOL, "reasoning is part of the text"},
    {"reasoning_budget", SL_URL_BOTH, LESS, REASONING},
    {"reasoning_budget_tokens", SL_URL_BOTH, LESS, REASONING},
    {"thinking_budget_tokens", SL_URL_BOTH, LESS, REASONING},
    {"thinking_forced_open", SL_URL_BOTH, NO, REASONING},
    {"cache_prompt", SL_URL_BOTH, ANY, NULL},
    {"n_cache_reuse", SL_URL_BOTH, ANY, NULL},
    {"id_slot", SL_URL_BOTH, ANY, NULL},
    {"slot_id", SL_URL_BOTH, ANY, NULL},
    {"timings_per_token", SL_URL_BOTH, ANY, NULL},
    {"return_progress", SL_URL_BOTH, ANY, NULL},
    {"sse_ping_interval", SL_URL_BOTH, ANY, NULL},
    {"backend_sampling", SL_URL_BOTH, ANY, NULL},
    {"verbose", SL_URL_BOTH, ANY, NULL},
    {"speculative.n_max", SL_URL_BOTH, ANY, NULL},
    {"speculative.n_min", SL_URL_BOTH, ANY, NULL},
    {"speculative.p_min", SL_URL_BOTH, ANY, NULL},
    {"speculative.type", SL_URL_BOTH, ANY, NULL},

    /* SGLang */
    {"regex", SL_URL_BOTH, EMPTY, GUIDED},
    {"ebnf", SL_URL_BOTH, EMPTY, GUIDED},
    {"stop_regex", SL_URL_BOTH, EMPTY, SAY_STOP},
    {"no_stop_trim", SL_URL_BOTH, NO, STOP_TEXT},
    {"separate_reasoning", SL_URL_BOTH, NO, "reasoning is part of the text"},
    {"stream_reasoning", SL_URL_BOTH, ANY, NULL},
    {"lora_path", SL_URL_BOTH, EMPTY, LORA},
    {"session_id", SL_URL_BOTH, EMPTY, "a request stands for itself"},
    {"session_params", SL_URL_BOTH, EMPTY, "a request stands for itself"},
    {"custom_params", SL_URL_BOTH, EMPTY, "no code of a request is run"},
    {"custom_logit_processor", SL_URL_BOTH, EMPTY, "no code of a request is run"},
    {"min_new_tokens", SL_URL_BOTH, OFF, "give min_tokens"},
    {"return_hidden_states", SL_URL_BOTH, NO, SHAPE},
    {"return_routed_experts", SL_URL_BOTH, NO, SHAPE},
    {"return_cached_tokens_details", SL_URL_BOTH, NO, SHAPE},
    {"routed_experts_start_len", SL_URL_BOTH, ANY, NULL},
    {"bootstrap_host", SL_URL_BOTH, ANY, NULL},
    {"bootstrap_port", SL_URL_BOTH, ANY, NULL},
    {"bootstrap_room", SL_URL_BOTH, ANY, NULL},
    {"data_parallel_rank", SL_URL_BOTH, ANY, NULL},
    {"routed_dp_rank", SL_URL_BOTH, ANY, NULL},
    {"disagg_prefill_dp_rank", SL_URL_BOTH, ANY, NULL},
    {"rid", SL_URL_BOTH, ANY, NULL},
    {"extra_key", SL_URL_BOTH, ANY, NULL},
    {"custom_labels", SL_URL_BOTH, ANY, NULL},
    {"images_config", SL_URL_BOTH, ANY, NULL},
    {"ngram_corpus_id", SL_URL_BOTH, ANY, NULL},

    /* TGI, transformers, and others that sample */
    {"max_new_tokens", SL_URL_BOTH, 0, SAY_LENGTH},
    {"max_length", SL_URL_BOTH, 0, SAY_LENGTH},
    {"min_length", SL_URL_BOTH, OFF, "give min_tokens"},
    {"stop_sequences", SL_URL_BOTH, EMPTY, SAY_STOP},
    {"do_sample", SL_URL_BOTH, YES, "give temperature 0"},
    {"num_beams", SL_URL_BOTH, OFF | ONE, BEAMS},
    {"no_repeat_ngram_size", SL_URL_BOTH, OFF, SAMPLER},
    {"encoder_repetition_penalty", SL_URL_BOTH, ONE, SAMPLER},
    {"diversity_penalty", SL_URL_BOTH, OFF, SAMPLER},
    {"penalty_alpha", SL_URL_BOTH, OFF, SAMPLER},
    {"guidance_scale", SL_URL_BOTH, ONE, SAMPLER},
    {"negative_prompt", SL_URL_BOTH, EMPTY, SAMPLER},
    {"top_a", SL_URL_BOTH, OFF, SAMPLER},
    {"tfs", SL_URL_BOTH, ONE, SAMPLER},
    {"epsilon_cutoff", SL_URL_BOTH, OFF, SAMPLER},
    {"eta_cutoff", SL_URL_BOTH, OFF, SAMPLER},
    {"smoothing_factor", SL_URL_BOTH, OFF, SAMPLER},
    {"smoothing_curve", SL_URL_BOTH, ANY, NULL},
    {"rep_pen", SL_URL_BOTH, ONE, SAY_PENALTY},
    {"watermark", SL_URL_BOTH, NO, SAMPLER},
    {"truncate", SL_URL_BOTH, 0, "give truncate_prompt_tokens"},
    {"return_full_text", SL_URL_BOTH, NO, "a completion's prompt is echoed by 'echo'"},
    {"decoder_input_details", SL_URL_BOTH, NO, SHAPE},
    {"top_n_tokens", SL_URL_BOTH, OFF, "give logprobs"},
    {"details", SL_URL_BOTH, ANY, NULL},
    {"adapter_id", SL_URL_BOTH, EMPTY, LORA},
    {"tool_prompt", SL_URL_BOTH, ANY, NULL},

    /* Ollama */
    {"options", SL_URL_BOTH, EMPTY, OLLAMA},
    {"format", SL_URL_BOTH, NO | EMPTY_TEXT, GUIDED},
    {"think", SL_URL_BOTH, 0, REASONING},
    {"template", SL_URL_BOTH, EMPTY, TEMPLATE},
    {"system", SL_URL_BOTH, EMPTY, "give a message of role system"},
    {"raw", SL_URL_BOTH, NO, TEMPLATE},
    {"images", SL_URL_BOTH, EMPTY, TEXT_ONLY},
    {"num_predict", SL_URL_BOTH, 0, SAY_LENGTH},
    {"num_ctx", SL_URL_BOTH, 0, "the context is chosen when the job starts: -c"},
    {"keep_alive", SL_URL_BOTH, ANY, NULL},

    /* those who serve other models */
    {"custom_token_bans", SL_URL_BOTH, EMPTY, "give logit_bias"},
    {"banned_tokens", SL_URL_BOTH, EMPTY, "give logit_bias"},
    {"banned_strings", SL_URL_BOTH, EMPTY, "give logit_bias"},
    {"suppress_tokens", SL_URL_BOTH, EMPTY, "give logit_bias"},
    {"bad_words_list", SL_URL_BOTH, EMPTY, "give logit_bias"},
    {"ban_eos_token", SL_URL_BOTH, NO, "give ignore_eos"},
    {"eos_token_id", SL_URL_BOTH, 0, "give stop_token_ids"},
    {"stop_words", SL_URL_BOTH, EMPTY, SAY_STOP},
    {"num_return_sequences", SL_URL_BOTH, ONE, "give n"},
    {"beam_width", SL_URL_BOTH, ONE, BEAMS},
    {"guided_decoding", SL_URL_BOTH, EMPTY, GUIDED},
    {"prompt_truncate_len", SL_URL_BOTH, 0, "give truncate_prompt_tokens"},
    {"cfg_scale", SL_URL_BOTH, ONE, SAMPLER},
    {"parameters", SL_URL_BOTH, EMPTY, OLLAMA},
    {"thinking", SL_URL_BOTH, 0, REASONING},
    {"enable_thinking", SL_URL_BOTH, 0, REASONING},
    {"thinking_budget", SL_URL_BOTH, 0, REASONING},
    {"reasoning", SL_URL_BOTH, EMPTY, REASONING},
    {"prompt_mode", SL_URL_BOTH, EMPTY, REASONING},
    {"safe_prompt", SL_URL_BOTH, NO, "give a message of role system"},
    {"random_seed", SL_URL_BOTH, 0, "give seed"},
    {"transforms", SL_URL_BOTH, EMPTY, "prompts are not shortened; truncate_prompt_tokens is"},
    {"plugins", SL_URL_BOTH, EMPTY, "nothing is searched for"},
    {"models", SL_URL_BOTH, EMPTY, "there is one model"},
    {"provider", SL_URL_BOTH, ANY, NULL},
    {"route", SL_URL_BOTH, ANY, NULL},
    {"usage", SL_URL_BOTH, ANY, NULL},
};

static bool asks_nothing(const json_t *value, unsigned harmless)
{
    unsigned is = 0;
    if (json_is_boolean(value)) is = json_is_true(value) ? YES : NO;
    if (json_is_number(value)) {
        const double number = json_number_value(value);
        is = number == 0 ? ZERO : number == 1 ? ONE : number < 0 ? LESS : 0;
    }
    if (json_is_string(value) && json_string_length(value) == 0) is = EMPTY_TEXT;
    if (json_is_array(value) && json_array_size(value) == 0) is = EMPTY_LIST;
    if (json_is_object(value) && json_object_size(value) == 0) is = EMPTY_OBJECT;
    if (sl_request_json_is(value, "none") || sl_request_json_is(value, "auto")) is = NO_TOOL;
    if (sl_request_json_is(value, "medium")) is = MEDIUM;
    if (sl_request_json_is(json_object_get(value, "type"), "text")) is = PLAIN_TEXT;
    if (json_array_size(value) == 1 && sl_request_json_is(json_array_get(value, 0), "text"))
        is = PLAIN_TEXT;
    return json_is_null(value) || harmless == ANY || (is & harmless) != 0;
}

bool sl_request_vocabulary_has(const char *name, unsigned where, const json_t *value,
                               const char **why_out)
{
    for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++) {
        if (!(WORDS[i].known & where) || strcmp(name, WORDS[i].name) != 0) continue;
        *why_out = asks_nothing(value, WORDS[i].harmless) ? NULL : WORDS[i].why;
        return true;
    }
    return false;
}
