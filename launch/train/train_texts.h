/* launch/train/train_texts.h - texts that gates are trained on, as tokens, and pieces of them.
 * Which piece is where depends on its number and the seed alone, so any rank can take any piece,
 * and a resumed run takes the same. */
#ifndef SL_TRAIN_TEXTS_H
#define SL_TRAIN_TEXTS_H

#include "runtime/text/chat.h"
#include "runtime/text/tokenizer.h"

enum { SL_TRAIN_TEXTS_MAX = 64 };

typedef struct sl_train_texts sl_train_texts;

typedef struct {
    const char *paths; /* commas between */
    uint32_t longest;  /* piece; a shorter text is an error */
    uint64_t seed;
    double repeat; /* share of the pieces that are a passage and the order to repeat it */
} sl_train_texts_options;

/* Read and tokenize. *.jsonl has one {"text": ".."} or {"messages": [{"role", "content"}, ..]} a
 * line, put one behind the other, messages as the model's chat template has them; bad lines are
 * told with their number and skipped. Any other file is text as it is. Of each, the last sixteenth
 * (a piece at least) is held out.
 * SL_ERR_FILE, SL_ERR_OPTION, SL_ERR_MEMORY, logged. chat NULL: the model has no template we
 * know. */
sl_status sl_train_texts_open(const sl_train_texts_options *options, const sl_tokenizer *tokenizer,
                              const sl_chat *chat, sl_train_texts **texts_out);
void sl_train_texts_close(sl_train_texts *texts); /* NULL is fine */

typedef enum { SL_TRAIN_PIECE, SL_HELD_OUT_PIECE } sl_piece_kind;
/* Piece `number`, 0, 1, 2 .., of n tokens, n at most the longest: texts take turns. Where the file
 * asks for BOS, a piece begins with it, in a token's place. */
void sl_train_texts_piece(const sl_train_texts *texts, sl_piece_kind kind, uint64_t number,
                          uint32_t n, int32_t *tokens_out);
/* Which text a piece is of: its file's name without folders; lent. */
const char *sl_train_texts_name(const sl_train_texts *texts, uint64_t number);
uint32_t sl_train_texts_n(const sl_train_texts *texts);
/* What the tokens are: part of what a checkpoint belongs to. */
uint64_t sl_train_texts_hash(const sl_train_texts *texts);

#endif
