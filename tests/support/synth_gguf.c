/* tests/support/synth_gguf.c - random tensors under their names in files, quantized as ggml does
 * it. */
#include "tests/support/synth_gguf.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/log.h"
#include "tests/support/seeded.h"
#include "tests/support/synth_blocks.h"
#include "tests/support/synth_vocab.h"

enum { BLOCK = 32 }; /* values that are encoded at once, of any type */

/* What the layers of an architecture have beside a Llama's. */
typedef struct {
    const char *name;
    bool qkv_biases, qk_norms, post_norms;
} traits;

static const traits ARCHITECTURES[] = {
    {.name = "llama"},
    {.name = "qwen2", .qkv_biases = true},
    {.name = "qwen3", .qk_norms = true},
    {.name = "smollm3"},
    {.name = "gemma3", .qk_norms = true, .post_norms = true},
};

static const traits *traits_of(const char *name)
{
    if (!name) return &ARCHITECTURES[0];
    for (size_t i = 0; i < sizeof ARCHITECTURES / sizeof *ARCHITECTURES; i++)
        if (strcmp(name, ARCHITECTURES[i].name) == 0) return &ARCHITECTURES[i];
    return NULL;
}

bool synth_architecture_known(const char *name) { return traits_of(name) != NULL; }

typedef struct {
    const synth_shape *shape;
    const traits *traits;
    sl_gguf_writer *parts; /* [n_parts] */
    uint32_t n_parts;
    uint64_t n_tensors; /* of all parts; not used for one */
    uint64_t n_added;
    seeded random;
} maker;

static void add_tensor(maker *m, const char *name, uint32_t type, const uint64_t *dims,
                       uint32_t n_dims, const void *data, size_t n_bytes)
{
    uint64_t part = m->n_parts > 1 ? m->n_added * m->n_parts / m->n_tensors : 0;
    sl_gguf_put_tensor(&m->parts[part], name, type, dims, n_dims, data, n_bytes);
    m->n_added++;
}

/* Mean 0, deviation 1: the sum of four uniforms is normal enough, and exact everywhere,
 * where a logarithm and a cosine would be the C library's own. */
static float next_normal(seeded *random)
{
    uint64_t bits = seeded_bits(random);
    int32_t sum = 0;
    for (int i = 0; i < 4; i++) sum += (int32_t)(bits >> 16 * i & 0xffff);
    return (float)(2 * sum - 4 * 0xffff) * (1.7320508f / 131072);
}

static void encode_f16(const float *x, uint8_t *out)
{
    uint16_t half[BLOCK];
    for (int i = 0; i < BLOCK; i++) half[i] = synth_half(x[i]);
    memcpy(out, half, sizeof half);
}

/* The upper half of an f32, to nearest even. */
static void encode_bf16(const float *x, uint8_t *out)
{
    for (int i = 0; i < BLOCK; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits += 0x7fff + (bits >> 16 & 1);
        uint16_t upper = (uint16_t)(bits >> 16);
        memcpy(out + 2 * i, &upper, sizeof upper);
    }
}

/* d = max|x| / 127, q = round(x / d). Layout: d as f16, 32 x int8. */
static void encode_q8_0(const float *x, uint8_t *out)
{
    float largest = 0;
    for (int i = 0; i < BLOCK; i++) largest = fmaxf(largest, fabsf(x[i]));
    float d = largest / 127;
    uint16_t half = synth_half(d);
    memcpy(out, &half, sizeof half);
    for (int i = 0; i < BLOCK; i++) out[2 + i] = (uint8_t)(int8_t)(d > 0 ? lrintf(x[i] / d) : 0);
}

static uint8_t nibble(float x, float low, float d)
{
    long q = d != 0 ? lrintf((x - low) / d) : 0;
    return (uint8_t)(q < 0 ? 0 : q > 15 ? 15 : q);
}

/* x = d (q - 8), q in 0..15: the largest magnitude is at -8. Layout: d as f16, then bytes as
 * q4_1. */
static void encode_q4_0(const float *x, uint8_t *out)
{
    float largest = 0;
    for (int i = 0; i < BLOCK; i++)
        if (fabsf(x[i]) > fabsf(largest)) largest = x[i];
    float d = largest / -8, low = largest;
    uint16_t half = synth_half(d);
    memcpy(out, &half, sizeof half);
    for (int i = 0; i < BLOCK / 2; i++)
        out[2 + i] = (uint8_t)(nibble(x[i], low, d) | nibble(x[i + BLOCK / 2], low, d) << 4);
}

