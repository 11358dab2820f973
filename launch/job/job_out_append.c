/* launch/job/job_out_append.c - records are appended to OUT with their entries in the journal,
 * synced, and at the end of the job read once more. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "launch/job/job_out_state.h"
#include "runtime/base/log.h"

sl_job_entry sl_out_entry(uint64_t offset, uint64_t n_bytes, XXH128_hash_t hash, uint64_t body_hash)
{
    return (sl_job_entry){.offset = offset,
                          .n_bytes = n_bytes,
                          .body_hash = body_hash,
                          .record_hash_low = hash.low64,
                          .record_hash_high = hash.high64};
}

/* ---- appending ---- */

static sl_status take_stamps(sl_out *out)
{
    sl_status status = sl_file_stamp_take(out->file, out->path, &out->stamp);
    if (status == SL_OK)
        status = sl_file_stamp_take(out->journal.file, out->journal_path, &out->journal_stamp);
    return status;
}

sl_status sl_out_begin(sl_out *out)
{
    sl_journal_content_fini(&out->known);
    return take_stamps(out);
}

static sl_status judge(const char *path, sl_file_change change)
{
    if (change == SL_FILE_SAME) return SL_OK;
    sl_error("%s %s while the job ran, and not by it: the job ends, since results would be lost or "
             "mixed",
             path, sl_file_change_text(change));
    return SL_ERR_FILE;
}

/* What was synced is as it was then. */
static sl_status check_stamps(const sl_out *out)
{
    sl_status status = judge(out->path, sl_file_stamp_compare(out->path, &out->stamp));
    if (status != SL_OK) return status;
    return judge(out->journal_path, sl_file_stamp_compare(out->journal_path, &out->journal_stamp));
}

sl_status sl_out_append(sl_out *out, const char *record, size_t bytes, uint64_t body_hash)
{
    sl_status status = out->appended ? SL_OK : check_stamps(out);
    if (status != SL_OK) return status;
    out->appended = true;
    uint64_t journal_bytes = out->journal.bytes;
    sl_job_entry entry = sl_out_entry(out->bytes, bytes, XXH3_128bits(record, bytes - 1),
                                      body_hash);
    status = sl_journal_append(&out->journal, &entry);
    if (status != SL_OK) return status;
    status = sl_file_write(out->file, out->path, record, bytes);
    if (status == SL_OK) {
        out->bytes += bytes;
        return SL_OK;
    }
    sl_file_cut(out->file, out->path, out->bytes);
    sl_journal_take_back(&out->journal, journal_bytes);
    return status;
}

/* The name still means the open file, of the size we made it. */
static sl_status check_written(const char *path, const sl_file_stamp *stamp, uint64_t bytes)
{
    if (stamp->bytes != bytes)
        return judge(path, stamp->bytes < bytes ? SL_FILE_CUT : SL_FILE_GROWN);
    return judge(path, sl_file_stamp_compare(path, stamp));
}

sl_status sl_out_sync(sl_out *out)
{
    if (!out->appended) return check_stamps(out);
    sl_status status = sl_journal_sync(&out->journal);
    if (status == SL_OK) status = sl_file_sync(out->file, out->path);
    if (status == SL_OK) status = take_stamps(out);
    if (status == SL_OK) status = check_written(out->path, &out->stamp, out->bytes);
    if (status == SL_OK)
        status = check_written(out->journal_path, &out->journal_stamp, out->journal.bytes);
    if (status == SL_OK) out->appended = false;
    return status;
}

/* ---- the end ---- */

enum { PIECE_BYTES = 1 << 16 };
typedef struct {
    const sl_out *out;
    XXH3_state_t *state;
    uint8_t *piece;            /* [PIECE_BYTES] */
    uint64_t bytes;            /* of the entries so far: they stand one behind the other */
    uint64_t n_bad, bad_place; /* records that are not as they were written; where the first is */
} verifying;

/* The hash of n_bytes of OUT. SL_ERR_FILE, logged. */
static sl_status hash_place(verifying *v, uint64_t offset, uint64_t n_bytes,
                            XXH128_hash_t *hash_out)
{
    XXH3_128bits_reset(v->state);
    while (n_bytes > 0) {
        size_t wanted = n_bytes < PIECE_BYTES ? (size_t)n_bytes : PIECE_BYTES;
        ssize_t n = pread(v->out->file, v->piece, wanted, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return sl_file_error("read", v->out->path);
        if (n == 0) break; /* another hash, then */
        XXH3_128bits_update(v->state, v->piece, (size_t)n);
        offset += (uint64_t)n;
        n_bytes -= (uint64_t)n;
    }
    *hash_out = XXH3_128bits_digest(v->state);
    return SL_OK;
}

static sl_status verify_entry(void *context, const sl_job_entry *entry)
{
    verifying *v = context;
    XXH128_hash_t hash = {0, 0}, expected = {entry->record_hash_low, entry->record_hash_high};
    if (entry->n_bytes == 0) return SL_ERR_FORMAT; /* none of ours */
    sl_status status = hash_place(v, entry->offset, entry->n_bytes - 1, &hash);
    if (status != SL_OK) return status;
    bool good = entry->offset == v->bytes && XXH128_isEqual(hash, expected);
    v->bytes = entry->offset + entry->n_bytes;
    if (!good && v->n_bad++ == 0) v->bad_place = entry->offset;
    return SL_OK;
}

sl_status sl_out_verify(const sl_out *out)
{
    verifying v = {.out = out, .state = XXH3_createState(), .piece = malloc(PIECE_BYTES)};
    sl_status status = v.state && v.piece ? SL_OK : SL_ERR_MEMORY;
    if (status == SL_OK) status = sl_journal_each(out->journal_path, verify_entry, &v);
    XXH3_freeState(v.state);
    free(v.piece);
    if (status != SL_OK || (v.n_bad == 0 && v.bytes == out->bytes)) return status;
    sl_error("%s was written to while the job ran, and not by it: %" PRIu64
             " of its records are not as they were written, the first being at byte %" PRIu64
             ". Run the same line again: what is no record any more is done again",
             out->path, v.n_bad, v.bad_place);
    return SL_ERR_FILE;
}
