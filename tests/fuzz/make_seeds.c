/* tests/fuzz/make_seeds.c - the first inputs of each corpus, legal or nearly so; libFuzzer finds
 * the rest from them. make_seeds CORPUS_FOLDER writes CORPUS_FOLDER/TARGET/seed-*. */
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "comm/codec/codec.h"
#include "launch/train/train_checkpoint.h"
#include "proto/wire.h"
#include "proto/wire_seal.h"
#include "runtime/base/log.h"
#include "runtime/gguf/gguf_writer.h"
#include "runtime/model/sums.h"
#include "runtime/model/weights.h"
#include "tests/fuzz/fuzz_lora.h"
#include "tests/support/frame_maker.h"
#include "tests/support/made_gate.h"
#include "tests/support/made_lora.h"
#include "tests/support/synth_model.h"
#include "tests/support/tiny_model.h"

static const char *corpus;

static void save(const char *target, const char *name, const void *bytes, size_t n_bytes)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", corpus, target);
    mkdir(path, 0755);
    snprintf(path, sizeof path, "%s/%s/seed-%s", corpus, target, name);
    FILE *file = fopen(path, "wb");
    SL_ASSERT(file && fwrite(bytes, 1, n_bytes, file) == n_bytes && fclose(file) == 0);
}

/* ---- gguf ---- */

static void save_gguf(sl_gguf_writer *w, const char *name)
{
    size_t n_bytes;
    uint8_t *bytes = sl_gguf_writer_encode(w, &n_bytes);
    save("gguf", name, bytes, n_bytes);
    free(bytes);
    sl_gguf_writer_fini(w);
}

/* A value and an array of each kind that can be written, tensors of each type. */
static void make_kinds(void)
{
    static const uint8_t zeros[80];
    sl_gguf_writer w = {0};
    sl_gguf_put_u32(&w, "a.u32", 4000000000u);
    sl_gguf_put_i32(&w, "a.i32", -5);
    sl_gguf_put_u64(&w, "a.u64", UINT64_MAX);
    sl_gguf_put_f32(&w, "a.f32", 0.25F);
    sl_gguf_put_bool(&w, "a.bool", true);
    sl_gguf_put_string(&w, "a.text", "two\nlines, \x1b[31mred");
    sl_gguf_put_strings(&w, "a.texts", (const char *const[]){"one", "", "three"}, 3);
    sl_gguf_put_i32s(&w, "a.i32s", (const int32_t[]){1, -2, 3}, 3);
    sl_gguf_put_f32s(&w, "a.f32s", (const float[]){1.5F, -2}, 2);
    sl_gguf_put_u32(&w, "general.alignment", 32);
    sl_gguf_put_tensor(&w, "t.f32", SL_TYPE_F32, (const uint64_t[]){4, 3}, 2, zeros, 48);
    sl_gguf_put_tensor(&w, "t.f16", SL_TYPE_F16, (const uint64_t[]){5}, 1, zeros, 10);
    sl_gguf_put_tensor(&w, "t.q4_1", SL_TYPE_Q4_1, (const uint64_t[]){32, 1, 2, 1}, 4, zeros, 40);
    sl_gguf_put_tensor(&w, "t.q8_0", SL_TYPE_Q8_0, (const uint64_t[]){32}, 1, zeros, 34);
    sl_gguf_put_tensor(&w, "t.unknown", 24, (const uint64_t[]){256}, 1, zeros, 32);
    save_gguf(&w, "kinds");
}

