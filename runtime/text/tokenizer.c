/* runtime/text/tokenizer.c - see tokenizer.h. Text between special tokens is a fragment. Byte-level
 * BPE cuts it by the splitting rule and merges within each piece; SentencePiece merges it whole. */
#include "runtime/text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/base/utf8.h"
#include "runtime/text/bpe.h"
#include "runtime/text/merges.h"
#include "runtime/text/piece_text.h"
#include "runtime/text/pretokenizer.h"
#include "runtime/text/vocabulary.h"

struct sl_tokenizer {
    sl_vocabulary vocabulary;
    sl_bpe_merges merges;
    sl_pretokenizer *pretokenizer; /* NULL: SentencePiece */
    bool adds_bos, adds_eos;
    bool adds_space; /* SentencePiece: before a fragment */
};

sl_status sl_tokens_append(sl_tokens *tokens, const int32_t *ids, size_t n)
{
    sl_status status = SL_OK;
    for (size_t i = 0; status == SL_OK && i < n; i++) status = sl_tokens_add(tokens, ids[i]);
    return status;
}

void sl_tokens_free(sl_tokens *tokens)
{
    free(tokens->ids);
    *tokens = (sl_tokens){0};
}

static sl_status reserve(sl_tokens *tokens, size_t more)
{
    if (tokens->capacity - tokens->n >= more) return SL_OK;
    size_t capacity = 2 * tokens->capacity > tokens->n + more ? 2 * tokens->capacity
                                                              : tokens->n + more;
    int32_t *ids = realloc(tokens->ids, capacity * sizeof *ids);
    if (!ids) {
        sl_error("no memory for %zu tokens", capacity);
        return SL_ERR_MEMORY;
    }
    tokens->ids = ids;
    tokens->capacity = capacity;
    return SL_OK;
}

sl_status sl_tokens_add(sl_tokens *tokens, int32_t id)
{
    sl_status status = reserve(tokens, 1);
    if (status == SL_OK) tokens->ids[tokens->n++] = id;
    return status;
}

/* ---- opening ---- */

static sl_status read_byte_level(sl_tokenizer *t, const sl_gguf *gguf)
{
    sl_text rule = {"", 0};
    sl_gguf_text(gguf, "tokenizer.ggml.pre", &rule);
    sl_status status = sl_pretokenizer_open(rule, &t->pretokenizer);
    if (status == SL_OK) status = sl_vocabulary_init(&t->vocabulary, gguf, SL_VOCABULARY_PRINTABLE);
    if (status == SL_OK) status = sl_merges_read(&t->vocabulary, &t->merges);
    if (status == SL_OK) t->adds_bos = sl_pretokenizer_traits(t->pretokenizer)->adds_bos;
    return status;
}

static sl_status read_sentencepiece(sl_tokenizer *t, const sl_gguf *gguf)
{
    sl_status status = sl_vocabulary_init(&t->vocabulary, gguf, SL_VOCABULARY_SENTENCEPIECE);
    if (status == SL_OK) status = sl_merges_from_scores(&t->vocabulary, &t->merges);
    t->adds_bos = true;
    t->adds_space = true;
    sl_gguf_bool(gguf, "tokenizer.ggml.add_space_prefix", &t->adds_space);
    return status;
}

static sl_status read_all(sl_tokenizer *t, const sl_gguf *gguf)
{
    sl_text model = {"", 0};
    sl_gguf_text(gguf, "tokenizer.ggml.model", &model);
    sl_status status;
    if (sl_text_is(model, "gpt2")) {
        status = read_byte_level(t, gguf);
    } else if (sl_text_is(model, "llama")) {
        status = read_sentencepiece(t, gguf);
    } else {
        sl_vocabulary_bad(gguf,
                          "tokenizer.ggml.model is not supported; there are 'gpt2' (byte-level "
                          "BPE) and 'llama' (SentencePiece BPE)",
                          model);
        return SL_ERR_UNSUPPORTED;
    }
    sl_gguf_bool(gguf, "tokenizer.ggml.add_bos_token", &t->adds_bos);
    sl_gguf_bool(gguf, "tokenizer.ggml.add_eos_token", &t->adds_eos);
    return status;
}

sl_status sl_tokenizer_open(const sl_gguf *gguf, sl_tokenizer **tokenizer_out)
{
    sl_tokenizer *t = calloc(1, sizeof *t);
    if (!t) return SL_ERR_MEMORY;
    sl_status status = read_all(t, gguf);
    if (status == SL_OK) {
        *tokenizer_out = t;
        return SL_OK;
    }
    if (status == SL_ERR_MEMORY) sl_error("%s: no memory for its tokenizer", sl_gguf_path(gguf));
    sl_tokenizer_close(t);
    return status;
}

