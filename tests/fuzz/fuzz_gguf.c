/* tests/fuzz/fuzz_gguf.c - the input is a GGUF file: opened, described, every value and tensor byte
 * read, and, as far as it claims to be one, a model, its tokenizer and its chat template. */
#include <stdlib.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/gguf/gguf.h"
#include "runtime/model/weights.h"
#include "runtime/text/chat.h"
#include "runtime/text/tokenizer.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    return 0;
}

/* Bytes that are claimed to be there are really read. */
static volatile uint8_t sink;

static void touch(const void *bytes, size_t n)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < n; i++) sum ^= ((const uint8_t *)bytes)[i];
    sink = sum;
}

/* ---- keys ---- */

static void read_arrays(const sl_gguf *gguf, const char *key)
{
    enum { ITEMS_MAX = 64 };
    int32_t integers[ITEMS_MAX];
    float reals[ITEMS_MAX];
    const sl_text *texts;
    size_t n;
    if (sl_gguf_i32_array(gguf, key, integers, ITEMS_MAX, &n)) SL_ASSERT(n <= ITEMS_MAX);
    if (sl_gguf_f32_array(gguf, key, reals, ITEMS_MAX, &n)) SL_ASSERT(n <= ITEMS_MAX);
    if (!sl_gguf_text_array(gguf, key, &texts, &n)) return;
    for (size_t i = 0; i < n; i++) touch(texts[i].data, texts[i].bytes);
}

static void read_value(const sl_gguf *gguf, const char *key)
{
    uint32_t u;
    int32_t i;
    float f;
    bool b;
    sl_text text;
    bool whole = sl_gguf_u32(gguf, key, &u);
    whole |= sl_gguf_i32(gguf, key, &i);
    int kinds = whole + sl_gguf_f32(gguf, key, &f) + sl_gguf_bool(gguf, key, &b);
    if (sl_gguf_text(gguf, key, &text)) {
        kinds++;
        touch(text.data, text.bytes);
    }
    SL_ASSERT(kinds <= 1); /* a value is of one kind, whoever asks */
    SL_ASSERT(kinds == 0 || sl_gguf_has(gguf, key));
    read_arrays(gguf, key);
}

/* A description begins with its key, up to 80 bytes of it, and is one line that leaves a terminal
 * as it was. */
static void read_keys(const sl_gguf *gguf)
{
    for (size_t i = 0; i < sl_gguf_n_keys(gguf); i++) {
        char text[256], cut[16];
        SL_ASSERT(sl_gguf_describe_key(gguf, i, text, sizeof text) >= 0);
        SL_ASSERT(sl_gguf_describe_key(gguf, i, cut, sizeof cut) >= 0);
        SL_ASSERT(strlen(cut) < sizeof cut);
        for (const char *c = text; *c; c++) SL_ASSERT((uint8_t)*c >= ' ' && *c != 127);
        char *end = strstr(text, " = ");
        if (end) *end = '\0';
        read_value(gguf, text);
    }
}

/* ---- tensors and what they make ---- */

static void read_tensors(const sl_gguf *gguf)
{
    for (size_t i = 0; i < sl_gguf_n_tensors(gguf); i++) {
        const sl_gguf_tensor *t = sl_gguf_tensor_at(gguf, i);
        touch(t->name.data, t->name.bytes);
        touch(t->data, t->data_bytes);
        SL_ASSERT(sl_type_name(t->type));
        char name[64] = "";
        if (t->name.bytes >= sizeof name || memchr(t->name.data, '\0', t->name.bytes)) continue;
        memcpy(name, t->name.data, t->name.bytes);
        SL_ASSERT(sl_gguf_find(gguf, name) == t);
    }
}

static void read_model(const sl_gguf *gguf)
{
    sl_model_shape shape;
    if (sl_model_shape_read(gguf, &shape) != SL_OK) return;
    uint64_t whole = sl_weights_bytes(gguf, &shape, 0, shape.n_layers), layers = 0;
    for (uint32_t i = 0; i < shape.n_layers; i++) layers += sl_weights_layer_bytes(gguf, i);
    SL_ASSERT(layers < whole && whole <= sl_gguf_bytes(gguf));

    sl_arena arena;
    sl_weights weights;
    sl_arena_init(&arena, NULL, 0);
    sl_weights_bind(gguf, &shape, 0, shape.n_layers, &arena, &weights);
    size_t bytes = arena.used_bytes;
    void *storage;
    SL_ASSERT(sl_storage_take(bytes, "weights", &storage) == SL_OK);
    sl_arena_init(&arena, storage, bytes);
    sl_weights_bind(gguf, &shape, 0, shape.n_layers, &arena, &weights);
    sl_sums sums, all;
    sl_team *team;
    SL_ASSERT(sl_team_open(&(sl_team_options){.threads = 1}, &team) == SL_OK);
    SL_ASSERT(sl_sums_init(gguf, shape.n_layers, &sums) == SL_OK);
    SL_ASSERT(sl_sums_whole(gguf, shape.n_layers, &all) == SL_OK);
    SL_ASSERT(sl_weights_load(gguf, &weights, team, &sums) == SL_OK);
    SL_ASSERT(sl_sums_model(&sums) == sl_sums_model(&all));
    sl_sums_fini(&all);
    sl_sums_fini(&sums);
    sl_team_close(team);
    sl_storage_release(storage, bytes);
}

static void read_tokenizer(const sl_gguf *gguf)
{
    static const char text[] = "A sluice, 12 gates: \xc3\xa9\xff\n  <|im_end|>";
    sl_tokenizer *tokenizer;
    if (sl_tokenizer_open(gguf, &tokenizer) != SL_OK) return;
    sl_tokens ids = {0};
    SL_ASSERT(sl_tokenizer_encode(tokenizer, text, sizeof text - 1, SL_SPECIAL_PARSED, &ids) ==
              SL_OK);
    sl_chat *chat;
    if (sl_chat_open(gguf, tokenizer, &chat) == SL_OK && chat) {
        const sl_chat_message message = {{"user", 4}, {text, sizeof text - 1}};
        sl_jinja_error error;
        sl_chat_encode(chat, &message, 1, &ids, &error);
        sl_chat_close(chat);
    }
    sl_decode_state state = {0};
    char *out = malloc(sl_tokenizer_decode_bytes_max(tokenizer));
    for (size_t i = 0; out && i < ids.n; i++) {
        SL_ASSERT(ids.ids[i] >= 0 && ids.ids[i] < sl_tokenizer_n_tokens(tokenizer));
        SL_ASSERT(sl_tokenizer_decode(tokenizer, &state, ids.ids[i], out) <=
                  sl_tokenizer_decode_bytes_max(tokenizer));
    }
    free(out);
    sl_tokens_free(&ids);
    sl_tokenizer_close(tokenizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sl_gguf *gguf = NULL;
    int errors = sl_log_errors();
    sl_status status = sl_gguf_open_memory(data, size, "input", &gguf);
    SL_ASSERT((status == SL_OK) == (gguf != NULL));
    SL_ASSERT(sl_log_errors() - errors == (status != SL_OK)); /* it says why, once */
    if (status != SL_OK) return 0;
    read_keys(gguf);
    read_tensors(gguf);
    read_model(gguf);
    read_tokenizer(gguf);
    sl_gguf_close(gguf);
    return 0;
}
