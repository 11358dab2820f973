/* runtime/model/tokenizer.c - see tokenizer.h. The vocabulary's texts are in GPT-2's printable form,
 * where each byte is a character; they are turned into bytes once, at open. */
#include "runtime/model/tokenizer.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "runtime/base/log.h"
#include "runtime/model/bpe.h"
#include "runtime/model/pretokenizer.h"

enum { TYPE_NORMAL = 1, TYPE_CONTROL = 3, TYPE_USER_DEFINED = 4, VOCAB_MAX = 1 << 24 };

typedef struct {
    sl_text text;
    int32_t id;
} special;

struct sl_tokenizer {
    const sl_gguf *gguf;
    sl_pretokenizer *pretokenizer;
    sl_bpe_merges merges;
    int32_t n_tokens;
    sl_text *pieces;   /* [n_tokens] bytes of each token */
    char *bytes;       /* what the normal ones point into */
    uint8_t *marks;    /* [n_tokens] MARK_* */
    special *specials; /* longest first */
    size_t n_specials;
    uint8_t special_start[256]; /* some special token begins with this byte */
    int32_t byte_ids[256];      /* -1: the vocabulary has none, and the byte is left out */
    int32_t bos;
    size_t piece_bytes_max;
};

enum {
    MARK_ENDS = 1,    /* generation ends here */
    MARK_SPECIAL = 2, /* matched whole in raw text, never made by merges */
    MARK_CONTROL = 4, /* no part of the text: decoding leaves it out */
};

/* Tokens end a text or a turn by these names, whatever the file says of its eos. */
static const char *const END_NAMES[] = {"<|endoftext|>",   "<|im_end|>",   "<|eot_id|>",
                                        "<|end_of_text|>", "<|end|>",      "</s>",
                                        "<|eom_id|>",      "<end_of_turn>"};

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

/* ---- GPT-2's printable bytes: 33-126, 161-172, 174-255 are themselves, the rest 256, 257 ... ---- */

static bool is_itself(int byte)
{
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
}

/* The byte a character stands for, or -1. */
static int byte_of(uint32_t character)
{
    if (character < 256) return is_itself((int)character) ? (int)character : -1;
    int next = 256;
    for (int byte = 0; byte < 256; byte++)
        if (!is_itself(byte) && (uint32_t)next++ == character) return byte;
    return -1;
}

enum { PRINTABLE_MAX = 512 }; /* all characters of the printable form are below */

/* byte_of for every character: int16_t[PRINTABLE_MAX]. */
static void make_byte_map(int16_t *map)
{
    for (uint32_t c = 0; c < PRINTABLE_MAX; c++) map[c] = (int16_t)byte_of(c);
}

/* One character of at most two UTF-8 bytes; all of the printable form are. */
static size_t take_character(sl_text text, size_t at, uint32_t *out)
{
    uint8_t first = (uint8_t)text.data[at];
    if (first < 0x80) {
        *out = first;
        return 1;
    }
    if ((first & 0xE0) != 0xC0 || at + 1 >= text.bytes) return 0;
    *out = (uint32_t)(first & 0x1F) << 6 | ((uint8_t)text.data[at + 1] & 0x3F);
    return 2;
}

/* Bytes of a printable text into out (as many bytes as the text at most); false: not printable. */
static bool to_bytes(sl_text text, const int16_t *map, char *out, size_t *n_out)
{
    size_t n = 0;
    for (size_t at = 0, length; at < text.bytes; at += length) {
        uint32_t character;
        length = take_character(text, at, &character);
        if (length == 0 || character >= PRINTABLE_MAX || map[character] < 0) return false;
        out[n++] = (char)map[character];
    }
    *n_out = n;
    return true;
}

/* ---- a temporary table of texts, for the merges ---- */

typedef struct {
    int32_t *slots; /* ids, -1 free */
    size_t capacity;
    const sl_text *pieces;
} text_table;

