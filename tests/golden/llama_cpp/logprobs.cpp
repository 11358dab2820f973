/* tests/golden/llama_cpp/logprobs.cpp - what llama.cpp gives each next token, for make.py.
 *   logprobs MODEL.gguf IDS.i32 OUT.f32 [ADAPTER.gguf SCALE]...
 * IDS: n token ids. OUT: the natural log-probabilities of ids 1 to n - 1, each after all before it.
 * Everything in f32, on the CPU: the cache, and attention without its flash kernel. */
#include <llama.h>
#include <cmath>
#include <cstdio>
#include <cstdlib>

enum { IDS_MAX = 1 << 16, BATCH = 256, THREADS = 2, ADAPTERS_MAX = 8 };

#define REQUIRE(condition, what)                     \
    do {                                             \
        if (!(condition)) {                          \
            fprintf(stderr, "logprobs: %s\n", what); \
            exit(1);                                 \
        }                                            \
    } while (0)

static void keep_quiet(ggml_log_level level, const char *text, void *unused)
{
    (void)unused;
    if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

static int read_ids(const char *path, int32_t *ids)
{
    FILE *file = fopen(path, "rb");
    REQUIRE(file, "the ids cannot be opened");
    int n = (int)fread(ids, sizeof *ids, IDS_MAX, file);
    fclose(file);
    REQUIRE(n > 1 && n < IDS_MAX, "too few or too many ids");
    return n;
}

static float log_probability(const float *logits, int n, int32_t token)
{
    double largest = logits[0], sum = 0;
    for (int i = 1; i < n; i++) largest = fmax(largest, logits[i]);
    for (int i = 0; i < n; i++) sum += exp(logits[i] - largest);
    return (float)(logits[token] - largest - log(sum));
}

static llama_context *open_context(llama_model *model, int n)
{
    llama_context_params params = llama_context_default_params();
    params.n_ctx = (uint32_t)n;
    params.n_batch = params.n_ubatch = BATCH;
    params.n_threads = params.n_threads_batch = THREADS;
    params.type_k = params.type_v = GGML_TYPE_F32;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    return llama_init_from_model(model, params);
}

/* words: [n][2], a file and its scale. */
static void set_adapters(llama_model *model, llama_context *context, char **words, int n)
{
    llama_adapter_lora *adapters[ADAPTERS_MAX];
    float scales[ADAPTERS_MAX];
    REQUIRE(n <= ADAPTERS_MAX, "too many adapters");
    for (int i = 0; i < n; i++) {
        adapters[i] = llama_adapter_lora_init(model, words[2 * i]);
        REQUIRE(adapters[i], "an adapter was refused");
        scales[i] = strtof(words[2 * i + 1], nullptr);
    }
    REQUIRE(llama_set_adapters_lora(context, adapters, (size_t)n, scales) == 0,
            "the adapters cannot be set");
}

static void evaluate(llama_context *context, int vocab, const int32_t *ids, int n,
                     float *out)
{
    llama_batch batch = llama_batch_init(BATCH, 0, 1);
    for (int at = 0; at < n; at += BATCH) {
        batch.n_tokens = n - at < BATCH ? n - at : BATCH;
        for (int i = 0; i < batch.n_tokens; i++) {
            batch.token[i] = ids[at + i];
            batch.pos[i] = at + i;
            batch.n_seq_id[i] = 1;
            batch.seq_id[i][0] = 0;
            batch.logits[i] = 1;
        }
        REQUIRE(llama_decode(context, batch) == 0, "a batch was refused");
        for (int i = 0; i < batch.n_tokens && at + i + 1 < n; i++)
            out[at + i] = log_probability(llama_get_logits_ith(context, i), vocab, ids[at + i + 1]);
    }
    llama_batch_free(batch);
}

int main(int argc, char **argv)
{
    static int32_t ids[IDS_MAX];
    static float out[IDS_MAX];
    REQUIRE(argc >= 4 && argc % 2 == 0,
            "usage: logprobs MODEL.gguf IDS.i32 OUT.f32 [ADAPTER.gguf SCALE]...");
    int n = read_ids(argv[2], ids);
    llama_log_set(keep_quiet, nullptr);
    llama_backend_init();
    llama_model *model = llama_model_load_from_file(argv[1], llama_model_default_params());
    REQUIRE(model, "the model was refused");
    llama_context *context = open_context(model, n);
    REQUIRE(context, "no context of that many tokens");
    if (argc > 4) set_adapters(model, context, argv + 4, (argc - 4) / 2);
    evaluate(context, llama_vocab_n_tokens(llama_model_get_vocab(model)), ids, n, out);
    FILE *file = fopen(argv[3], "wb");
    REQUIRE(file && fwrite(out, sizeof *out, (size_t)n - 1, file) == (size_t)n - 1 &&
                fclose(file) == 0,
            "the result cannot be written");
    llama_free(context);
    llama_model_free(model);
    return 0;
}
