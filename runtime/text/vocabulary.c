/* runtime/text/vocabulary.c - see vocabulary.h. Texts are turned into bytes once, at open. What the
 * file does not say is as llama.cpp has it. */
#include "runtime/text/vocabulary.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "runtime/base/log.h"
#include "runtime/base/plain.h"
#include "runtime/text/piece_text.h"

enum {
    TYPE_NORMAL = 1,
    TYPE_UNKNOWN = 2,
    TYPE_CONTROL = 3,
    TYPE_USER_DEFINED = 4,
    TYPE_BYTE = 6,
    VOCAB_MAX = 1 << 20
};

/* Special tokens of these names, of any kind, end a text or a turn: those that llama.cpp knows
 * (src/llama-vocab.cpp, special_eog_ids), of chats and of code that is filled in. A name does not
 * count in a vocabulary that has one of those beside it. */
static const struct {
    const char *name, *unless[2];
} END_NAMES[] = {
    {"<|endoftext|>", {NULL}},
    {"<|im_end|>", {NULL}},
    {"<|eot_id|>", {NULL}},
    {"<|eom_id|>", {NULL}},
    {"<|end_of_text|>", {NULL}},
    {"<|end|>", {"<|call|>", "<|calls|>"}}, /* gpt-oss, Solar: ends a message, and more follow */
    {"<|return|>", {NULL}},
    {"<|call|>", {NULL}},
    {"<|calls|>", {NULL}},
    {"<|flush|>", {NULL}},
    {"<end_of_turn>", {NULL}},
    {"<end_of_utterance>", {NULL}},
    {"<eos>", {NULL}},
    {"<turn|>", {NULL}},
    {"<|tool_response>", {NULL}},
    {"</s>", {"<|tool_response>", "<|plamo:eos|>"}}, /* Gemma 4, PLaMo: an HTML tag */
    {"<EOT>", {NULL}},
    {"_<EOT>", {NULL}},
    {"[EOT]", {NULL}},
    {"[EOS]", {NULL}},
    {"[e~[", {NULL}},
    {"<｜end▁of▁sentence｜>", {NULL}},
    {"<|fim_pad|>", {NULL}},
    {"<fim-pad>", {NULL}},
    {"<fim_pad>", {NULL}},
    {"<PAD>", {NULL}},
    {"[PAD]", {NULL}},
    {"<|fim_repo|>", {NULL}},
    {"<|repo_name|>", {NULL}},
    {"<fim-repo>", {NULL}},
    {"<REPO>", {NULL}},
    {"<reponame>", {NULL}},
    {"<|file_sep|>", {NULL}},
};
enum { N_END_NAMES = sizeof END_NAMES / sizeof *END_NAMES };

sl_status sl_vocabulary_bad(const sl_gguf *gguf, const char *what, sl_text text)
{
    sl_error("%s: tokenizer: %s: '%.*s'", sl_gguf_path(gguf), what,
             (int)sl_plain_prefix(text.data, text.bytes, 60), text.data);
    return SL_ERR_FORMAT;
}

static sl_status bad(const sl_vocabulary *v, const char *what)
{
    return sl_vocabulary_bad(v->gguf, what, (sl_text){"", 0});
}

/* ---- pieces ---- */

static uint8_t marks_of(int32_t type)
{
    switch (type) {
    case TYPE_UNKNOWN:
    case TYPE_CONTROL: return SL_TOKEN_SPECIAL | SL_TOKEN_CONTROL;
    case TYPE_USER_DEFINED: return SL_TOKEN_SPECIAL;
    case TYPE_BYTE: return SL_TOKEN_BYTE;
    default: return 0;
    }
}

