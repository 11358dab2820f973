/* launch/job/job_out.c - see job_out.h. */
#include "launch/job/job_out.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launch/job/journal.h"
#include "launch/openai/openai.h"
#include "runtime/base/file.h"
#include "runtime/base/line_reader.h"
#include "runtime/base/log.h"

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

/* ---- what OUT may be ---- */

static const char *kind_of(mode_t mode)
{
    if (S_ISDIR(mode)) return "a directory";
    if (S_ISFIFO(mode)) return "a pipe";
    if (S_ISSOCK(mode)) return "a socket";
    return "a device";
}

/* Its report or log lines would be among the results. */
static sl_status check_not_standard(const char *path, const struct stat *there)
{
    for (int number = STDOUT_FILENO; number <= STDERR_FILENO; number++) {
        struct stat standard;
        if (fstat(number, &standard) != 0) continue;
        if (there->st_dev != standard.st_dev || there->st_ino != standard.st_ino) continue;
        sl_error(
            "%s is also where %s goes, whose lines would be among the results: give another -o, "
            "or send that elsewhere",
            path, number == STDOUT_FILENO ? "stdout" : "stderr");
        return SL_ERR_OPTION;
    }
    return SL_OK;
}

sl_status sl_out_check(const char *path)
{
    struct stat there;
    if (strcmp(path, "-") == 0) {
        sl_error(
            "-o -: results are kept in a file, so that a job can be resumed: give its name, and "
            "read it with tail -f if you like");
        return SL_ERR_OPTION;
    }
    char journal_path[PATH_MAX];
    snprintf(journal_path, sizeof journal_path, "%s.job", path);
    if (sl_journal_check(journal_path) != SL_OK) return SL_ERR_FILE;
    if (stat(path, &there) != 0) return SL_OK; /* opening it says more */
    if (S_ISREG(there.st_mode)) return check_not_standard(path, &there);
    sl_error(
        "%s is %s: results are kept in a file, so that a job can be resumed: give its name, and "
        "read it with tail -f if you like",
        path, kind_of(there.st_mode));
    return SL_ERR_FILE;
}

/* ---- opening and locking ---- */

/* Nothing keeps a second job away then, which is no reason to do none. */
static bool has_no_locks(int error)
{
    return error == ENOSYS || error == ENOLCK || error == EOPNOTSUPP;
}

static sl_status lock(int file, const char *path, bool *warned)
{
    while (flock(file, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EINTR) continue;
        if (errno == EWOULDBLOCK) {
            sl_error("%s is being written by another process", path);
            return SL_ERR_FILE;
        }
        if (!has_no_locks(errno)) return sl_file_error("lock", path);
        if (!*warned)
            sl_warn("%s: its file system has no locks (%s): see to it that no second job writes it",
                    path, strerror(errno));
        *warned = true;
        return SL_OK;
    }
    return SL_OK;
}

/* Another process may have moved it away, or put a new file in its place, between opening and locking. */
static bool is_still(int file, const char *path)
{
    sl_file_stamp stamp;
    if (sl_file_stamp_take(file, path, &stamp) != SL_OK) return false;
    sl_file_change change = sl_file_stamp_compare(path, &stamp);
    return change != SL_FILE_REPLACED && change != SL_FILE_GONE;
}

static sl_status open_locked(sl_out *out, const char *path)
{
    for (;;) {
        sl_status status = sl_out_check(path);
        if (status != SL_OK) return status;
        out->created = access(path, F_OK) != 0;
        out->file = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0666);
        if (out->file < 0) return sl_file_error("open", path);
        status = lock(out->file, path, &out->warned);
        if (status != SL_OK || is_still(out->file, path)) return status;
        close(out->file);
        out->file = -1;
    }
}

/* Where OUT is, and its journal beside it: two links to one file are one job. */
static sl_status find_paths(sl_out *out, const char *path)
{
    if (!realpath(path, out->path)) return sl_file_error("find", path);
    int n = snprintf(out->journal_path, sizeof out->journal_path, "%s.job", out->path);
    if (n < (int)sizeof out->journal_path) return SL_OK;
    sl_error("the name %s is too long", path);
    return SL_ERR_FILE;
}

