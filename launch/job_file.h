/* launch/job_file.h - the files of a job: IN is scanned before the start and read line by line, OUT
 * is appended to, one whole durable line a result, OUT.job says which job OUT belongs to.
 * Nothing here knows what a request means. Memory: sl_job_plan. */
#ifndef SL_JOB_FILE_H
#define SL_JOB_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "launch/job_json.h"
#include "proto/wire.h"
#include "runtime/base/status.h"

typedef struct sl_job sl_job;

enum { SL_JOB_LINE_BYTES_MAX = 64 << 20 };

/* What a job over IN takes at most, bytes. */
typedef struct {
    uint64_t file;    /* ids, the longest line, and one being read: its JSON and its tokens */
    uint64_t waiting; /* requests between reading and writing that keep another from being read */
    uint64_t request; /* and one more, the largest */
    uint64_t record;  /* the largest, while it is written */
} sl_job_plan;

/* Reads IN once. All 0 when it cannot be read, which sl_job_open will say. */
void sl_job_plan_make(const char *in_path, const sl_job_reader *reader, uint32_t ahead,
                      sl_job_plan *plan_out);

/* Scan IN for ids, and OUT for results that are there; lock OUT; refuse, logged: a duplicate id, an
 * OUT that is of another job (the difference is said), that another process is writing, or that is
 * no result file. A last line without its end, left by an interrupted job, is cut off.
 * With `retry_errors`, error records leave OUT to be done again.
 * On SL_OK the caller ends *job_out with sl_job_close. */
sl_status sl_job_open(const char *in_path, const char *out_path, const sl_job_identity *identity,
                      bool retry_errors, sl_job **job_out);
void sl_job_close(sl_job *job); /* NULL is fine */

uint64_t sl_job_total(const sl_job *job);         /* requests in IN */
uint64_t sl_job_known_results(const sl_job *job); /* of them, done before */
uint64_t sl_job_known_failed(const sl_job *job);  /* error records that stay in OUT */

/* The next line without a result: lent until the next call. A line longer than
 * SL_JOB_LINE_BYTES_MAX gives its first bytes. SL_END; SL_ERR_FILE. */
sl_status sl_job_next(sl_job *job, const char **line_out, size_t *bytes_out, uint64_t *number_out);

/* Append one record (with its newline); durable when this returns SL_OK. SL_ERR_FILE. */
sl_status sl_job_append(sl_job *job, const char *record, size_t bytes);

#endif
