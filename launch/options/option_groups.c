/* launch/options/option_groups.c - the table of shared options. */
#include "launch/options/option_groups.h"

#include "comm/codec/codec.h"
#include "runtime/gate/policy.h"
#include "runtime/kernels/kv_layout.h"

/* ---- what is read and written ---- */

const sl_option sl_options_model[] = {
    {"model", 'm', "FILE", NULL, "the model, a GGUF file", SL_SETS_READ(model)},
    {0},
};

const sl_option sl_options_chat_template[] = {
    {"chat-template", 0, "FILE", NULL, "a chat template to use instead of the model's",
     SL_SETS_READ(chat_template)},
    {"template-date", 0, "DATE", NULL,
     "YYYY-MM-DD, for chat templates that tell the model the date", SL_SETS_TEXT(template_date)},
    {0},
};

const sl_option sl_options_prompt[] = {
    {"prompt", 'p', "TEXT", NULL, "the prompt", SL_SETS_TEXT(prompt)},
    {"file", 'f', "FILE", NULL, "read the prompt from FILE (- is stdin)", SL_SETS_READ(file)},
    {0},
};

const sl_option sl_options_picture_name[] = {
    {"output", 'o', "NAME", NULL, "pictures and numbers are named after it", SL_SETS_TEXT(output)},
    {0},
};

const sl_option sl_options_picture_format[] = {
    {"format", 0, "NAME", "png", "of pictures: png, svg", SL_SETS_TEXT(format)},
    {0},
};

const sl_option sl_options_seed[] = {
    {"seed", 0, "N", "0", "of random draws", SL_SETS_SEED(seed)},
    {0},
};

/* ---- how much at the same time ---- */

const sl_option sl_options_context[] = {
    {"context", 'c', "N", "0", "longest sequence in tokens; 0 is the model's (eval: 512)",
     SL_SETS_COUNT(context, 0, 1 << 24)},
    {0},
};

const sl_option sl_options_threads[] = {
    {"threads", 't', "N", "0", "compute threads of a rank; 0: cores or quota / ranks on a host",
     SL_SETS_COUNT(threads, 0, 1024)},
    {0},
};

const sl_option sl_options_chunk[] = {
    {"chunk", 0, "N", "256", "prompt tokens that travel together", SL_SETS_COUNT(chunk, 1, 4096)},
    {0},
};

const sl_option sl_options_sequences[] = {
    {"sequences", 0, "N", "16", "sequences computed at the same time",
     SL_SETS_COUNT(sequences, 1, 1024)},
    {0},
};

const sl_option sl_options_memory[] = {
    {"memory", 0, "SIZE", "0", "of each rank, e.g. 8G; 0: 80% of what is free",
     SL_SETS_SIZE(memory)},
    {0},
};

const sl_option sl_options_lora[] = {
    {"lora", 0, "FILE[=X],...", NULL, "LoRA adapters of the model (GGUF), each X times [1]",
     SL_SETS_TEXT(lora)},
    {0},
};

/* ---- what the cache keeps ---- */

const sl_option sl_options_kv[] = {
    {"kv", 0, "NAME", "auto", "of keys and values in the cache: " SL_KV_NAMES, SL_SETS_TEXT(kv)},
    {0},
};

const sl_option sl_options_policy[] = {
    {"gate", 'g', "FILE", NULL, "Attention-Gates that decide what the cache keeps",
     SL_SETS_READ(gate)},
    {"policy", 0, "NAME", NULL,
     "what the cache keeps: " SL_POLICY_NAMES " [gate with -g, else full]", SL_SETS_TEXT(policy)},
    {"keep", 0, "RATE", NULL, "kept of tokens outside sinks and window [the gate's, else 0.5]",
     SL_SETS_REAL(keep, 1e-6, 1)},
    {0},
};

const sl_option sl_options_retention[] = {
    {"retention", 0, "FILE", NULL, "what each layer kept in a run before: --json of batch or eval",
     SL_SETS_READ(retention)},
    {0},
};

const sl_option sl_options_sinks[] = {
    {"sinks", 0, "N", NULL, "first tokens that stay visible [the gate's, else 4]",
     SL_SETS_COUNT(sinks, 0, 1 << 20)},
    {0},
};

const sl_option sl_options_window[] = {
    {"window", 0, "N", NULL, "latest tokens that stay visible [the gate's, else 128]",
     SL_SETS_COUNT(window, 1, 1 << 20)},
    {0},
};

/* ---- between ranks ---- */

const sl_option sl_options_codec[] = {
    {"codec", 0, "NAME", "f32", "of links: " SL_CODEC_NAMES, SL_SETS_TEXT(codec)},
    {0},
};

const sl_option sl_options_ranks[] = {
    {"peer-timeout", 0, "S", "5", "seconds of silence after which a rank is lost",
     SL_SETS_REAL(peer_timeout_s, 1, 86400)},
    {"trust-model", 0, NULL, NULL, "do not read rank 0's file to compare copies",
     SL_SETS_FLAG(trust_model)},
    {0},
};

/* ---- what is said ---- */

const sl_option sl_options_talk[] = {
    {"json", 0, NULL, NULL, "one JSON object on stdout", SL_SETS_FLAG(json)},
    {"verbose", 'v', NULL, NULL, "say more", SL_SETS_FLAG(verbose)},
    {"quiet", 'q', NULL, NULL, "say only errors", SL_SETS_FLAG(quiet)},
    {0},
};