static int32_t *text_place(const text_table *table, const char *data, size_t bytes)
{
    size_t i = XXH3_64bits(data, bytes) & (table->capacity - 1);
    for (; table->slots[i] >= 0; i = (i + 1) & (table->capacity - 1)) {
        sl_text piece = table->pieces[table->slots[i]];
        if (piece.bytes == bytes && memcmp(piece.data, data, bytes) == 0) break;
    }
    return &table->slots[i];
}

static sl_status make_table(const sl_tokenizer *t, text_table *table)
{
    table->capacity = 16;
    while (table->capacity < 2 * (size_t)t->n_tokens) table->capacity *= 2;
    table->pieces = t->pieces;
    table->slots = malloc(table->capacity * sizeof *table->slots);
    if (!table->slots) return SL_ERR_MEMORY;
    memset(table->slots, 0xFF, table->capacity * sizeof *table->slots);
    for (int32_t id = 0; id < t->n_tokens; id++) {
        if (t->marks[id] & MARK_SPECIAL) continue;
        int32_t *slot = text_place(table, t->pieces[id].data, t->pieces[id].bytes);
        if (*slot < 0) *slot = id;
    }
    return SL_OK;
}

/* ---- opening ---- */

static sl_status bad(const sl_tokenizer *t, const char *what, sl_text text)
{
    sl_error("%s: tokenizer: %s: '%.*s'", sl_gguf_path(t->gguf), what,
             (int)(text.bytes < 60 ? text.bytes : 60), text.data);
    return SL_ERR_FORMAT;
}

static const sl_text NO_TEXT = {"", 0};

static sl_status read_pieces(sl_tokenizer *t, const sl_text *texts, size_t n, const int32_t *types)
{
    int16_t map[PRINTABLE_MAX];
    make_byte_map(map);
    size_t total = 0;
    for (size_t i = 0; i < n; i++) total += texts[i].bytes;
    t->pieces = calloc(n, sizeof *t->pieces);
    t->marks = calloc(n, 1);
    t->specials = calloc(n, sizeof *t->specials);
    t->bytes = malloc(total ? total : 1);
    if (!t->pieces || !t->marks || !t->specials || !t->bytes) return SL_ERR_MEMORY;

    char *at = t->bytes;
    for (size_t i = 0; i < n; i++) {
        if (types[i] == TYPE_CONTROL || types[i] == TYPE_USER_DEFINED) {
            t->pieces[i] = texts[i];
            t->marks[i] = types[i] == TYPE_CONTROL ? MARK_SPECIAL | MARK_CONTROL : MARK_SPECIAL;
            if (texts[i].bytes > 0) t->specials[t->n_specials++] = (special){texts[i], (int32_t)i};
        } else {
            size_t bytes;
            if (!to_bytes(texts[i], map, at, &bytes))
                return bad(t, "a token is not byte-level BPE", texts[i]);
            t->pieces[i] = (sl_text){at, bytes};
            at += bytes;
        }
        if (t->pieces[i].bytes > t->piece_bytes_max) t->piece_bytes_max = t->pieces[i].bytes;
    }
    return SL_OK;
}

static int compare_specials(const void *a, const void *b)
{
    const special *x = a, *y = b;
    if (x->text.bytes != y->text.bytes) return x->text.bytes < y->text.bytes ? 1 : -1;
    return x->id - y->id;
}

static sl_status read_vocabulary(sl_tokenizer *t)
{
    const sl_text *texts;
    size_t n, n_types;
    if (!sl_gguf_text_array(t->gguf, "tokenizer.ggml.tokens", &texts, &n) || n == 0 ||
        n > VOCAB_MAX)
        return bad(t, "tokenizer.ggml.tokens is missing or of no sensible size", NO_TEXT);
    t->n_tokens = (int32_t)n;
    int32_t *types = malloc(n * sizeof *types);
    if (!types) return SL_ERR_MEMORY;
    sl_status status = SL_OK;
    for (size_t i = 0; i < n; i++) types[i] = TYPE_NORMAL;
    if (sl_gguf_has(t->gguf, "tokenizer.ggml.token_type") &&
        (!sl_gguf_i32_array(t->gguf, "tokenizer.ggml.token_type", types, n, &n_types) ||
         n_types != n))
        status = bad(t, "tokenizer.ggml.token_type does not match the tokens", NO_TEXT);
    if (status == SL_OK) status = read_pieces(t, texts, n, types);
    free(types);
    if (status != SL_OK) return status;
    qsort(t->specials, t->n_specials, sizeof *t->specials, compare_specials);
    for (size_t i = 0; i < t->n_specials; i++)
        t->special_start[(uint8_t)t->specials[i].text.data[0]] = 1;
    return SL_OK;
}