static sl_status find_size(sl_out *out)
{
    sl_file_stamp stamp;
    sl_status status = sl_file_stamp_take(out->file, out->path, &stamp);
    if (status == SL_OK) out->bytes = stamp.bytes;
    return status;
}

/* ---- beginning anew ---- */

static bool is_there(const char *path)
{
    struct stat there;
    return lstat(path, &there) == 0;
}

enum { MOVED_BYTES = PATH_MAX + 32 };

/* The first of OUT.1, OUT.2 ... whose journal's name is free, and its own too unless it stays. */
static sl_status find_free_names(const sl_out *out, bool out_moves, char *to, char *journal_to)
{
    for (int n = 1; n < 100000; n++) {
        snprintf(to, MOVED_BYTES, "%s.%d", out->path, n);
        snprintf(journal_to, MOVED_BYTES, "%s.job", to);
        if (!is_there(journal_to) && !(out_moves && is_there(to))) return SL_OK;
    }
    sl_error("%s has too many old files beside it: move them away", out->path);
    return SL_ERR_FILE;
}

/* OUT first: its journal alone still finds it (begin_journal), should the job end between the two. */
static sl_status move_away(const sl_out *out)
{
    char to[MOVED_BYTES], journal_to[MOVED_BYTES];
    sl_status status = find_free_names(out, true, to, journal_to);
    if (status == SL_OK) status = sl_file_rename(out->path, to);
    if (status == SL_OK && is_there(out->journal_path))
        status = sl_file_rename(out->journal_path, journal_to);
    if (status != SL_OK) return status;
    sl_info("--restart: what was in %s is in %s now; leave --restart out to go on later", out->path,
            to);
    return SL_OK;
}

static sl_status start_anew(sl_out *out)
{
    if (out->bytes == 0 && !is_there(out->journal_path)) return SL_OK;
    sl_status status = move_away(out);
    if (status != SL_OK) return status;
    close(out->file);
    status = open_locked(out, out->path);
    return status == SL_OK ? find_size(out) : status;
}

/* ---- whose results they are ---- */

static const char *option_value(const sl_job_identity *job, const char *name)
{
    for (uint32_t i = 0; i < job->n_options; i++)
        if (!strcmp(job->options[i].name, name)) return job->options[i].value;
    return NULL;
}

static int tell_hashes(const char *what, uint64_t was, uint64_t is, const char *path)
{
    if (was == is) return 0;
    sl_error("%s: its results are of %s %016" PRIx64 ", this is %016" PRIx64, path, what, was, is);
    return 1;
}

static int tell_option(const char *name, const char *was, const char *is, const char *path)
{
    if (was && is && !strcmp(was, is)) return 0;
    sl_error("%s: its results are of --%s %s, this is --%s %s", path, name, was ? was : "(none)",
             name, is ? is : "(none)");
    return 1;
}

/* How many things differ. Options that only one of them has count too. */
static int tell_differences(const sl_job_identity *was, const sl_job_identity *is, const char *path)
{
    int n = tell_hashes("model", was->model_hash, is->model_hash, path) +
            tell_hashes("gate", was->gate_hash, is->gate_hash, path);
    if (strcmp(was->numerics, is->numerics) != 0 && ++n)
        sl_error("%s: its results are of %s, this is %s (kernel set, type of cache): results would "
                 "differ in their last digits; see SLUICE_KERNELS and --kv",
                 path, was->numerics, is->numerics);
    for (uint32_t i = 0; i < is->n_options; i++) {
        const char *name = is->options[i].name;
        n += tell_option(name, option_value(was, name), is->options[i].value, path);
    }
    for (uint32_t i = 0; i < was->n_options; i++) {
        const char *name = was->options[i].name;
        if (!option_value(is, name)) n += tell_option(name, was->options[i].value, NULL, path);
    }
    return n;
}

/* An empty OUT becomes this job's, whatever job its journal was of: there is nothing to mix with. That of
 * results which were moved away is kept beside them. */