/* One token's bytes, at `at` unless it is special. */
static sl_status read_piece(sl_vocabulary *v, int32_t id, sl_text text, sl_vocabulary_form form,
                            const sl_printable_map *map, char *at)
{
    size_t n = 0;
    if (v->marks[id] & SL_TOKEN_SPECIAL) {
        v->pieces[id] = text;
        if (text.bytes > SL_TOKEN_BYTES_MAX)
            return sl_vocabulary_bad(v->gguf, "a special token of more than 256 bytes", text);
        return SL_OK;
    }
    if (form == SL_VOCABULARY_PRINTABLE) {
        v->marks[id] = 0; /* its bytes are ordinary tokens */
        if (!sl_piece_from_printable(text, map, at, &n))
            return sl_vocabulary_bad(v->gguf, "a token is not byte-level BPE", text);
    } else if (v->marks[id] & SL_TOKEN_BYTE) {
        if (!sl_piece_from_hex(text, at, &n))
            return sl_vocabulary_bad(v->gguf, "a token of type 'byte' is not like <0x0A>", text);
    } else {
        if (text.bytes > SL_TOKEN_BYTES_MAX)
            return sl_vocabulary_bad(v->gguf, "a token of more than 256 bytes", text);
        sl_piece_from_spaces(text, at, &n);
    }
    v->pieces[id] = (sl_text){at, n};
    return SL_OK;
}

static sl_status read_pieces(sl_vocabulary *v, const sl_text *texts, const int32_t *types,
                             sl_vocabulary_form form)
{
    sl_printable_map map;
    sl_printable_map_init(&map);
    size_t n = (size_t)v->n_tokens, total = 0;
    for (size_t i = 0; i < n; i++) total += texts[i].bytes;
    v->pieces = calloc(n, sizeof *v->pieces);
    v->marks = calloc(n, 1);
    v->bytes = malloc(total ? total : 1);
    if (!v->pieces || !v->marks || !v->bytes) return SL_ERR_MEMORY;
    char *at = v->bytes;
    for (int32_t id = 0; id < v->n_tokens; id++) {
        v->marks[id] = marks_of(types[id]);
        sl_status status = read_piece(v, id, texts[id], form, &map, at);
        if (status != SL_OK) return status;
        size_t bytes = v->pieces[id].bytes;
        if (!(v->marks[id] & SL_TOKEN_SPECIAL)) at += bytes;
        if (bytes > v->piece_bytes_max) v->piece_bytes_max = bytes;
    }
    return SL_OK;
}

static sl_status read_types(sl_vocabulary *v, const sl_text *texts, sl_vocabulary_form form)
{
    size_t n = (size_t)v->n_tokens, n_types;
    bool told = sl_gguf_has(v->gguf, "tokenizer.ggml.token_type");
    if (!told && form == SL_VOCABULARY_SENTENCEPIECE)
        return bad(v, "tokenizer.ggml.token_type is missing");
    int32_t *types = malloc(n * sizeof *types);
    if (!types) return SL_ERR_MEMORY;
    for (size_t i = 0; i < n; i++) types[i] = TYPE_NORMAL;
    sl_status status = SL_OK;
    if (told && (!sl_gguf_i32_array(v->gguf, "tokenizer.ggml.token_type", types, n, &n_types) ||
                 n_types != n))
        status = bad(v, "tokenizer.ggml.token_type does not match the tokens");
    if (status == SL_OK) status = read_pieces(v, texts, types, form);
    free(types);
    return status;
}

/* ---- tables ---- */

static int compare_texts(const void *a, const void *b, void *pieces)
{
    const int32_t *x = a, *y = b;
    sl_text left = ((const sl_text *)pieces)[*x], right = ((const sl_text *)pieces)[*y];
    int order = memcmp(left.data, right.data, left.bytes < right.bytes ? left.bytes : right.bytes);
    if (order == 0) order = (left.bytes > right.bytes) - (left.bytes < right.bytes);
    return order ? order : (*x > *y) - (*x < *y);
}

static sl_status sort_specials(sl_vocabulary *v, size_t n_max)
{
    size_t n = 0;
    v->sorted = malloc((n_max + 1) * sizeof *v->sorted);
    if (!v->sorted) return SL_ERR_MEMORY;
    for (int32_t id = 0; id < v->n_tokens; id++)
        if (v->marks[id] & SL_TOKEN_SPECIAL && v->pieces[id].bytes > 0) v->sorted[n++] = id;
    qsort_r(v->sorted, n, sizeof *v->sorted, compare_texts, v->pieces);
    for (size_t i = 0; i < n; i++) v->begin[(uint8_t)v->pieces[v->sorted[i]].data[0] + 1]++;
    for (int byte = 0; byte < 256; byte++) v->begin[byte + 1] += v->begin[byte];
    return SL_OK;
}