/* "left right", the printable texts of two tokens whose concatenation is a third. */
static sl_status read_merge(sl_tokenizer *t, const text_table *table, const int16_t *map,
                            sl_text merge, uint32_t rank, char *room)
{
    const char *space = merge.bytes > 1 ? memchr(merge.data + 1, ' ', merge.bytes - 1) : NULL;
    if (!space) return bad(t, "a merge is no pair", merge);
    sl_text left = {merge.data, (size_t)(space - merge.data)};
    sl_text right = {space + 1, merge.bytes - left.bytes - 1};
    size_t n_left, n_right;
    if (!to_bytes(left, map, room, &n_left) || !to_bytes(right, map, room + n_left, &n_right))
        return bad(t, "a merge is not byte-level BPE", merge);
    int32_t ids[3] = {*text_place(table, room, n_left), *text_place(table, room + n_left, n_right),
                      *text_place(table, room, n_left + n_right)};
    if (ids[0] < 0 || ids[1] < 0 || ids[2] < 0)
        return bad(t, "a merge names a token that is not there", merge);
    sl_bpe_merges_add(&t->merges, ids[0], ids[1], rank, ids[2]);
    return SL_OK;
}

static sl_status read_merges(sl_tokenizer *t, const text_table *table)
{
    const sl_text *merges;
    size_t n, longest = 0;
    if (!sl_gguf_text_array(t->gguf, "tokenizer.ggml.merges", &merges, &n) || n > UINT32_MAX)
        return bad(t, "tokenizer.ggml.merges is missing", NO_TEXT);
    int16_t map[PRINTABLE_MAX];
    make_byte_map(map);
    for (size_t i = 0; i < n; i++)
        if (merges[i].bytes > longest) longest = merges[i].bytes;
    sl_status status = sl_bpe_merges_init(&t->merges, n);
    char *room = malloc(longest + 1);
    if (!room) status = SL_ERR_MEMORY;
    for (size_t i = 0; i < n && status == SL_OK; i++)
        status = read_merge(t, table, map, merges[i], (uint32_t)i, room);
    free(room);
    return status;
}

static sl_status read_bytes_and_merges(sl_tokenizer *t)
{
    text_table table;
    sl_status status = make_table(t, &table);
    if (status != SL_OK) return status;
    for (int byte = 0; byte < 256; byte++) {
        char c = (char)byte;
        t->byte_ids[byte] = *text_place(&table, &c, 1);
    }
    if (status == SL_OK) status = read_merges(t, &table);
    free(table.slots);
    return status;
}

/* An id the file names, or -1 when it names none. */
static sl_status read_id(const sl_tokenizer *t, const char *key, int32_t *id_out)
{
    *id_out = -1;
    if (!sl_gguf_has(t->gguf, key)) return SL_OK;
    if (sl_gguf_i32(t->gguf, key, id_out) && *id_out >= 0 && *id_out < t->n_tokens) return SL_OK;
    return bad(t, "a token id is out of range", (sl_text){key, strlen(key)});
}

static sl_status read_ids(sl_tokenizer *t)
{
    int32_t eos, eot;
    bool add_bos = false;
    sl_status status = read_id(t, "tokenizer.ggml.eos_token_id", &eos);
    if (status == SL_OK) status = read_id(t, "tokenizer.ggml.eot_token_id", &eot);
    if (status == SL_OK) status = read_id(t, "tokenizer.ggml.bos_token_id", &t->bos);
    if (status != SL_OK) return status;
    sl_gguf_bool(t->gguf, "tokenizer.ggml.add_bos_token", &add_bos);
    if (!add_bos) t->bos = -1;
    if (eos >= 0) t->marks[eos] |= MARK_ENDS;
    if (eot >= 0) t->marks[eot] |= MARK_ENDS;
    for (size_t i = 0; i < sizeof END_NAMES / sizeof *END_NAMES; i++) {
        int32_t id = sl_tokenizer_special_id(t, END_NAMES[i]);
        if (id >= 0) t->marks[id] |= MARK_ENDS;
    }
    return SL_OK;
}

