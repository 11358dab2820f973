/* launch/job/job_out_state.h - what an open OUT is, for the files job_out_*.c only: opening and
 * claiming, scanning and rewriting, appending and verifying. */
#ifndef SL_JOB_OUT_STATE_H
#define SL_JOB_OUT_STATE_H

#include <limits.h>

#include "launch/job/job_out.h"
#include "launch/job/journal.h"
#include "runtime/base/file.h"

struct sl_out {
    int file;
    bool created;   /* by us, and empty */
    bool warned;    /* that there are no locks here */
    uint64_t bytes; /* of whole records */
    char path[PATH_MAX], journal_path[PATH_MAX];
    sl_journal journal;
    sl_journal_content known; /* what the journal said when it was opened, until the first record */
    bool appended;            /* since the last sync */
    sl_file_stamp stamp, journal_stamp; /* as of then */
};

/* Lock an open file against other jobs. A file system without locks is warned about, once by
 * *warned. SL_ERR_FILE, logged: another process holds it. */
sl_status sl_out_lock(int file, const char *path, bool *warned);

/* The journal's entry of a record of n_bytes, its newline included; `hash` is of its bytes
 * without. */
sl_job_entry sl_out_entry(uint64_t offset, uint64_t n_bytes, XXH128_hash_t hash,
                          uint64_t body_hash);

#endif
