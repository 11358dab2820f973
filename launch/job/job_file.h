/* launch/job/job_file.h - the files of a job: IN is scanned before the start and read line by line,
 * OUT is appended to, one whole line a result, OUT.job is its journal (job_out.h). Nothing here
 * knows what a request means. Memory: sl_job_plan. */
#ifndef SL_JOB_FILE_H
#define SL_JOB_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "launch/openai/openai.h"
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
void sl_job_plan_make(const char *in_path, const sl_request_reader *reader, uint32_t ahead,
                      sl_job_plan *plan_out);

/* Requests that were edited since they were answered. */
typedef enum { SL_CHANGED_REFUSE, SL_CHANGED_REDO, SL_CHANGED_KEEP } sl_changed;

typedef struct {
    bool retry_errors; /* error records leave OUT to be done again */
    bool restart;      /* what is there is moved away first */
    sl_changed changed;
} sl_job_options;

/* Whether IN and OUT can be a job's files at all. Looks, and changes nothing. SL_ERR_FILE,
 * SL_ERR_OPTION: logged with what to do. */
sl_status sl_job_check(const char *in_path, const char *out_path);

/* Scan IN for ids, and OUT for results that are there; lock OUT; refuse, logged: a duplicate id, an
 * OUT that is of another job (the difference is said), that another process is writing, or that is
 * no result file, and requests edited since they were answered. A last line without its end, left
 * by an interrupted job, is cut off. On SL_OK the caller ends *job_out with sl_job_close. */
sl_status sl_job_open(const char *in_path, const char *out_path, const sl_job_identity *identity,
                      const sl_job_options *options, sl_job **job_out);
void sl_job_close(sl_job *job); /* NULL is fine */

uint64_t sl_job_total(const sl_job *job);         /* requests in IN */
uint64_t sl_job_known_results(const sl_job *job); /* of them, done before */
uint64_t sl_job_known_failed(const sl_job *job);  /* of those, error records */

typedef struct {
    const char *text; /* lent until the next call */
    size_t bytes;
    uint64_t number;    /* in IN, from 1 */
    uint64_t body_hash; /* sl_request_line_key's */
} sl_job_line;
/* The next line without a result. A line longer than SL_JOB_LINE_BYTES_MAX gives its first bytes.
 * SL_END; SL_ERR_FILE, logged: also when a line is not what it was at the start. */
sl_status sl_job_next(sl_job *job, sl_job_line *line_out);

/* Append one record (with its newline) of a request. It lasts when sl_job_sync has returned SL_OK;
 * so records are synced in groups. On SL_ERR_FILE, logged, nothing of it is in OUT. */
sl_status sl_job_append(sl_job *job, const char *record, size_t bytes, uint64_t body_hash);
/* SL_ERR_FILE, logged: also when OUT or its journal is not any more what its name says. */
sl_status sl_job_sync(sl_job *job);

/* All is answered: whether it lasts and IN still asks the same. Logged: SL_ERR_FILE, not so;
 * SL_ERR_JOB, IN has grown, and the same line run again answers the rest. */
sl_status sl_job_finish(sl_job *job);

#endif