void sl_tokenizer_close(sl_tokenizer *tokenizer)
{
    if (!tokenizer) return;
    sl_pretokenizer_close(tokenizer->pretokenizer);
    sl_bpe_merges_fini(&tokenizer->merges);
    sl_vocabulary_fini(&tokenizer->vocabulary);
    free(tokenizer);
}

/* ---- encoding a fragment ---- */

typedef struct {
    const sl_tokenizer *tokenizer;
    sl_bpe_scratch scratch;
    sl_tokens *out;
} encoder;

/* Merge the last n of out. */
static sl_status merge(encoder *e, size_t n)
{
    e->out->n -= n;
    sl_status status = sl_bpe_run(&e->tokenizer->merges, &e->scratch, e->out->ids + e->out->n, n,
                                  &n);
    if (status == SL_OK) e->out->n += n;
    return status;
}

static void put_byte(encoder *e, char byte)
{
    int32_t id = e->tokenizer->vocabulary.byte_ids[(uint8_t)byte];
    if (id >= 0) e->out->ids[e->out->n++] = id;
}

static sl_status encode_piece(void *context, const char *piece, size_t bytes)
{
    encoder *e = context;
    const sl_tokenizer *t = e->tokenizer;
    sl_status status = reserve(e->out, bytes);
    if (status != SL_OK) return status;
    if (sl_pretokenizer_traits(t->pretokenizer)->whole_pieces) {
        int32_t id = sl_text_table_find(&t->vocabulary.ordinary, piece, bytes);
        if (id >= 0) {
            e->out->ids[e->out->n++] = id;
            return SL_OK;
        }
    }
    size_t before = e->out->n;
    for (size_t i = 0; i < bytes; i++) put_byte(e, piece[i]);
    return merge(e, e->out->n - before);
}

/* Bytes of the character that begins with this one, if it does: llama.cpp's table. */
static size_t character_bytes(char first)
{
    uint8_t high = (uint8_t)first >> 4;
    return high == 15 ? 4 : high == 14 ? 3 : high >= 12 ? 2 : 1;
}

/* All bytes of a character, or none. The bytes of SentencePiece are in no merge. */
static bool put_bytes(encoder *e, const char *text, size_t n)
{
    const int32_t *byte_ids = e->tokenizer->vocabulary.byte_ids;
    for (size_t i = 0; i < n; i++)
        if (byte_ids[(uint8_t)text[i]] < 0) return false;
    for (size_t i = 0; i < n; i++) put_byte(e, text[i]);
    return true;
}

/* A character's token, or those of its bytes, or the unknown token. A space without a token of its
 * own is the byte 0x20, which comes back as a space; llama.cpp gives the bytes of U+2581, which do
 * not. No vocabulary that was trained is without it. */
static size_t put_character(encoder *e, const char *text, size_t bytes)
{
    const sl_vocabulary *v = &e->tokenizer->vocabulary;
    size_t n = sl_piece_space_mark(text, bytes);
    bool space = n > 0;
    if (!space) n = character_bytes(*text);
    if (n > bytes) n = bytes;
    int32_t id = space ? sl_text_table_find(&v->ordinary, " ", 1)
                       : sl_text_table_find(&v->ordinary, text, n);
    if (id < 0 && put_bytes(e, space ? " " : text, space ? 1 : n)) return n;
    if (id < 0) id = v->unknown;
    if (id >= 0) e->out->ids[e->out->n++] = id;
    return n;
}

static sl_status encode_sentencepiece(encoder *e, const char *text, size_t bytes)
{
    if (bytes == 0) return SL_OK;
    sl_status status = reserve(e->out, bytes + 1); /* the space in front */
    if (status != SL_OK) return status;
    size_t before = e->out->n;
    if (e->tokenizer->adds_space) put_character(e, " ", 1);
    for (size_t at = 0; at < bytes;) at += put_character(e, text + at, bytes - at);
    return merge(e, e->out->n - before);
}

static sl_status encode_fragment(encoder *e, const char *text, size_t bytes)
{
    const sl_pretokenizer *rule = e->tokenizer->pretokenizer;
    return rule ? sl_pretokenizer_run(rule, text, bytes, encode_piece, e)
                : encode_sentencepiece(e, text, bytes);
}