/* A vocabulary of a few words is quicker to mutate than one of all bytes. */
static void put_words(sl_gguf_writer *w)
{
    static const char *const tokens[] = {"<|im_start|>", "<|im_end|>", "A",   "s",       "l", "u",
                                         "sl",           "lu",         "slu", "\xc4\xa0"};
    static const char *const merges[] = {"s l", "l u", "sl u"};
    enum { N_TOKENS = sizeof tokens / sizeof *tokens };
    const int32_t types[N_TOKENS] = {3, 4, 1, 1, 1, 1, 1, 1, 1, 1};
    sl_gguf_put_string(w, "tokenizer.ggml.model", "gpt2");
    sl_gguf_put_string(w, "tokenizer.ggml.pre", "smollm");
    sl_gguf_put_strings(w, "tokenizer.ggml.tokens", tokens, N_TOKENS);
    sl_gguf_put_i32s(w, "tokenizer.ggml.token_type", types, N_TOKENS);
    sl_gguf_put_strings(w, "tokenizer.ggml.merges", merges, 3);
    sl_gguf_put_u32(w, "tokenizer.ggml.bos_token_id", 0);
    sl_gguf_put_u32(w, "tokenizer.ggml.eos_token_id", 1);
    sl_gguf_put_bool(w, "tokenizer.ggml.add_bos_token", true);
    sl_gguf_put_string(w, "tokenizer.chat_template",
                       "{{'<|im_start|>system\\nA<|im_end|>'}}{% for message in messages %}"
                       "{{'<|im_start|>' + message['role'] + '\\n'}}{% endfor %}<|im_end|>");
}

static void put_zeros(sl_gguf_writer *w, const char *name, uint32_t type, uint64_t n_in,
                      uint64_t n_out)
{
    static const uint8_t zeros[32 * 32 * 4];
    size_t weights, bytes;
    SL_ASSERT(sl_type_block(type, &weights, &bytes));
    uint32_t n_dims = n_out > 1 ? 2 : 1;
    sl_gguf_put_tensor(w, name, type, (const uint64_t[]){n_in, n_out}, n_dims, zeros,
                       n_in / weights * n_out * bytes);
}

/* Keys of an architecture's own. */
static void put_shape(sl_gguf_writer *w, const char *architecture)
{
    static const struct {
        const char *name;
        uint32_t value;
    } numbers[] = {{"block_count", 1},          {"embedding_length", 32},
                   {"feed_forward_length", 32}, {"context_length", 64},
                   {"attention.head_count", 2}, {"attention.head_count_kv", 1}};
    char key[96];
    sl_gguf_put_string(w, "general.architecture", architecture);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        snprintf(key, sizeof key, "%s.%s", architecture, numbers[i].name);
        sl_gguf_put_u32(w, key, numbers[i].value);
    }
    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", architecture);
    sl_gguf_put_f32(w, key, 1e-5F);
}

/* One layer of width 32 with two heads of 16. */
static void make_model(const char *architecture, const char *name)
{
    sl_gguf_writer w = {0};
    put_shape(&w, architecture);
    put_words(&w);
    put_zeros(&w, "token_embd.weight", SL_TYPE_Q8_0, 32, 10);
    put_zeros(&w, "output_norm.weight", SL_TYPE_F32, 32, 1);
    put_zeros(&w, "blk.0.attn_norm.weight", SL_TYPE_F32, 32, 1);
    put_zeros(&w, "blk.0.attn_q.weight", SL_TYPE_Q4_1, 32, 32);
    put_zeros(&w, "blk.0.attn_k.weight", SL_TYPE_Q4_1, 32, 16);
    put_zeros(&w, "blk.0.attn_v.weight", SL_TYPE_Q4_1, 32, 16);
    put_zeros(&w, "blk.0.attn_output.weight", SL_TYPE_Q4_1, 32, 32);
    put_zeros(&w, "blk.0.ffn_norm.weight", SL_TYPE_F32, 32, 1);
    put_zeros(&w, "blk.0.ffn_gate.weight", SL_TYPE_Q4_1, 32, 32);
    put_zeros(&w, "blk.0.ffn_up.weight", SL_TYPE_Q4_1, 32, 32);
    put_zeros(&w, "blk.0.ffn_down.weight", SL_TYPE_Q4_1, 32, 32);
    if (strcmp(architecture, "qwen3") == 0) {
        put_zeros(&w, "blk.0.attn_q_norm.weight", SL_TYPE_F32, 16, 1);
        put_zeros(&w, "blk.0.attn_k_norm.weight", SL_TYPE_F32, 16, 1);
    }
    save_gguf(&w, name);
}

static void make_tokenizers(void)
{
    sl_gguf_writer w = {0};
    put_words(&w);
    save_gguf(&w, "words");
    size_t n_bytes;
    uint8_t *bytes = tiny_gguf_make(TINY_WITH_BOS, &n_bytes);
    save("gguf", "all-bytes", bytes, n_bytes);
    free(bytes);
}

