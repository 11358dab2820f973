/* launch/job_out.h - OUT, the results of a job, and its journal beside it: locked, read again when a
 * job is resumed, appended to. Knows what a record looks like, not what it answers.
 *
 * A record's entry goes to the journal, then the record to OUT; both last once sl_out_sync has
 * returned. So whatever ends a job, OUT holds whole records, each with its entry, and at most one
 * broken line behind them. */
#ifndef SL_JOB_OUT_H
#define SL_JOB_OUT_H

#include <stdbool.h>

#include "launch/hash_map.h"
#include "proto/wire.h"

typedef struct sl_out sl_out;

/* Whether results can go to `path`: a file, or nothing yet. Looks, and changes nothing.
 * SL_ERR_FILE, SL_ERR_OPTION: logged with what to do. */
sl_status sl_out_check(const char *path);

/* Open OUT behind its symbolic links, lock it, and read what its journal says, or begin one where OUT
 * is empty. With `restart`, what is there is moved away first, to OUT.1, OUT.1.job and so on.
 * A file system without locks is warned about. Refused, logged: no file, a lock that another process
 * holds, results without a journal, a journal of another job (SL_ERR_OPTION, with the differences)
 * or one that is damaged (SL_ERR_FORMAT). */
sl_status sl_out_open(const char *path, const sl_job_identity *identity, bool restart,
                      sl_out **out_out);
void sl_out_close(sl_out *out);             /* NULL is fine */
const char *sl_out_path(const sl_out *out); /* without links */

/* Read the records: the hash of each one's request (0: not known) by sl_hash_id of its custom_id, and
 * how many are errors; those are left out of the map if `skip_failed`. Half a line at the end is cut
 * off. On SL_OK the caller frees the map. SL_ERR_FORMAT, logged: a line is no record. */
sl_status sl_out_scan(sl_out *out, bool skip_failed, sl_hash_map *requests_out,
                      uint64_t *n_failed_out);

/* Leave out the records that `drops` picks, by writing OUT and its journal anew; the lock moves along.
 * To be called behind sl_out_scan, once at most, before anything is appended. */
typedef bool (*sl_out_drops)(void *context, XXH128_hash_t id, bool failed);
sl_status sl_out_drop(sl_out *out, sl_out_drops drops, void *context);

/* Append a record with its newline. On SL_ERR_FILE, logged, nothing of it is there. */
sl_status sl_out_append(sl_out *out, const char *record, size_t bytes, uint64_t body_hash);
/* All that was appended lasts, and OUT and its journal are still what their names say.
 * SL_ERR_FILE, logged. */
sl_status sl_out_sync(sl_out *out);

#endif