static sl_status read_all(sl_tokenizer *t)
{
    sl_text model, rule = {"gpt-2", 5};
    if (!sl_gguf_text(t->gguf, "tokenizer.ggml.model", &model))
        return bad(t, "tokenizer.ggml.model is missing", NO_TEXT);
    if (model.bytes != 4 || memcmp(model.data, "gpt2", 4) != 0) {
        bad(t, "this model of tokenizer is not supported, only 'gpt2' (byte-level BPE) is", model);
        return SL_ERR_UNSUPPORTED;
    }
    sl_gguf_text(t->gguf, "tokenizer.ggml.pre", &rule);
    sl_status status = sl_pretokenizer_open(rule, &t->pretokenizer);
    if (status == SL_OK) status = read_vocabulary(t);
    if (status == SL_OK) status = read_bytes_and_merges(t);
    return status == SL_OK ? read_ids(t) : status;
}

sl_status sl_tokenizer_open(const sl_gguf *gguf, sl_tokenizer **tokenizer_out)
{
    sl_tokenizer *t = calloc(1, sizeof *t);
    if (!t) return SL_ERR_MEMORY;
    t->gguf = gguf;
    sl_status status = read_all(t);
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
    free(tokenizer->pieces);
    free(tokenizer->bytes);
    free(tokenizer->marks);
    free(tokenizer->specials);
    free(tokenizer);
}

/* ---- encoding ---- */

typedef struct {
    const sl_tokenizer *tokenizer;
    sl_bpe_scratch scratch;
    sl_tokens *out;
} encoder;

static sl_status encode_piece(void *context, const char *piece, size_t bytes)
{
    encoder *e = context;
    sl_status status = reserve(e->out, bytes);
    if (status != SL_OK) return status;
    int32_t *ids = e->out->ids + e->out->n;
    size_t n = 0;
    for (size_t i = 0; i < bytes; i++) {
        int32_t id = e->tokenizer->byte_ids[(uint8_t)piece[i]];
        if (id >= 0) ids[n++] = id;
    }
    status = sl_bpe_run(&e->tokenizer->merges, &e->scratch, ids, n, &n);
    if (status == SL_OK) e->out->n += n;
    return status;
}

/* The longest special token that starts here, or NULL. */
static const special *special_at(const sl_tokenizer *t, const char *text, size_t bytes)
{
    if (!t->special_start[(uint8_t)*text]) return NULL;
    for (size_t i = 0; i < t->n_specials; i++) {
        sl_text name = t->specials[i].text;
        if (name.bytes <= bytes && memcmp(name.data, text, name.bytes) == 0) return &t->specials[i];
    }
    return NULL;
}

sl_status sl_tokenizer_encode(const sl_tokenizer *tokenizer, const char *text, size_t bytes,
                              sl_special special_mode, sl_tokens *out)
{
    encoder e = {.tokenizer = tokenizer, .out = out};
    sl_status status = SL_OK;
    size_t done = 0;
    for (size_t at = 0; special_mode == SL_SPECIAL_PARSED && at < bytes && status == SL_OK;) {
        const special *found = special_at(tokenizer, text + at, bytes - at);
        if (!found) {
            at++;
            continue;
        }
        status = sl_pretokenizer_run(tokenizer->pretokenizer, text + done, at - done, encode_piece,
                                     &e);
        if (status == SL_OK) status = sl_tokens_add(out, found->id);
        at += found->text.bytes;
        done = at;
    }
    if (status == SL_OK)
        status = sl_pretokenizer_run(tokenizer->pretokenizer, text + done, bytes - done,
                                     encode_piece, &e);
    sl_bpe_scratch_fini(&e.scratch);
    return status;
}