/* ---- frame: fuzz_frame.c's first byte is the kind, a sealed frame's second its payload ---- */

enum { SEALED_FRAME = 3, SEALED_HELLO = 4, SEALED_JOB = 5 };
enum { PAYLOAD_BYTES = 40, MAGIC_BYTES = 4 };

/* As it is sent, and without its seal. */
static void save_both(const char *name, uint8_t kind, const uint8_t *message, size_t n_bytes,
                      size_t seal_at, size_t payload_bytes)
{
    uint8_t *input = malloc(n_bytes + 2);
    char sealed[32];
    SL_ASSERT(input);
    input[0] = kind - SEALED_FRAME;
    memcpy(input + 1, message, n_bytes);
    save("frame", name, input, n_bytes + 1);
    size_t head = kind == SEALED_FRAME ? 2 : 1, body = seal_at + SL_SEAL_BYTES;
    input[0] = kind;
    input[1] = (uint8_t)payload_bytes;
    memcpy(input + head, message + body, n_bytes - body);
    snprintf(sealed, sizeof sealed, "%s-sealed", name);
    save("frame", sealed, input, head + n_bytes - body);
    free(input);
}

static void save_frame(const char *name, const sl_frame *frame, const sl_frame_limits *limits,
                       size_t payload_bytes)
{
    sl_wire *wire;
    size_t header_max = sl_wire_header_bytes_max(limits), n_bytes;
    uint8_t *room = calloc(1, header_max + PAYLOAD_BYTES);
    const uint8_t *message;
    const sl_wire_payload payload = {.codec = payload_bytes > 0, .n_bytes = payload_bytes};
    SL_ASSERT(room && sl_wire_open(limits, &wire) == SL_OK);
    for (size_t i = 0; i < PAYLOAD_BYTES; i++) room[header_max + i] = (uint8_t)i;
    SL_ASSERT(sl_wire_encode_frame(wire, frame, &payload, room, &message, &n_bytes) == SL_OK);
    save_both(name, SEALED_FRAME, message, n_bytes, 0, payload_bytes);
    sl_wire_close(wire);
    free(room);
}

/* Two prompts and a fork: what a stage computes to the end. */
static void fill_prompts(sl_frame *frame)
{
    const sl_sampling sampling = {.temperature = 0.5F,
                                  .top_k = 5,
                                  .top_p = 0.9F,
                                  .min_p = 0.1F,
                                  .repetition_penalty = 1.1F,
                                  .presence_penalty = 0.1F,
                                  .frequency_penalty = 0.1F,
                                  .seed = 7,
                                  .n_logprobs = 2,
                                  .n_bias = 1,
                                  .bias = {{65, 1.5F}},
                                  .min_tokens = 3,
                                  .n_ends = 2,
                                  .ends = {0, 66}};
    sl_frame_reset(frame, 0);
    frame->controls[0] = (sl_control){
        .kind = SL_CONTROL_OPEN, .sequence = 1, .parent = 0, .n_prompt = 6, .sampling = sampling};
    frame->controls[1] = (sl_control){
        .kind = SL_CONTROL_OPEN, .sequence = 2, .parent = 0, .n_prompt = 6, .sampling = sampling};
    frame->controls[2] = (sl_control){
        .kind = SL_CONTROL_FORK, .sequence = 3, .parent = 1, .n_prompt = 6, .sampling = sampling};
    frame->n_controls = 3;
    frame->spans[0] = (sl_span){.kind = SL_SPAN_DECODE,
                                .sequence = 3,
                                .position = 0,
                                .first_row = 0,
                                .n_tokens = 1,
                                .sample = true,
                                .score_from = 1,
                                .next_token = -1};
    frame->spans[1] = (sl_span){.kind = SL_SPAN_PROMPT,
                                .sequence = 1,
                                .position = 0,
                                .first_row = 1,
                                .n_tokens = 4,
                                .sample = true,
                                .score_from = 1,
                                .next_token = -1};
    frame->spans[2] = (sl_span){.kind = SL_SPAN_PROMPT,
                                .sequence = 2,
                                .position = 0,
                                .first_row = 5,
                                .n_tokens = 3,
                                .sample = false,
                                .score_from = 0,
                                .next_token = 9};
    frame->n_spans = 3;
    frame->n_rows = 8;
    for (int32_t i = 0; i < 8; i++) frame->tokens[i] = 60 + i;
}