static sl_status make_tables(sl_vocabulary *v)
{
    size_t n_specials = 0;
    for (int32_t id = 0; id < v->n_tokens; id++) n_specials += v->marks[id] & SL_TOKEN_SPECIAL;
    if (sl_text_table_init(&v->ordinary, v->pieces, (size_t)v->n_tokens) != SL_OK ||
        sl_text_table_init(&v->specials, v->pieces, n_specials) != SL_OK)
        return SL_ERR_MEMORY;
    memset(v->byte_ids, 0xFF, sizeof v->byte_ids);
    for (int32_t id = 0; id < v->n_tokens; id++) {
        if (v->marks[id] & SL_TOKEN_BYTE) {
            int32_t *byte_id = &v->byte_ids[(uint8_t)v->pieces[id].data[0]];
            if (*byte_id < 0) *byte_id = id;
        } else {
            bool special = v->marks[id] & SL_TOKEN_SPECIAL;
            sl_text_table_add(special ? &v->specials : &v->ordinary, id);
        }
    }
    return sort_specials(v, n_specials);
}

static void find_byte_tokens(sl_vocabulary *v)
{
    for (int byte = 0; byte < 256; byte++) {
        char c = (char)byte;
        v->byte_ids[byte] = sl_text_table_find(&v->ordinary, &c, 1);
    }
}

/* The pieces sorted[low .. *high) are equal before byte `at`, and longer. Returns the first of
 * those whose byte there is `byte`; *high becomes the one behind the last. */
static size_t narrow(const sl_vocabulary *v, size_t low, size_t *high, size_t at, int byte)
{
    size_t bounds[2] = {*high, *high};
    for (int i = 0; i < 2; i++) {
        size_t from = low;
        while (from < bounds[i]) {
            size_t middle = from + (bounds[i] - from) / 2;
            if ((uint8_t)v->pieces[v->sorted[middle]].data[at] < byte + i)
                from = middle + 1;
            else
                bounds[i] = middle;
        }
    }
    *high = bounds[1];
    return bounds[0];
}

int32_t sl_vocabulary_special_at(const sl_vocabulary *v, const char *text, size_t bytes,
                                 size_t control_bytes)
{
    size_t low = v->begin[(uint8_t)*text], high = v->begin[(uint8_t)*text + 1];
    int32_t longest = -1;
    for (size_t n = 1; low < high; n++) { /* all of them begin with text[n] */
        bool counts = false;
        for (; low < high && v->pieces[v->sorted[low]].bytes == n; low++) {
            int32_t id = v->sorted[low];
            if (counts || (n > control_bytes && v->marks[id] & SL_TOKEN_CONTROL)) continue;
            counts = true; /* of equal texts the first */
            longest = id;
        }
        if (n == bytes) break;
        low = narrow(v, low, &high, n, (uint8_t)text[n]);
    }
    return longest;
}

/* ---- tokens with a part of their own ---- */

/* The id that a key names. Without the key it is `otherwise`, and so it is when the key names no
 * token, as converters write it for "none". */
static int32_t id_of_key(const sl_vocabulary *v, const char *key, int32_t otherwise)
{
    int32_t id;
    if (otherwise >= v->n_tokens) otherwise = -1;
    if (!sl_gguf_has(v->gguf, key)) return otherwise;
    if (sl_gguf_i32(v->gguf, key, &id) && id >= 0 && id < v->n_tokens) return id;
    sl_warn("%s: %s names none of the %d tokens, so it is ignored", sl_gguf_path(v->gguf), key,
            v->n_tokens);
    return otherwise;
}

static int32_t special_named(const sl_vocabulary *v, const char *name)
{
    return name ? sl_text_table_find(&v->specials, name, strlen(name)) : -1;
}