/* ---- what a token is ---- */

sl_text sl_tokenizer_piece(const sl_tokenizer *tokenizer, int32_t id)
{
    return id >= 0 && id < tokenizer->n_tokens ? tokenizer->pieces[id] : NO_TEXT;
}

bool sl_tokenizer_is_control(const sl_tokenizer *tokenizer, int32_t id)
{
    return id >= 0 && id < tokenizer->n_tokens && (tokenizer->marks[id] & MARK_CONTROL);
}

bool sl_tokenizer_ends(const sl_tokenizer *tokenizer, int32_t id)
{
    return id >= 0 && id < tokenizer->n_tokens && (tokenizer->marks[id] & MARK_ENDS);
}

int32_t sl_tokenizer_n_tokens(const sl_tokenizer *tokenizer) { return tokenizer->n_tokens; }
int32_t sl_tokenizer_bos(const sl_tokenizer *tokenizer) { return tokenizer->bos; }

int32_t sl_tokenizer_special_id(const sl_tokenizer *tokenizer, const char *name)
{
    size_t bytes = strlen(name);
    for (size_t i = 0; i < tokenizer->n_specials; i++) {
        sl_text text = tokenizer->specials[i].text;
        if (text.bytes == bytes && memcmp(text.data, name, bytes) == 0)
            return tokenizer->specials[i].id;
    }
    return -1;
}

/* ---- decoding: UTF-8 as Unicode's table 3-7 has it ---- */

static const char REPLACEMENT[] = "\xEF\xBF\xBD";

typedef enum { UTF8_WHOLE, UTF8_BROKEN, UTF8_PARTIAL } utf8_kind;

/* The character at s[n > 0]: how many bytes it has (WHOLE), or how many no character can begin
 * with (BROKEN), or that more bytes are needed to tell (PARTIAL). */
static utf8_kind utf8_next(const uint8_t *s, size_t n, size_t *bytes_out)
{
    *bytes_out = 1;
    if (s[0] < 0x80) return UTF8_WHOLE;
    size_t length = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
    if (s[0] < 0xC2 || s[0] > 0xF4) return UTF8_BROKEN;
    uint8_t low = s[0] == 0xE0 ? 0xA0 : s[0] == 0xF0 ? 0x90 : 0x80;
    uint8_t high = s[0] == 0xED ? 0x9F : s[0] == 0xF4 ? 0x8F : 0xBF;
    for (size_t i = 1; i < length; i++) {
        if (i == n) return UTF8_PARTIAL;
        if (s[i] < low || s[i] > high) {
            *bytes_out = i;
            return UTF8_BROKEN;
        }
        low = 0x80;
        high = 0xBF;
    }
    *bytes_out = length;
    return UTF8_WHOLE;
}

/* A byte more; whole characters go to out. */
static size_t decode_byte(sl_decode_state *state, char byte, char *out)
{
    size_t written = 0;
    state->held[state->n_held++] = byte;
    while (state->n_held > 0) {
        size_t n;
        utf8_kind kind = utf8_next((const uint8_t *)state->held, state->n_held, &n);
        if (kind == UTF8_PARTIAL) break;
        size_t length = kind == UTF8_WHOLE ? n : sizeof REPLACEMENT - 1;
        memcpy(out + written, kind == UTF8_WHOLE ? state->held : REPLACEMENT, length);
        written += length;
        state->n_held -= n;
        memmove(state->held, state->held + n, state->n_held);
    }
    return written;
}

size_t sl_tokenizer_decode(const sl_tokenizer *tokenizer, sl_decode_state *state, int32_t id,
                           char *out)
{
    if (sl_tokenizer_is_control(tokenizer, id)) return 0;
    sl_text piece = sl_tokenizer_piece(tokenizer, id);
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

size_t sl_tokenizer_decode_bytes_max(const sl_tokenizer *tokenizer)
{
    return 3 * (tokenizer->piece_bytes_max + sizeof((sl_decode_state *)NULL)->held);
}