static void make_frames(void)
{
    const sl_frame_limits limits = {.rows_max = 12,
                                    .spans_max = 5,
                                    .controls_max = 4,
                                    .ranks = 3,
                                    .width = 32,
                                    .n_layers = 2,
                                    .n_kv_heads = 2};
    sl_arena arena;
    sl_frame frame;
    sl_arena_init(&arena, NULL, 0);
    sl_frame_init(&frame, &limits, SL_FRAME_WITHOUT_HIDDEN, &arena);
    size_t bytes = arena.used_bytes;
    void *storage;
    SL_ASSERT(sl_storage_take(bytes, "a frame", &storage) == SL_OK);
    sl_arena_init(&arena, storage, bytes);
    sl_frame_init(&frame, &limits, SL_FRAME_WITHOUT_HIDDEN, &arena);

    sl_frame_reset(&frame, 5);
    save_frame("empty", &frame, &limits, 0);
    fill_prompts(&frame);
    save_frame("prompts", &frame, &limits, 0);
    save_frame("payload", &frame, &limits, PAYLOAD_BYTES);
    frame.controls[0] = (sl_control){.kind = SL_CONTROL_CLOSE, .sequence = 1};
    frame.controls[1] = (sl_control){.kind = SL_CONTROL_STOP};
    frame.n_controls = 2;
    frame.n_spans = frame.n_rows = 0;
    frame.results[0] = (sl_token_result){.kind = SL_RESULT_SAMPLED,
                                         .sequence = 1,
                                         .position = 4,
                                         .token = 70,
                                         .logprob = -0.5F,
                                         .n_top = 2,
                                         .top = {{70, -0.5F}, {71, -1.0F}}};
    frame.results[1] = (sl_token_result){.kind = SL_RESULT_SCORED,
                                         .sequence = 2,
                                         .position = 1,
                                         .token = 65,
                                         .logprob = -2.5F,
                                         .compared = true,
                                         .kl = 0.25F};
    frame.n_results = 2;
    for (uint32_t i = 0; i < 3; i++)
        frame.ledger[i] = (sl_ledger_row){
            .rank = i, .pages_used = 1, .compute_ns = 3, .seen = 6, .peak_bytes = 8};
    frame.n_ledger = 3;
    for (uint32_t i = 0; i < 4; i++)
        frame.heads[i] = (sl_head_account){.kept = 1000 * i, .pages = i};
    frame.n_heads = 4;
    save_frame("results", &frame, &limits, 0);
    sl_storage_release(storage, bytes);
}

static void make_records(void)
{
    const sl_hello hello = {.version = SL_WIRE_VERSION,
                            .build = "0.1.0-gabc",
                            .kernels = "avx512",
                            .host = "node1",
                            .threads = 2,
                            .options_hash = 3,
                            .model_hash = 4,
                            .memory_limit = 5,
                            .pages_total = 5,
                            .planned_bytes = 6};
    uint8_t bytes[SL_JOB_IDENTITY_BYTES_MAX];
    sl_wire_encode_hello(&hello, bytes);
    size_t n_bytes = SL_SEAL_BYTES + bytes[0]; /* the rest is padding */
    save_both("hello", SEALED_HELLO, bytes, n_bytes, 0, 0);
    const sl_job_identity job = {
        .model_hash = 1, .gate_hash = 2, .n_options = 2, .options = {{"window", "128"}, {"a", ""}}};
    SL_ASSERT(sl_wire_encode_job(&job, bytes, sizeof bytes, &n_bytes) == SL_OK);
    save_both("job", SEALED_JOB, bytes, n_bytes, MAGIC_BYTES, 0);
}

/* ---- journals: a byte that says whether bodies are to be sealed, then the file ---- */