static sl_status begin_journal(sl_out *out, const sl_job_identity *identity)
{
    sl_status status = SL_OK;
    if (out->known.n_entries > 0) {
        char to[MOVED_BYTES], journal_to[MOVED_BYTES];
        status = find_free_names(out, false, to, journal_to);
        if (status == SL_OK) status = sl_file_rename(out->journal_path, journal_to);
        if (status != SL_OK) return status;
        sl_warn("%s is empty, but %s tells of %" PRIu64
                " results: all is done anew, and that journal "
                "is %s now",
                out->path, out->journal_path, out->known.n_entries, journal_to);
        sl_journal_content_fini(&out->known);
        out->known = (sl_journal_content){.n_entries = 0};
    }
    sl_file_fresh fresh;
    status = sl_journal_create(out->journal_path, identity, &fresh, &out->journal);
    return status == SL_OK ? sl_journal_commit(&fresh, &out->journal) : status;
}

/* Asked before OUT is read, so that a file which is not ours is not read at all. */
static sl_status claim(sl_out *out, const sl_job_identity *identity)
{
    sl_status status = sl_journal_read(out->journal_path, &out->known);
    if (status != SL_OK && status != SL_END) return status;
    if (out->bytes == 0) return begin_journal(out, identity);
    if (status == SL_END) {
        sl_error("%s holds results but %s is missing or empty, so what made them is not known: "
                 "give another "
                 "-o, or begin anew with --restart, which keeps the old file",
                 out->path, out->journal_path);
        return SL_ERR_FILE;
    }
    if (tell_differences(&out->known.identity, identity, out->path) > 0) {
        sl_error(
            "start it as before, give another -o, or begin anew with --restart, which keeps the "
            "old files");
        return SL_ERR_OPTION;
    }
    return sl_journal_open(out->journal_path, &out->known, &out->journal);
}

sl_status sl_out_open(const char *path, const sl_job_identity *identity, bool restart,
                      sl_out **out_out)
{
    sl_out *out = calloc(1, sizeof *out);
    if (!out) return SL_ERR_MEMORY;
    out->file = -1;
    out->journal.file = -1;
    sl_status status = open_locked(out, path);
    if (status == SL_OK) status = find_paths(out, path);
    if (status == SL_OK) status = find_size(out);
    if (status == SL_OK && restart) status = start_anew(out);
    if (status == SL_OK) status = claim(out, identity);
    if (status != SL_OK) {
        if (out->created && out->bytes == 0 && out->path[0]) unlink(out->path);
        sl_out_close(out);
        return status;
    }
    *out_out = out;
    return SL_OK;
}

void sl_out_close(sl_out *out)
{
    if (!out) return;
    sl_journal_content_fini(&out->known);
    sl_journal_close(&out->journal);
    if (out->file >= 0) close(out->file);
    free(out);
}

const char *sl_out_path(const sl_out *out) { return out->path; }

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

/* A line that is none: whether our journal says that a record was written there. A host that went down
 * may have lost a part of it that was not yet synced; else it is somebody else's. */
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
    sl_job_known known;
    status = sl_job_result_read(record->line, record->bytes, &known);
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
    sl_line_reader_init(&reader, file, SL_JOB_RECORD_BYTES_MAX); /* no record is longer */
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

static sl_job_entry entry_of(uint64_t offset, uint64_t n_bytes, XXH128_hash_t hash,
                             uint64_t body_hash)
{
    return (sl_job_entry){.offset = offset,
                          .n_bytes = n_bytes,
                          .body_hash = body_hash,
                          .record_hash_low = hash.low64,
                          .record_hash_high = hash.high64};
}

static sl_status copy_record(void *context, const known_record *record, uint64_t offset)
{
    rewriting *r = context;
    if (r->picks && r->picks(r->context, record->id)) return SL_OK;
    if (!r->out) r->bytes = offset;
    sl_job_entry entry = entry_of(r->bytes, record->bytes + 1, record->hash, record->body_hash);
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

/* OUT against its journal: results that somebody took out are done again, others are kept as they are. */
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

/* OUT first: the old journal knows all that the new OUT holds, should the job end between the two. */
static sl_status commit_both(sl_out *out, rewriting *r, sl_file_fresh *fresh_journal)
{
    sl_status status = lock(r->out->file, r->out->temporary, &out->warned);
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
    sl_job_entry entry = entry_of(out->bytes, bytes, XXH3_128bits(record, bytes - 1), body_hash);
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
