/* launch/job/job_out.h - OUT, the results of a job, and its journal beside it: locked, read again
 * when a job is resumed, appended to. Knows what a record looks like, not what it answers.
 *
 * A record's entry goes to the journal, then the record to OUT; both last once sl_out_sync has
 * returned. So however a process ends, OUT holds whole records, each with its entry, and at most
 * one broken line behind them; a host that goes down may lose any part of what was not synced. */
#ifndef SL_JOB_OUT_H
#define SL_JOB_OUT_H

#include <stdbool.h>

#include "proto/wire.h"
#include "runtime/base/hash_map.h"

typedef struct sl_out sl_out;

/* Whether results can go to `path`: a file that stdout and stderr do not go to, or nothing yet.
 * Looks, and changes nothing. SL_ERR_FILE, SL_ERR_OPTION: logged with what to do. */
sl_status sl_out_check(const char *path);

/* Open OUT behind its symbolic links, lock it, and read what its journal says, or begin one where
 * OUT is empty. With `restart`, what is there is moved away first, to OUT.1, OUT.1.job and so on. A
 * file system without locks is warned about. Refused, logged: no file, a lock that another process
 * holds, results without a journal, a journal of another job (SL_ERR_OPTION, with the differences)
 * or one that is damaged (SL_ERR_FORMAT). */
sl_status sl_out_open(const char *path, const sl_job_identity *identity, bool restart,
                      sl_out **out_out);
void sl_out_close(sl_out *out);             /* NULL is fine */
const char *sl_out_path(const sl_out *out); /* without links */

/* A record that is there. */
typedef struct {
    const char *custom_id; /* lent for the call */
    XXH128_hash_t id;      /* its hash */
    uint64_t body_hash;    /* of the request that it answers; 0: not known */
    bool failed;
} sl_out_record;
typedef sl_status (*sl_out_see)(void *context, const sl_out_record *record);
/* Tell of each record. Half a line at the end is cut off, a record that a host lost as it went down
 * is left out, and a journal that does not agree with OUT is written anew: all warned about.
 * SL_ERR_FORMAT, logged: a line is no record of ours. */
sl_status sl_out_scan(sl_out *out, sl_out_see see, void *context);

/* Leave out the records that `picks` picks by their id (NULL: none), by writing OUT and its journal
 * anew; the lock moves along. After sl_out_scan, before sl_out_begin. */
typedef bool (*sl_out_picks)(void *context, XXH128_hash_t id);
sl_status sl_out_drop(sl_out *out, sl_out_picks picks, void *context);

/* All is read; records follow. */
sl_status sl_out_begin(sl_out *out);
/* Append a record with its newline. On SL_ERR_FILE, logged, nothing of it is there: also when OUT
 * or its journal was written to since the last sync. */
sl_status sl_out_append(sl_out *out, const char *record, size_t bytes, uint64_t body_hash);
/* All that was appended lasts, and OUT and its journal are still what their names say.
 * SL_ERR_FILE, logged: then what was appended since the last sync may be lost, or not. */
sl_status sl_out_sync(sl_out *out);
/* All is synced: whether every record is as its entry says. Reads OUT once. SL_ERR_FILE, logged. */
sl_status sl_out_verify(const sl_out *out);

#endif