/* x = d q + low, q in 0..15. Layout: d and low as f16, then bytes of q[i] | q[i + 16] << 4. */
static void encode_q4_1(const float *x, uint8_t *out)
{
    float low = x[0], high = x[0];
    for (int i = 1; i < BLOCK; i++) {
        low = fminf(low, x[i]);
        high = fmaxf(high, x[i]);
    }
    float d = (high - low) / 15;
    uint16_t halves[2] = {synth_half(d), synth_half(low)};
    memcpy(out, halves, sizeof halves);
    for (int i = 0; i < BLOCK / 2; i++)
        out[4 + i] = (uint8_t)(nibble(x[i], low, d) | nibble(x[i + BLOCK / 2], low, d) << 4);
}

static void encode_f32(const float *x, uint8_t *out) { memcpy(out, x, BLOCK * sizeof *x); }

/* NULL: blocks of the type are random bytes. */
static void (*const ENCODERS[SL_TYPES])(const float *x, uint8_t *out) = {
    [SL_TYPE_F32] = encode_f32,   [SL_TYPE_F16] = encode_f16,   [SL_TYPE_BF16] = encode_bf16,
    [SL_TYPE_Q4_0] = encode_q4_0, [SL_TYPE_Q4_1] = encode_q4_1, [SL_TYPE_Q8_0] = encode_q8_0,
};

static void put_matrix(maker *m, const char *name, uint32_t type, uint32_t n_in, uint32_t n_out,
                       float gain)
{
    const float deviation = gain / sqrtf((float)n_in);
    size_t n_values = (size_t)n_in * n_out, weights, bytes;
    bool known = sl_type_block(type, &weights, &bytes);
    SL_ASSERT(known && n_in > 0 && n_in % BLOCK == 0 && n_in % weights == 0);
    size_t n_bytes = n_values / weights * bytes, step = n_bytes / (n_values / BLOCK);
    uint8_t *data = malloc(n_bytes);
    SL_ASSERT(data);
    if (!ENCODERS[type]) synth_random_blocks(type, &m->random, deviation, n_bytes, data);
    for (size_t i = 0; ENCODERS[type] && i < n_values / BLOCK; i++) {
        float x[BLOCK];
        for (int k = 0; k < BLOCK; k++) x[k] = deviation * next_normal(&m->random);
        ENCODERS[type](x, data + i * step);
    }
    add_tensor(m, name, type, (const uint64_t[]){n_in, n_out}, 2, data, n_bytes);
    free(data);
}

static const char *layer_name(char out[64], uint32_t layer, const char *what)
{
    snprintf(out, 64, "blk.%u.%s.weight", layer, what);
    return out;
}

static void add_vector(maker *m, const char *name, const float *x, uint32_t n)
{
    uint32_t type = m->shape->vector_type;
    size_t weights, bytes, n_blocks = (n + BLOCK - 1) / BLOCK;
    bool known = sl_type_block(type, &weights, &bytes);
    SL_ASSERT(n > 0 && known && weights == 1 && bytes > 0 && ENCODERS[type]);
    uint8_t *data = malloc(n_blocks * BLOCK * bytes);
    float *padded = calloc(n_blocks * BLOCK, sizeof *padded);
    SL_ASSERT(data && padded);
    memcpy(padded, x, n * sizeof *x);
    for (size_t i = 0; i < n_blocks; i++)
        ENCODERS[type](padded + i * BLOCK, data + i * BLOCK * bytes);
    add_tensor(m, name, type, (const uint64_t[]){n}, 1, data, n * bytes);
    free(padded);
    free(data);
}

static void put_vector(maker *m, const char *name, uint32_t n, float mean, float deviation)
{
    SL_ASSERT(n > 0);
    float *x = malloc(n * sizeof *x);
    SL_ASSERT(x);
    for (uint32_t i = 0; i < n; i++) x[i] = mean + deviation * next_normal(&m->random);
    add_vector(m, name, x, n);
    free(x);
}

static void put_norm(maker *m, const char *name) { put_vector(m, name, m->shape->width, 1, 0.1f); }

/* Large enough that leaving one out is heard. */
static void put_bias(maker *m, uint32_t layer, const char *what, uint32_t n)
{
    char name[64];
    snprintf(name, sizeof name, "blk.%u.%s.bias", layer, what);
    put_vector(m, name, n, 0, 0.3f);
}

/* Of every key head, the pairs that turn slowest have large ones, as in Qwen2.5. */
static void put_key_bias(maker *m, uint32_t layer)
{
    enum { SLOW_PAIRS = 4 };
    const synth_shape *s = m->shape;
    uint32_t n = s->kv_heads * s->head_dim, half = s->head_dim / 2;
    char name[64];
    float *x = malloc(n * sizeof *x);
    SL_ASSERT(x);
    snprintf(name, sizeof name, "blk.%u.attn_k.bias", layer);
    for (uint32_t i = 0; i < n; i++) {
        bool slow = i % half >= half - SLOW_PAIRS; /* the halves of a pair lie half a head apart */
        float random = next_normal(&m->random);
        x[i] = slow ? copysignf((float)s->key_bias, random) : 0.3f * random;
    }
    add_vector(m, name, x, n);
    free(x);
}

