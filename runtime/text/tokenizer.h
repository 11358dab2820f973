/* runtime/text/tokenizer.h - text to token ids and back, by a GGUF's own vocabulary. The front door
 * of runtime/text, beside chat.h: it knows texts and vocabularies, no weights. Two models:
 *   gpt2    byte-level BPE (Sennrich et al. 2016, arXiv:1508.07909; bytes as in GPT-2) after the
 *           splitting rule named by tokenizer.ggml.pre (pretokenizer.c has their list)
 *   llama   SentencePiece BPE (Kudo & Richardson 2018, arXiv:1808.06226): pairs merge by their
 *           token's score, what is no token falls back to bytes, then to the unknown token
 * Ids are llama.cpp's where it and the libraries differ in what a GGUF can say: no NFC for Qwen; a
 * space in front of a text and of what follows a special token, unless add_space_prefix is false;
 * Phi-3's special tokens swallow the white space after them. Any bytes go in, valid UTF-8 or not:
 * where llama.cpp puts U+FFFD for what is not, or lets a character that is cut short swallow the
 * space behind it, here each byte stays itself. Immutable after open. */
#ifndef SL_TOKENIZER_H
#define SL_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/status.h"
#include "runtime/gguf/gguf.h"

typedef struct sl_tokenizer sl_tokenizer;

/* What control tokens written in a text are: <|im_end|> and the like. Tokens of type "user defined"
 * are text, and always found. */
typedef enum { SL_SPECIAL_AS_TEXT, SL_SPECIAL_PARSED } sl_special;

/* A stretch of a text. */
typedef struct {
    sl_text text;
    sl_special special;
} sl_text_part;

/* A growing list of ids: start from {0}, end with sl_tokens_free. */
typedef struct {
    int32_t *ids;
    size_t n, capacity;
} sl_tokens;
/* Append one id. SL_ERR_MEMORY, logged. */
sl_status sl_tokens_add(sl_tokens *tokens, int32_t id);
sl_status sl_tokens_append(sl_tokens *tokens, const int32_t *ids, size_t n);
void sl_tokens_free(sl_tokens *tokens);

/* The gguf must outlive the tokenizer (token texts stay in the file).
 * SL_ERR_UNSUPPORTED names the model or splitting rule that is not known; SL_ERR_FORMAT. */
sl_status sl_tokenizer_open(const sl_gguf *gguf, sl_tokenizer **tokenizer_out);
void sl_tokenizer_close(sl_tokenizer *tokenizer); /* NULL is fine */

/* Append the ids of text[bytes] to *out. With SL_SPECIAL_PARSED, control tokens written in
 * the text become their id; otherwise they are ordinary text. No BOS is added in front.
 * A byte that a byte-level vocabulary has no token for is left out, as the `tokenizers` library
 * does. Near-linear time whatever the text, and while it takes place at most SL_ENCODE_BYTES for
 * each of the text's, ids included. Thread-safe. SL_ERR_MEMORY, and what sl_pretokenizer_run
 * returns. */
enum { SL_ENCODE_BYTES = 128 };
sl_status sl_tokenizer_encode(const sl_tokenizer *tokenizer, const char *text, size_t bytes,
                              sl_special special, sl_tokens *out);
/* The same for a text in parts: what merges across their borders is merged, but a control token is
 * only found within one part that is parsed. */
sl_status sl_tokenizer_encode_parts(const sl_tokenizer *tokenizer, const sl_text_part *parts,
                                    size_t n_parts, sl_tokens *out);
/* A whole text: with BOS in front and EOS behind where the file asks for them (add_bos_token,
 * add_eos_token) and the text, read so, does not have them (llama.cpp would add a second one, and
 * warn). */
sl_status sl_tokenizer_encode_whole(const sl_tokenizer *tokenizer, const char *text, size_t bytes,
                                    sl_special special, sl_tokens *out);

/* The bytes a token stands for, lent; special tokens give their name, e.g. <|im_end|>.
 * An id out of range gives zero bytes. */
sl_text sl_tokenizer_piece(const sl_tokenizer *tokenizer, int32_t id);
/* A token that is no text, such as <|im_end|>: decoding leaves it out, but for <think> and
 * </think>. */
bool sl_tokenizer_is_control(const sl_tokenizer *tokenizer, int32_t id);
/* Of the longest token. */
size_t sl_tokenizer_piece_bytes_max(const sl_tokenizer *tokenizer);
int32_t sl_tokenizer_n_tokens(const sl_tokenizer *tokenizer);
/* The id of a special token by name, or -1. */
int32_t sl_tokenizer_special_id(const sl_tokenizer *tokenizer, const char *name);
/* What begins and ends a text, or -1. */
int32_t sl_tokenizer_bos(const sl_tokenizer *tokenizer);
int32_t sl_tokenizer_eos(const sl_tokenizer *tokenizer);
/* The file asks for BOS before a text, EOS behind it, and has one. */
bool sl_tokenizer_adds_bos(const sl_tokenizer *tokenizer);
bool sl_tokenizer_adds_eos(const sl_tokenizer *tokenizer);
/* Append BOS if the file asks for it. SL_ERR_MEMORY. */
sl_status sl_tokenizer_begin(const sl_tokenizer *tokenizer, sl_tokens *out);
/* Encoding puts a space in front of a text. */
bool sl_tokenizer_adds_space(const sl_tokenizer *tokenizer);
/* Generation ends here: the ids that keys of the file say (eos, eot, eom, fim_pad, fim_rep,
 * fim_sep), and special tokens known to end a turn or a text (<|endoftext|>, <|im_end|>,
 * <|eot_id|>, </s> ...: vocabulary.c has the list). */
bool sl_tokenizer_ends(const sl_tokenizer *tokenizer, int32_t id);

/* The same as part of a text. *begins: nothing of it has come yet, so the space that encoding put
 * in front is left out; false for what continues a prompt. The first token that is text clears
 * it. */
sl_text sl_tokenizer_text(const sl_tokenizer *tokenizer, bool *begins, int32_t id);

/* Decoding a stream: bytes are held back until a UTF-8 character is whole. Start from {0} for what
 * continues a prompt, {.begins = true} for a text of its own (sl_tokenizer_text). */
typedef struct {
    char held[4];
    size_t n_held;
    bool begins;
} sl_decode_state;
/* Append the whole characters that are ready to out (room: sl_tokenizer_decode_bytes_max). Bytes
 * that can never become UTF-8 give U+FFFD, 3 bytes each. Control tokens give nothing. Returns bytes
 * written. */
size_t sl_tokenizer_decode(const sl_tokenizer *tokenizer, sl_decode_state *state, int32_t id,
                           char *out);
/* What is still held at the end: U+FFFD, 3 bytes, if anything. */
size_t sl_tokenizer_decode_end(sl_decode_state *state, char *out);
/* An upper bound of one sl_tokenizer_decode call's output, in bytes. */
size_t sl_tokenizer_decode_bytes_max(const sl_tokenizer *tokenizer);

#endif