/* By name, and by what keys of the file say. */
static void mark_ends(sl_vocabulary *v)
{
    static const char *const keys[] = {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id",
                                       "tokenizer.ggml.fim_pad_token_id",
                                       "tokenizer.ggml.fim_rep_token_id",
                                       "tokenizer.ggml.fim_sep_token_id"};
    for (int i = 0; i < N_END_NAMES; i++) {
        const int32_t id = special_named(v, END_NAMES[i].name);
        if (id < 0 || special_named(v, END_NAMES[i].unless[0]) >= 0 ||
            special_named(v, END_NAMES[i].unless[1]) >= 0)
            continue;
        v->marks[id] |= SL_TOKEN_ENDS | SL_TOKEN_CONTROL;
    }
    if (v->eos >= 0) v->marks[v->eos] |= SL_TOKEN_ENDS;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const int32_t id = id_of_key(v, keys[i], -1);
        if (id >= 0) v->marks[id] |= SL_TOKEN_ENDS;
    }
}

/* Readers take a thought from an answer by these, whatever a file has them as. */
static void mark_thoughts(sl_vocabulary *v)
{
    static const char *const names[] = {"<think>", "</think>"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const int32_t id = special_named(v, names[i]);
        if (id >= 0) v->marks[id] |= SL_TOKEN_SHOWN;
    }
}

static void read_ids(sl_vocabulary *v, sl_vocabulary_form form)
{
    bool sentencepiece = form == SL_VOCABULARY_SENTENCEPIECE;
    v->unknown = id_of_key(v, "tokenizer.ggml.unknown_token_id", sentencepiece ? 0 : -1);
    v->bos = id_of_key(v, "tokenizer.ggml.bos_token_id", sentencepiece ? 1 : -1);
    v->eos = id_of_key(v, "tokenizer.ggml.eos_token_id", sentencepiece ? 2 : -1);
    mark_ends(v);
    mark_thoughts(v);
}

static bool is_phi3(const sl_gguf *gguf)
{
    sl_text text;
    if (sl_gguf_text(gguf, "general.architecture", &text) && text.bytes == 4 &&
        memcmp(text.data, "phi3", 4) == 0)
        return true;
    if (!sl_gguf_text(gguf, "general.name", &text)) return false;
    for (size_t at = 0; at < text.bytes; at++) {
        size_t left = text.bytes - at;
        if ((left >= 4 && strncasecmp(text.data + at, "phi3", 4) == 0) ||
            (left >= 5 && strncasecmp(text.data + at, "phi-3", 5) == 0))
            return true;
    }
    return false;
}

/* Phi-3's own tokenizer has most special tokens swallow the white space after them, which GGUF
 * cannot say; llama.cpp tells those files by their name. */
static void mark_strips(sl_vocabulary *v)
{
    static const char *const plain[] = {"<unk>", "<s>", "<|endoftext|>"};
    if (!is_phi3(v->gguf)) return;
    for (int32_t id = 0; id < v->n_tokens; id++)
        if (v->marks[id] & SL_TOKEN_SPECIAL) v->marks[id] |= SL_TOKEN_STRIPS;
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        int32_t id = sl_text_table_find(&v->specials, plain[i], strlen(plain[i]));
        if (id >= 0) v->marks[id] &= (uint8_t)~SL_TOKEN_STRIPS;
    }
}

sl_status sl_vocabulary_init(sl_vocabulary *v, const sl_gguf *gguf, sl_vocabulary_form form)
{
    const sl_text *texts;
    size_t n;
    v->gguf = gguf;
    if (!sl_gguf_text_array(gguf, "tokenizer.ggml.tokens", &texts, &n) || n == 0 || n > VOCAB_MAX)
        return bad(v, "tokenizer.ggml.tokens is missing or of no sensible size");
    v->n_tokens = (int32_t)n;
    sl_status status = read_types(v, texts, form);
    if (status == SL_OK) status = make_tables(v);
    if (status == SL_OK && form == SL_VOCABULARY_PRINTABLE) find_byte_tokens(v);
    if (status == SL_OK) read_ids(v, form);
    if (status == SL_OK && form == SL_VOCABULARY_SENTENCEPIECE) mark_strips(v);
    return status;
}

void sl_vocabulary_fini(sl_vocabulary *v)
{
    sl_text_table_fini(&v->ordinary);
    sl_text_table_fini(&v->specials);
    free(v->sorted);
    free(v->pieces);
    free(v->bytes);
    free(v->marks);
}
