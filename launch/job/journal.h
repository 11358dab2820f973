/* launch/job/journal.h - OUT.job, the journal of a job: which job OUT belongs to, then an entry for
 * each line of OUT, appended before the line is. Knows nothing of requests and results.
 *
 * On disk (proto/wire.h): what the job is, then entries, each with its checksum. A file that ends
 * in half an entry was left by an interrupted job and is mended; a broken entry with whole ones
 * behind it is damage, and is refused with its offset. */
#ifndef SL_JOURNAL_H
#define SL_JOURNAL_H

#include <stdio.h>

#include "proto/wire.h"
#include "runtime/base/file.h"
#include "runtime/base/hash_map.h"

/* What a journal says. */
typedef struct {
    sl_job_identity identity;
    sl_hash_map requests; /* the hash of the request (0: not known) by that of its record */
    uint64_t n_entries;
    uint64_t bytes, whole_bytes; /* in all, and up to the end of the last whole entry */
} sl_journal_content;

/* Whether a journal can be at `path`: a file, or nothing yet. SL_ERR_FILE, logged. */
sl_status sl_journal_check(const char *path);
/* Read the journal at `path`. On SL_OK the caller ends the content with sl_journal_content_fini.
 * SL_END: there is none, or an empty file. SL_ERR_FORMAT, logged: it is damaged or no journal, with
 * the offset. SL_ERR_FILE, logged. SL_ERR_MEMORY. */
sl_status sl_journal_read(const char *path, sl_journal_content *content_out);
/* The same of an open file, from its position to its end; `path` is for messages. */
sl_status sl_journal_parse(FILE *file, const char *path, sl_journal_content *content_out);
void sl_journal_content_fini(sl_journal_content *content);
/* Call `see` for each entry of a journal that can be read, in order; what it returns but SL_OK ends
 * that and is returned. SL_ERR_FORMAT, SL_ERR_FILE, logged; SL_ERR_MEMORY. */
typedef sl_status (*sl_journal_see)(void *context, const sl_job_entry *entry);
sl_status sl_journal_each(const char *path, sl_journal_see see, void *context);

/* A journal being written. */
typedef struct {
    int file;
    char *path;
    uint64_t bytes;
} sl_journal;

/* Begin a journal beside its place, which it takes with sl_journal_commit; until then entries may
 * be appended that become durable with it. SL_ERR_FILE, logged; SL_ERR_MEMORY. */
sl_status sl_journal_create(const char *path, const sl_job_identity *identity,
                            sl_file_fresh *fresh_out, sl_journal *journal_out);
sl_status sl_journal_commit(sl_file_fresh *fresh, sl_journal *journal);
void sl_journal_drop(sl_file_fresh *fresh, sl_journal *journal); /* instead of commit */
/* Go on with one that was read; half an entry at its end is cut off. SL_ERR_FILE, logged. */
sl_status sl_journal_open(const char *path, const sl_journal_content *content,
                          sl_journal *journal_out);
void sl_journal_close(sl_journal *journal); /* one of {.file = -1} is fine */

/* On SL_ERR_FILE, logged, the journal is as it was before. */
sl_status sl_journal_append(sl_journal *journal, const sl_job_entry *entry);
/* Take the last so many bytes back: entries whose lines were not written. */
void sl_journal_take_back(sl_journal *journal, uint64_t bytes_before);
/* What was appended lasts. SL_ERR_FILE, logged. */
sl_status sl_journal_sync(const sl_journal *journal);

#endif
