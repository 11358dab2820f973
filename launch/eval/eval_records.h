/* launch/eval/eval_records.h - questions with several answers, of which one is right: files of the
 * form that LLM-Adapters uses (Hu et al. 2023, arXiv:2304.01933), a JSON array of {"instruction",
 * "output", "answer"}. An instruction reads "... question: QUESTION [Answer1: TEXT Answer2: TEXT
 * ...] Answer format: answer1/answer2"; answers that are not listed are their own text
 * (true/false). */
#ifndef SL_EVAL_RECORDS_H
#define SL_EVAL_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/status.h"

enum { SL_EVAL_CHOICES_MAX = 8 };

typedef struct {
    char *instruction;                  /* whole */
    char *outputs[SL_EVAL_CHOICES_MAX]; /* the output, once with every choice */
    char *question;                     /* alone */
    char *answers[SL_EVAL_CHOICES_MAX]; /* their texts */
    uint32_t n_answers, right;
    bool listed; /* answers have texts of their own */
} sl_eval_record;

typedef struct {
    sl_eval_record *records;
    size_t n, n_bad;
} sl_eval_records;

/* Read a file; of more than `limit` records (0: no limit) so many, evenly spaced. Bad records are
 * told with their number and skipped. SL_ERR_FILE, SL_ERR_FORMAT, SL_ERR_MEMORY, logged. Ended with
 * sl_eval_records_free, also after an error. */
sl_status sl_eval_records_read(const char *path, uint32_t limit, sl_eval_records *out);
/* The same of bytes; `path` is for messages. */
sl_status sl_eval_records_parse(const char *path, const char *text, size_t bytes, uint32_t limit,
                                sl_eval_records *out);
void sl_eval_records_free(sl_eval_records *records); /* all zero is fine */

#endif