/* ---- encoding a text ---- */

static size_t leading_blanks(const char *text, size_t bytes)
{
    size_t n = 0;
    while (n < bytes && (text[n] == ' ' || (text[n] >= '\t' && text[n] <= '\r'))) n++;
    return n;
}

/* Of a text in parts: how many bytes from `at` on may hold a control token. */
typedef struct {
    const sl_text_part *parts;
    size_t part, part_end; /* the one that `at` is in, and where it ends */
} part_walk;

static size_t control_bytes_at(part_walk *walk, size_t at)
{
    while (at >= walk->part_end) walk->part_end += walk->parts[++walk->part].text.bytes;
    return walk->parts[walk->part].special == SL_SPECIAL_PARSED ? walk->part_end - at : 0;
}

static sl_status encode_joined(encoder *e, const char *text, size_t bytes,
                               const sl_text_part *parts)
{
    const sl_vocabulary *v = &e->tokenizer->vocabulary;
    part_walk walk = {.parts = parts, .part_end = parts->text.bytes};
    sl_status status = SL_OK;
    size_t done = 0;
    for (size_t at = 0; at < bytes && status == SL_OK;) {
        size_t control_bytes = control_bytes_at(&walk, at);
        int32_t id = sl_vocabulary_special_at(v, text + at, bytes - at, control_bytes);
        if (id < 0) {
            at++;
            continue;
        }
        status = encode_fragment(e, text + done, at - done);
        if (status == SL_OK) status = sl_tokens_add(e->out, id);
        at += v->pieces[id].bytes;
        if (v->marks[id] & SL_TOKEN_STRIPS) at += leading_blanks(text + at, bytes - at);
        done = at;
    }
    return status == SL_OK ? encode_fragment(e, text + done, bytes - done) : status;
}

sl_status sl_tokenizer_encode_parts(const sl_tokenizer *tokenizer, const sl_text_part *parts,
                                    size_t n_parts, sl_tokens *out)
{
    size_t bytes = 0, at = 0;
    for (size_t i = 0; i < n_parts; i++) bytes += parts[i].text.bytes;
    if (bytes == 0) return SL_OK;
    char *joined = n_parts > 1 ? malloc(bytes) : NULL;
    if (n_parts > 1 && !joined) {
        sl_error("no memory for a text of %zu bytes", bytes);
        return SL_ERR_MEMORY;
    }
    for (size_t i = 0; joined && i < n_parts; at += parts[i++].text.bytes)
        if (parts[i].text.bytes > 0) memcpy(joined + at, parts[i].text.data, parts[i].text.bytes);
    encoder e = {.tokenizer = tokenizer, .out = out};
    sl_status status = encode_joined(&e, joined ? joined : parts->text.data, bytes, parts);
    sl_bpe_scratch_fini(&e.scratch);
    free(joined);
    return status;
}

sl_status sl_tokenizer_encode(const sl_tokenizer *tokenizer, const char *text, size_t bytes,
                              sl_special special, sl_tokens *out)
{
    sl_text_part part = {.text = {text, bytes}, .special = special};
    return sl_tokenizer_encode_parts(tokenizer, &part, 1, out);
}

sl_status sl_tokenizer_encode_whole(const sl_tokenizer *tokenizer, const char *text, size_t bytes,
                                    sl_special special, sl_tokens *out)
{
    const sl_vocabulary *v = &tokenizer->vocabulary;
    bool begins = bytes > 0 && special == SL_SPECIAL_PARSED &&
                  sl_vocabulary_special_at(v, text, bytes, bytes) == v->bos;
    sl_status status = SL_OK;
    if (sl_tokenizer_adds_bos(tokenizer) && !begins) status = sl_tokens_add(out, v->bos);
    if (status == SL_OK) status = sl_tokenizer_encode(tokenizer, text, bytes, special, out);
    if (status != SL_OK || !sl_tokenizer_adds_eos(tokenizer)) return status;
    bool ends = bytes > 0 && out->n > 0 && out->ids[out->n - 1] == v->eos;
    return ends ? SL_OK : sl_tokens_add(out, v->eos);
}

/* ---- what a token is ---- */

static uint8_t marks_of(const sl_tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->vocabulary.n_tokens ? t->vocabulary.marks[id] : 0;
}

sl_text sl_tokenizer_piece(const sl_tokenizer *tokenizer, int32_t id)
{
    bool there = id >= 0 && id < tokenizer->vocabulary.n_tokens;
    return there ? tokenizer->vocabulary.pieces[id] : (sl_text){"", 0};
}

