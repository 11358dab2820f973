/* launch/job/job_out_scan.c - the records that OUT holds already are read and compared with the
 * journal; OUT and its journal are written anew without those that are to be done again. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launch/job/job_out_state.h"
#include "launch/openai/openai.h"
#include "runtime/base/line_reader.h"
#include "runtime/base/log.h"

/* ---- what is there ---- */

/* A line of OUT that is a record. */
typedef struct {
    const char *line;
    size_t bytes; /* without its newline */
    XXH128_hash_t hash, id;
    bool whole; /* it has its newline */
    bool failed, journalled;
    uint64_t body_hash;
    char *custom_id; /* malloc'd */
} known_record;

/* The place of a line that is looked for. */
typedef struct {
    uint64_t offset;
    bool found;
} search;

static sl_status compare_place(void *context, const sl_job_entry *entry)
{
    search *s = context;
    s->found |= entry->offset == s->offset;
    return SL_OK;
}

/* A line that is none: whether our journal says that a record was written there. A host that went
 * down may have lost a part of it that was not yet synced; else the line is not ours. */
static sl_status judge_no_record(const sl_out *out, const sl_line_reader *reader, uint64_t offset)
{
    search place = {.offset = offset};
    sl_status status = sl_journal_each(out->journal_path, compare_place, &place);
    if (status != SL_OK || place.found) return status;
    sl_error("%s: line %" PRIu64
             " is no result record: is this another file? Take that line out, give "
             "another -o, or begin anew with --restart, which keeps the old files",
             out->path, reader->number);
    return SL_ERR_FORMAT;
}

/* SL_ERR_FORMAT, not logged: it is no record. */
static sl_status read_record(const sl_out *out, sl_line_reader *reader, known_record *record)
{
    sl_status status = sl_line_reader_next(reader, &record->line, &record->bytes, &record->whole);
    if (status != SL_OK) return status;
    record->hash = XXH3_128bits(record->line, record->bytes);
    const uint64_t *body = sl_hash_map_find(&out->known.requests, record->hash);
    record->journalled = body != NULL;
    record->body_hash = body ? *body : 0;
    if (!record->whole && !body) return SL_END; /* half a line */
    if (memchr(record->line, '\0', record->bytes))
        return SL_ERR_FORMAT; /* what a lost block holds */
    sl_result_known known;
    status = sl_result_read(record->line, record->bytes, &known);
    if (status != SL_OK) return status;
    record->custom_id = known.custom_id;
    record->id = sl_hash_id(known.custom_id);
    record->failed = known.failed;
    return SL_OK;
}

/* Call `see` for each record, in order. */
typedef struct {
    uint64_t whole_bytes;            /* where the last record ends */
    uint64_t n_broken, first_broken; /* lines that were records */
    bool lacks_newline;              /* an editor took the last one */
} walked;
typedef sl_status (*see_record)(void *context, const known_record *record, uint64_t offset);
static sl_status walk(const sl_out *out, see_record see, void *context, walked *walked_out)
{
    FILE *file = fopen(out->path, "re");
    if (!file) return sl_file_error("open", out->path);
    sl_line_reader reader;
    sl_line_reader_init(&reader, file, SL_RESULT_BYTES_MAX); /* no record is longer */
    *walked_out = (walked){.n_broken = 0};
    sl_status status;
    do {
        known_record record = {.custom_id = NULL};
        uint64_t offset = reader.offset;
        status = read_record(out, &reader, &record);
        if (status == SL_ERR_FORMAT) {
            status = judge_no_record(out, &reader, offset);
            if (walked_out->n_broken++ == 0) walked_out->first_broken = reader.number;
        } else if (status == SL_OK) {
            status = see(context, &record, offset);
            walked_out->lacks_newline = !record.whole;
        }
        free(record.custom_id);
        if (status == SL_OK) walked_out->whole_bytes = reader.offset;
    } while (status == SL_OK);
    sl_line_reader_fini(&reader);
    fclose(file);
    return status == SL_END ? SL_OK : status;
}

typedef struct {
    const sl_out *out;
    sl_out_see see;
    void *context;
    uint64_t n_records, n_unknown, first_unknown;
} scanning;

static sl_status scan_record(void *context, const known_record *record, uint64_t offset)
{
    (void)offset;
    scanning *s = context;
    s->n_records++;
    if (!record->journalled && s->n_unknown++ == 0) s->first_unknown = s->n_records;
    sl_out_record known = {record->custom_id, record->id, record->body_hash, record->failed};
    return s->see(s->context, &known);
}

/* Half a line at the end goes; a newline that an editor took comes back. */
static sl_status mend_end(sl_out *out, const walked *w)
{
    if (w->lacks_newline) {
        out->bytes++;
        return sl_file_write(out->file, out->path, "\n", 1);
    }
    if (w->whole_bytes == out->bytes) return SL_OK;
    sl_warn("%s: its last line was not whole (an interrupted job); it is done again", out->path);
    out->bytes = w->whole_bytes;
    return sl_file_cut(out->file, out->path, w->whole_bytes);
}

/* ---- writing OUT and its journal anew ---- */

typedef struct {
    sl_out_picks picks; /* NULL: all records stay */
    void *context;
    sl_file_fresh *out; /* NULL: only the journal is written */
    sl_journal journal;
    uint64_t bytes;
} rewriting;

