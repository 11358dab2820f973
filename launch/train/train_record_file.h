/* launch/train/train_record_file.h - the bytes of one file of instructions and answers, as tokens.
 * Trusts none of them: what is no record is told with its number, and skipped. Knows neither where
 * the bytes are from nor which record is learned from when. */
#ifndef SL_TRAIN_RECORD_FILE_H
#define SL_TRAIN_RECORD_FILE_H

#include "runtime/text/chat.h"
#include "runtime/text/tokenizer.h"

/* How records are read. */
typedef struct {
    const sl_tokenizer *tokenizer;
    const sl_chat *chat; /* NULL: none */
    /* tokens; other records are skipped */
    uint32_t shortest, longest, shortest_prompt;
} sl_train_record_reading;

/* Of the file's tokens: [begin, begin + n), the prompt's first. */
typedef struct {
    size_t begin;
    uint32_t n, n_prompt;
} sl_train_record_place;

typedef struct {
    sl_tokens tokens;
    sl_train_record_place *records; /* [n] */
    size_t n, capacity;
} sl_train_record_file;

/* What such a file is: train_records.h. `path` is for messages. SL_ERR_OPTION: a broken array;
 * SL_ERR_MEMORY: logged. Ended with sl_train_record_file_fini, also after an error. */
sl_status sl_train_record_file_parse(const sl_train_record_reading *reading, const char *path,
                                     const char *text, size_t bytes, sl_train_record_file *out);
void sl_train_record_file_fini(sl_train_record_file *file); /* all zero is fine */

#endif