static void put_biases(maker *m, uint32_t layer)
{
    const synth_shape *s = m->shape;
    bool all = s->bias == SYNTH_BIASED;
    if (all || m->traits->qkv_biases) {
        put_bias(m, layer, "attn_q", s->heads * s->head_dim);
        if (s->key_bias > 0)
            put_key_bias(m, layer);
        else
            put_bias(m, layer, "attn_k", s->kv_heads * s->head_dim);
        put_bias(m, layer, "attn_v", s->kv_heads * s->head_dim);
    }
    if (!all) return;
    put_bias(m, layer, "attn_output", s->width);
    put_bias(m, layer, "ffn_gate", s->ffn);
    put_bias(m, layer, "ffn_up", s->ffn);
    put_bias(m, layer, "ffn_down", s->width);
}

/* Of each head: they undo how large queries and keys are, and so make them large again. */
static void put_qk_norms(maker *m, uint32_t layer)
{
    char name[64];
    put_vector(m, layer_name(name, layer, "attn_q_norm"), m->shape->head_dim, 1.5f, 0.4f);
    put_vector(m, layer_name(name, layer, "attn_k_norm"), m->shape->head_dim, 1.5f, 0.4f);
}

static void put_layer(maker *m, uint32_t i)
{
    const synth_shape *s = m->shape;
    uint32_t q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
    char name[64];
    put_norm(m, layer_name(name, i, "attn_norm"));
    /* Larger queries and keys: attention looks somewhere instead of everywhere. */
    put_matrix(m, layer_name(name, i, "attn_q"), s->attention_type, s->width, q, 1.5f);
    put_matrix(m, layer_name(name, i, "attn_k"), s->attention_type, s->width, kv, 1.5f);
    put_matrix(m, layer_name(name, i, "attn_v"), s->attention_type, s->width, kv, 1);
    put_matrix(m, layer_name(name, i, "attn_output"), s->attention_type, q, s->width, 1);
    put_norm(m, layer_name(name, i, "ffn_norm"));
    put_matrix(m, layer_name(name, i, "ffn_gate"), s->ffn_type, s->width, s->ffn, 1);
    put_matrix(m, layer_name(name, i, "ffn_up"), s->ffn_type, s->width, s->ffn, 1);
    put_matrix(m, layer_name(name, i, "ffn_down"), s->ffn_type, s->ffn, s->width, 1);
    put_biases(m, i);
    if (m->traits->qk_norms) put_qk_norms(m, i);
    if (!m->traits->post_norms) return;
    put_norm(m, layer_name(name, i, "post_attention_norm"));
    put_norm(m, layer_name(name, i, "post_ffw_norm"));
}

/* Like Llama 3.1's: fast pairs as they are, slow ones by 1/8. */
static void put_rope_freqs(maker *m)
{
    float divisors[128];
    uint32_t n = m->shape->head_dim / 2;
    SL_ASSERT(n <= sizeof divisors / sizeof *divisors);
    for (uint32_t i = 0; i < n; i++) divisors[i] = 1 + 7 * (float)i / (float)(n - 1);
    add_vector(m, "rope_freqs.weight", divisors, n);
}

/* Keys of the architecture's own: "llama.WHAT". */
static const char *key_name(char out[96], const maker *m, const char *what)
{
    snprintf(out, 96, "%s.%s", m->traits->name, what);
    return out;
}

static void put_number(maker *m, const char *what, uint32_t value)
{
    char key[96];
    sl_gguf_put_u32(&m->parts[0], key_name(key, m, what), value);
}

static void put_real(maker *m, const char *what, float value)
{
    char key[96];
    sl_gguf_put_f32(&m->parts[0], key_name(key, m, what), value);
}

static void put_rope_keys(maker *m)
{
    const synth_rope *rope = &m->shape->rope;
    char key[96];
    if (rope->type)
        sl_gguf_put_string(&m->parts[0], key_name(key, m, "rope.scaling.type"), rope->type);
    if (rope->factor > 0) put_real(m, "rope.scaling.factor", rope->factor);
    if (rope->context > 0) put_number(m, "rope.scaling.original_context_length", rope->context);
    if (!rope->llama3_keys) return;
    put_real(m, "rope.scaling.low_freq_factor", 1);
    put_real(m, "rope.scaling.high_freq_factor", 4);
}