static sl_status copy_record(void *context, const known_record *record, uint64_t offset)
{
    rewriting *r = context;
    if (r->picks && r->picks(r->context, record->id)) return SL_OK;
    if (!r->out) r->bytes = offset;
    sl_job_entry entry = sl_out_entry(r->bytes, record->bytes + 1, record->hash, record->body_hash);
    sl_status status = sl_journal_append(&r->journal, &entry);
    if (status == SL_OK && r->out)
        status = sl_file_write(r->out->file, r->out->temporary, record->line, record->bytes);
    if (status == SL_OK && r->out) status = sl_file_write(r->out->file, r->out->temporary, "\n", 1);
    r->bytes += record->bytes + 1;
    return status;
}

static void take_journal(sl_out *out, rewriting *r)
{
    sl_journal_close(&out->journal);
    out->journal = r->journal;
}

/* OUT and its journal did not agree: an entry for each record, at its place. */
static sl_status renew_journal(sl_out *out)
{
    rewriting r = {.out = NULL};
    sl_file_fresh fresh;
    sl_status status = sl_journal_create(out->journal_path, &out->known.identity, &fresh,
                                         &r.journal);
    if (status != SL_OK) return status;
    walked w = {.n_broken = 0};
    status = walk(out, copy_record, &r, &w);
    if (status != SL_OK) {
        sl_journal_drop(&fresh, &r.journal);
        return status;
    }
    status = sl_journal_commit(&fresh, &r.journal);
    take_journal(out, &r);
    return status;
}

/* OUT against its journal: results that were taken out are done again, others are kept as they
 * are. */
static sl_status compare_journal(sl_out *out, const scanning *s, bool was_torn)
{
    uint64_t n_lost = out->known.requests.count - (s->n_records - s->n_unknown);
    if (s->n_unknown > 0)
        sl_warn("%s: %s has no entry for %" PRIu64 " of its lines, the first being line %" PRIu64
                ": they are kept, but whether their requests were edited since is not known",
                out->path, out->journal_path, s->n_unknown, s->first_unknown);
    if (n_lost > 0 && !was_torn)
        sl_warn("%s lacks %" PRIu64 " results that %s tells of: they are done again", out->path,
                n_lost, out->journal_path);
    return s->n_unknown > 0 || n_lost > 0 ? renew_journal(out) : SL_OK;
}

sl_status sl_out_scan(sl_out *out, sl_out_see see, void *context)
{
    scanning s = {.out = out, .see = see, .context = context};
    walked w = {.n_broken = 0};
    sl_status status = walk(out, scan_record, &s, &w);
    if (status != SL_OK) return status;
    bool was_torn = w.whole_bytes < out->bytes || w.n_broken > 0;
    status = mend_end(out, &w);
    if (status != SL_OK) return status;
    if (w.n_broken == 0) return compare_journal(out, &s, was_torn);
    sl_warn("%s: %" PRIu64 " of its lines, the first being line %" PRIu64
            ", were written as records "
            "and are none now (the host went down, or they were edited): they are done again",
            out->path, w.n_broken, w.first_broken);
    return sl_out_drop(out, NULL, NULL);
}

/* Hard links would part: one of them would keep the old results. */
static sl_status check_one_name(const sl_out *out)
{
    struct stat there;
    if (fstat(out->file, &there) != 0) return sl_file_error("look at", out->path);
    if (there.st_nlink <= 1) return SL_OK;
    sl_error(
        "%s has %lu names (hard links), which leaving out records would part: copy it to another "
        "-o with its .job first",
        out->path, (unsigned long)there.st_nlink);
    return SL_ERR_FILE;
}

/* OUT first: the old journal knows all that the new OUT holds, should the job end between the
 * two. */
static sl_status commit_both(sl_out *out, rewriting *r, sl_file_fresh *fresh_journal)
{
    sl_status status = sl_out_lock(r->out->file, r->out->temporary, &out->warned);
    if (status == SL_OK)
        status = sl_file_fresh_commit(r->out);
    else
        sl_file_fresh_drop(r->out);
    if (status != SL_OK) {
        sl_journal_drop(fresh_journal, &r->journal);
        return status;
    }
    close(out->file);
    out->file = r->out->file;
    out->bytes = r->bytes;
    status = sl_journal_commit(fresh_journal, &r->journal);
    take_journal(out, r);
    return status;
}

sl_status sl_out_drop(sl_out *out, sl_out_picks picks, void *context)
{
    sl_status status = check_one_name(out);
    if (status != SL_OK) return status;
    sl_file_fresh fresh, fresh_journal;
    rewriting r = {.picks = picks, .context = context, .out = &fresh};
    status = sl_journal_create(out->journal_path, &out->known.identity, &fresh_journal, &r.journal);
    if (status != SL_OK) return status;
    status = sl_file_fresh_begin(out->path, &fresh);
    if (status == SL_OK) {
        walked w = {.n_broken = 0};
        status = walk(out, copy_record, &r, &w);
        if (status == SL_OK) return commit_both(out, &r, &fresh_journal);
        sl_file_fresh_drop(&fresh);
    }
    sl_journal_drop(&fresh_journal, &r.journal);
    return status;
}
