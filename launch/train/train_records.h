/* launch/train/train_records.h - instructions and their answers that a model is tuned on, as
 * tokens. Which record is where depends on its number and the seed alone, so any rank can take any
 * record, and a resumed run takes the same. */
#ifndef SL_TRAIN_RECORDS_H
#define SL_TRAIN_RECORDS_H

#include "launch/train/train_texts.h"

enum {
    SL_TRAIN_RECORD_FILES_MAX = 64,
    SL_TRAIN_RECORDS_HELD_OUT_MAX = 64,
    /* What `train sft` reads: sets of instructions have some 100 MB at most, and JSON may take
     * twenty times its text. */
    SL_TRAIN_RECORDS_BYTES_MAX = 1 << 29,
};

typedef struct sl_train_records sl_train_records;

typedef struct {
    const char *paths; /* commas between */
    /* tokens; other records are skipped */
    uint32_t shortest, longest, shortest_prompt;
    size_t bytes_max; /* of all files together */
    uint64_t seed;
} sl_train_records_options;

/* Lent until the records are closed. */
typedef struct {
    const int32_t *ids;
    uint32_t n, n_prompt; /* tokens, and those of the prompt, which come first */
} sl_train_record;

/* Read and tokenize. A file is a JSON array, or lines, of {"instruction", "output"}, an "input"
 * that is not empty behind the instruction, or of {"messages"} whose last one is the assistant's.
 * The prompt is what the chat template makes of it, without one the instruction and a line end (as
 * `eval tasks --form labels` asks); the answer, which is not blank, ends with EOS where the model
 * has one. What is not such a record is told and skipped. Of each file the last sixteenth is held
 * out. SL_ERR_FILE, SL_ERR_OPTION (a file has less than two records left, or files more bytes than
 * bytes_max), SL_ERR_MEMORY: logged. */
sl_status sl_train_records_open(const sl_train_records_options *options,
                                const sl_tokenizer *tokenizer, const sl_chat *chat,
                                sl_train_records **records_out);
void sl_train_records_close(sl_train_records *records); /* NULL is fine */

/* Record `number`, 0, 1, 2 .., to learn from: files take turns, a record of each is drawn. Of those
 * held out numbers below sl_train_records_n_held_out, evenly spaced in each file. */
sl_train_record sl_train_records_take(const sl_train_records *records, sl_piece_kind kind,
                                      uint64_t number);
uint64_t sl_train_records_n_held_out(const sl_train_records *records);
/* Which file a record to learn from is of: its name without folders; lent. */
const char *sl_train_records_name(const sl_train_records *records, uint64_t number);
/* Tokens of a record in the mean. */
uint32_t sl_train_records_mean_tokens(const sl_train_records *records);
/* What the tokens are: part of what a checkpoint belongs to. */
uint64_t sl_train_records_hash(const sl_train_records *records);

#endif