static void put_keys(maker *m)
{
    const synth_shape *s = m->shape;
    sl_gguf_put_string(&m->parts[0], "general.architecture", m->traits->name);
    sl_gguf_put_string(&m->parts[0], "general.name", "synthetic");
    put_number(m, "block_count", s->layers);
    put_number(m, "context_length", s->context);
    put_number(m, "embedding_length", s->width);
    put_number(m, "feed_forward_length", s->ffn);
    put_number(m, "attention.head_count", s->heads);
    put_number(m, "attention.head_count_kv", s->kv_heads);
    put_number(m, "attention.key_length", s->head_dim);
    put_number(m, "attention.value_length", s->head_dim);
    put_real(m, "rope.freq_base", s->rope_base);
    put_real(m, "attention.layer_norm_rms_epsilon", 1e-5f);
    put_number(m, "vocab_size", s->vocab);
    put_number(m, "rope.dimension_count", s->head_dim);
    if (s->window > 0) put_number(m, "attention.sliding_window", s->window);
    if (s->window_pattern > 0) put_number(m, "attention.sliding_window_pattern", s->window_pattern);
    put_rope_keys(m);
    synth_vocab_put(&m->parts[0], s->vocab);
}

synth_shape synth_shape_default(void)
{
    return (synth_shape){.seed = 1,
                         .layers = 4,
                         .width = 96,
                         .ffn = 160,
                         .heads = 6,
                         .kv_heads = 2,
                         .head_dim = 16,
                         .vocab = 512,
                         .context = 2048,
                         .rope_base = 10000,
                         .attention_type = SL_TYPE_Q4_1,
                         .ffn_type = SL_TYPE_Q4_1,
                         .head_type = SL_TYPE_Q8_0,
                         .tie = SYNTH_TIED};
}

static void put_all(const synth_shape *shape, uint32_t n_parts, uint64_t n_tensors,
                    sl_gguf_writer *parts)
{
    SL_ASSERT(shape->kv_heads > 0 && shape->heads % shape->kv_heads == 0);
    SL_ASSERT(shape->head_dim > 0 && shape->head_dim % 16 == 0);
    maker m = {.shape = shape,
               .traits = traits_of(shape->architecture),
               .parts = parts,
               .n_parts = n_parts,
               .n_tensors = n_tensors,
               .random = seeded_from(shape->seed)};
    SL_ASSERT(m.traits);
    put_keys(&m);
    put_matrix(&m, "token_embd.weight", shape->head_type, shape->width, shape->vocab, 3);
    for (uint32_t i = 0; i < shape->layers; i++) put_layer(&m, i);
    put_norm(&m, "output_norm.weight");
    if (shape->rope.freqs) put_rope_freqs(&m);
    if (shape->tie == SYNTH_UNTIED)
        put_matrix(&m, "output.weight", shape->head_type, shape->width, shape->vocab, 3);
}

void synth_gguf_put(const synth_shape *shape, sl_gguf_writer *w) { put_all(shape, 1, 0, w); }

static void save_part(sl_gguf_writer *w, uint32_t no, uint32_t count, uint64_t n_tensors,
                      const char *path)
{
    char name[PATH_MAX];
    size_t n = strlen(path);
    SL_ASSERT(n > 5 && strcmp(path + n - 5, ".gguf") == 0 && n + 20 < sizeof name);
    snprintf(name, sizeof name, "%.*s-%05u-of-%05u.gguf", (int)n - 5, path, no + 1, count);
    sl_gguf_put_u16(w, "split.no", (uint16_t)no);
    sl_gguf_put_u16(w, "split.count", (uint16_t)count);
    sl_gguf_put_i32(w, "split.tensors.count", (int32_t)n_tensors);
    SL_ASSERT(sl_gguf_writer_save(w, name) == SL_OK);
}

void synth_gguf_save(const synth_shape *shape, const char *path)
{
    sl_gguf_writer whole = {0};
    synth_gguf_put(shape, &whole);
    if (shape->parts == 0) SL_ASSERT(sl_gguf_writer_save(&whole, path) == SL_OK);
    uint64_t n_tensors = whole.n_tensors;
    sl_gguf_writer_fini(&whole);
    if (shape->parts == 0) return;

    sl_gguf_writer *parts = calloc(shape->parts, sizeof *parts);
    SL_ASSERT(parts);
    put_all(shape, shape->parts, n_tensors, parts);
    for (uint32_t i = 0; i < shape->parts; i++) {
        save_part(&parts[i], i, shape->parts, n_tensors, path);
        sl_gguf_writer_fini(&parts[i]);
    }
    free(parts);
}