/* The same as bodies, each behind its length. */
static void save_bodies(const char *name, const uint8_t *journal, size_t n)
{
    uint8_t input[SL_JOB_IDENTITY_BYTES_MAX] = {1};
    size_t used = 1;
    for (size_t at = MAGIC_BYTES; at < n;) {
        size_t body = journal[at] | (size_t)journal[at + 1] << 8;
        input[used++] = (uint8_t)body;
        input[used++] = (uint8_t)(body >> 8);
        memcpy(input + used, journal + at + SL_SEAL_BYTES, body);
        used += body;
        at += SL_SEAL_BYTES + body;
    }
    save("journal", name, input, used);
}

static void make_journals(void)
{
    uint8_t input[SL_JOB_IDENTITY_BYTES_MAX] = {0}, *bytes = input + 1;
    const sl_job_identity job = {
        .model_hash = 1, .numerics = "avx512/f16", .n_options = 1, .options = {{"window", "128"}}};
    size_t n;
    SL_ASSERT(sl_wire_encode_job(&job, bytes, sizeof input - 1, &n) == SL_OK);
    save_bodies("begun", bytes, n);
    for (uint64_t i = 0; i < 3; i++) {
        sl_job_entry entry = {.offset = 200 * i,
                              .n_bytes = 200,
                              .body_hash = i,
                              .record_hash_low = i * i,
                              .record_hash_high = ~i};
        n += sl_wire_encode_job_entry(&entry, bytes + n);
    }
    save_bodies("entries", bytes, n);
    save("journal", "whole", input, 1 + n);
    save("journal", "half", input, 1 + n - 9);
    bytes[n - 100] ^= 1;
    save("journal", "damaged", input, 1 + n);
}

/* ---- codec: a number, a count of floats, a payload ---- */

static void save_payload(const char *name, sl_codec_kind kind, const float *values, size_t n)
{
    sl_codec *codec;
    size_t bytes_max = sl_codec_bytes_max(n), n_bytes;
    uint8_t *input = malloc(3 + bytes_max);
    sl_codec_kind as;
    SL_ASSERT(input && sl_codec_open(kind, n, &codec) == SL_OK);
    SL_ASSERT(sl_codec_encode(codec, values, n, input + 3, bytes_max, &as, &n_bytes) == SL_OK);
    input[0] = (uint8_t)as;
    input[1] = (uint8_t)n;
    input[2] = (uint8_t)(n >> 8);
    SL_ASSERT(as == kind); /* not too few */
    save("codec", name, input, 3 + n_bytes);
    sl_codec_close(codec);
    free(input);
}

static void make_payloads(void)
{
    enum { LEAST_BYTES = 8192, N_MAX = 8192, FEW = 96 }; /* fewer bytes go without zstd */
    static float values[N_MAX];
    seeded random = seeded_from(1);
    for (size_t i = 0; i < N_MAX; i++) { /* uneven in their exponents, and as int8 */
        float x = seeded_real(&random);
        values[i] = x * x * x;
    }
    for (int kind = 1; kind <= SL_CODEC_KINDS; kind++) {
        static const size_t value_bytes[] = {4, 2, 1};
        size_t n_zstd = LEAST_BYTES / value_bytes[(kind - 1) / 2];
        bool zstd = kind % 2 == 0;
        save_payload(sl_codec_kind_name((sl_codec_kind)kind), (sl_codec_kind)kind, values,
                     zstd ? n_zstd : FEW);
    }
}

/* ---- gates ---- */

static void save_gate(const char *name, const sl_gate_shape *shape, uint32_t n_layers)
{
    static const float retention[2 * 3 * 2] = {0.5F, 0.25F};
    sl_gate_calibration rows[] = {
        {.keep = 0.5F, .threshold = -1, .window = 128, .retention = retention},
        {.keep = 0.25F, .window = 16, .retention = retention + 6}};
    char path[PATH_MAX];
    made_gate made;
    seeded random = seeded_from(1);
    made_gate_open(&made, shape, n_layers, 2, 32, &random);
    made.gate.window = 16;
    made.gate.calibration = rows;
    made.gate.n_calibration = n_layers == 3 ? 2 : 0;
    made.layers[0].shape.span = n_layers == 3 ? SL_GATE_WINDOW : shape->span;
    snprintf(path, sizeof path, "%s/gate", corpus);
    mkdir(path, 0755);
    snprintf(path, sizeof path, "%s/gate/seed-%s", corpus, name);
    SL_ASSERT(sl_gate_file_write(path, &made.gate) == SL_OK);
    made_gate_close(&made);
}