bool sl_tokenizer_is_control(const sl_tokenizer *tokenizer, int32_t id)
{
    return marks_of(tokenizer, id) & SL_TOKEN_CONTROL;
}

bool sl_tokenizer_ends(const sl_tokenizer *tokenizer, int32_t id)
{
    return marks_of(tokenizer, id) & SL_TOKEN_ENDS;
}

int32_t sl_tokenizer_n_tokens(const sl_tokenizer *tokenizer)
{
    return tokenizer->vocabulary.n_tokens;
}

int32_t sl_tokenizer_bos(const sl_tokenizer *tokenizer) { return tokenizer->vocabulary.bos; }
int32_t sl_tokenizer_eos(const sl_tokenizer *tokenizer) { return tokenizer->vocabulary.eos; }

bool sl_tokenizer_adds_bos(const sl_tokenizer *tokenizer)
{
    return tokenizer->adds_bos && tokenizer->vocabulary.bos >= 0;
}

sl_status sl_tokenizer_begin(const sl_tokenizer *tokenizer, sl_tokens *out)
{
    if (!sl_tokenizer_adds_bos(tokenizer)) return SL_OK;
    return sl_tokens_add(out, sl_tokenizer_bos(tokenizer));
}

bool sl_tokenizer_adds_eos(const sl_tokenizer *tokenizer)
{
    return tokenizer->adds_eos && tokenizer->vocabulary.eos >= 0;
}

bool sl_tokenizer_adds_space(const sl_tokenizer *tokenizer) { return tokenizer->adds_space; }

int32_t sl_tokenizer_special_id(const sl_tokenizer *tokenizer, const char *name)
{
    return sl_text_table_find(&tokenizer->vocabulary.specials, name, strlen(name));
}

/* ---- decoding ---- */

static const char REPLACEMENT[] = "\xEF\xBF\xBD";

/* A byte more; whole characters go to out. */
static size_t decode_byte(sl_decode_state *state, char byte, char *out)
{
    size_t written = 0;
    state->held[state->n_held++] = byte;
    while (state->n_held > 0) {
        size_t n;
        sl_utf8_kind kind = sl_utf8_next((const uint8_t *)state->held, state->n_held, &n);
        if (kind == SL_UTF8_PARTIAL) break;
        size_t length = kind == SL_UTF8_WHOLE ? n : sizeof REPLACEMENT - 1;
        memcpy(out + written, kind == SL_UTF8_WHOLE ? state->held : REPLACEMENT, length);
        written += length;
        state->n_held -= n;
        memmove(state->held, state->held + n, state->n_held);
    }
    return written;
}

sl_text sl_tokenizer_text(const sl_tokenizer *tokenizer, bool *begins, int32_t id)
{
    sl_text piece = sl_tokenizer_piece(tokenizer, id);
    if (!*begins || sl_tokenizer_is_control(tokenizer, id)) return piece;
    *begins = false;
    bool drop = tokenizer->adds_space && piece.bytes > 0 && piece.data[0] == ' ';
    return drop ? (sl_text){piece.data + 1, piece.bytes - 1} : piece;
}

size_t sl_tokenizer_decode(const sl_tokenizer *tokenizer, sl_decode_state *state, int32_t id,
                           char *out)
{
    const uint8_t marks = marks_of(tokenizer, id);
    if (marks & SL_TOKEN_CONTROL && !(marks & SL_TOKEN_SHOWN)) return 0;
    sl_text piece = sl_tokenizer_text(tokenizer, &state->begins, id);
    size_t written = 0;
    for (size_t i = 0; i < piece.bytes; i++)
        written += decode_byte(state, piece.data[i], out + written);
    return written;
}

size_t sl_tokenizer_decode_end(sl_decode_state *state, char *out)
{
    if (state->n_held == 0) return 0;
    memcpy(out, REPLACEMENT,
           sizeof REPLACEMENT - 1); /* the start of one character that never came */
    state->n_held = 0;
    return sizeof REPLACEMENT - 1;
}

size_t sl_tokenizer_piece_bytes_max(const sl_tokenizer *tokenizer)
{
    return tokenizer->vocabulary.piece_bytes_max;
}

size_t sl_tokenizer_decode_bytes_max(const sl_tokenizer *tokenizer)
{
    return 3 * (tokenizer->vocabulary.piece_bytes_max + sizeof((sl_decode_state *)NULL)->held);
}