static void make_gates(void)
{
    save_gate("linear", &(sl_gate_shape){.span = SL_GATE_WINDOW, .back = 3, .ahead = 2}, 3);
    save_gate(
        "window",
        &(sl_gate_shape){.span = SL_GATE_WINDOW, .back = 4, .ahead = 1, .heads = 1, .width = 16},
        1);
    save_gate(
        "prompt",
        &(sl_gate_shape){
            .span = SL_GATE_PROMPT, .heads = 2, .width = 16, .kv = SL_GATE_OWN_KV, .hidden = 3},
        1);
    save_gate("causal", &(sl_gate_shape){.span = SL_GATE_CAUSAL, .hidden = 4}, 2);
    save_gate("absent", &(sl_gate_shape){.span = SL_GATE_ABSENT}, 2);
}

/* ---- adapters ---- */

static void save_lora(const char *name, const made_lora_options *o, const sl_model_shape *shape)
{
    static made_lora made;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/lora", corpus);
    mkdir(path, 0755);
    snprintf(path, sizeof path, "%s/lora/seed-%s", corpus, name);
    made_lora_open(&made, o, shape);
    SL_ASSERT(sl_lora_file_write(path, "llama", 8, made.updates, made.n) == SL_OK);
    made_lora_close(&made);
}

static void make_loras(void)
{
    synth_model model;
    sl_model_shape shape;
    synth_shape s = fuzz_lora_model();
    synth_model_open(&model, &s);
    SL_ASSERT(sl_model_shape_read(model.gguf, &shape) == SL_OK);
    save_lora("attention",
              &(made_lora_options){
                  .rank = 2, .type = SL_TYPE_F16, .maps = MADE_LORA_ATTENTION, .strength = 1},
              &shape);
    save_lora("floats",
              &(made_lora_options){
                  .rank = 1, .type = MADE_LORA_MIXED, .maps = MADE_LORA_ALL, .strength = 1},
              &shape);
    save_lora("q8_0",
              &(made_lora_options){
                  .rank = 32, .type = SL_TYPE_Q8_0, .maps = 1 << SL_MAP_K, .strength = 1},
              &shape);
    synth_model_close(&model);
}

/* ---- checkpoints: fuzz_checkpoint.c's run and state ---- */

static void make_checkpoint(void)
{
    static const uint8_t state[16] = {1, 2, 3};
    const sl_train_point point = {.run = 7, .round = 3, .seconds = 1.5};
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/checkpoint", corpus);
    mkdir(path, 0755);
    snprintf(path, sizeof path, "%s/checkpoint/seed-whole", corpus);
    SL_ASSERT(sl_train_checkpoint_save(path, &point, state, sizeof state) == SL_OK);
}

/* ---- sums ---- */

static void make_sums(void)
{
    tiny_model model;
    sl_sums sums;
    size_t n_bytes;
    tiny_model_open(TINY_WITHOUT_BOS, &model);
    SL_ASSERT(sl_sums_init(model.gguf, 3, &sums) == SL_OK);
    for (uint32_t i = 0; i < sums.n; i++) sums.sums[i] = i + 1;
    char *text = sl_sums_text(model.gguf, &sums, &n_bytes);
    SL_ASSERT(text);
    save("sums", "whole", text, n_bytes);
    save("sums", "without-checksum", text, n_bytes - strlen("checksum 0123456789abcdef\n"));
    free(text);
    sl_sums_fini(&sums);
    tiny_model_close(&model);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: make_seeds CORPUS_FOLDER\n");
        return 2;
    }
    corpus = argv[1];
    make_kinds();
    make_model("llama", "model");
    make_model("qwen2", "model-qwen2");
    make_model("qwen3", "model-qwen3");
    make_model("smollm3", "model-smollm3");
    make_tokenizers();
    make_frames();
    make_records();
    make_journals();
    make_payloads();
    make_gates();
    make_loras();
    make_checkpoint();
    make_sums();
    return 0;
}
