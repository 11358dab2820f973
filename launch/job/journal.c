/* launch/job/journal.c - see journal.h. Reads through a window of fixed size, however long the
 * file. */
#include "launch/job/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/log.h"

/* ---- reading ---- */

enum { WINDOW_BYTES = 8 * SL_JOB_IDENTITY_BYTES_MAX };

/* What of the file is in memory. */
typedef struct {
    FILE *file;
    const char *path;
    uint8_t *bytes;  /* [WINDOW_BYTES] */
    size_t n, at;    /* there; read of them */
    uint64_t offset; /* in the file, of bytes[0] */
} window;

static uint64_t place(const window *w) { return w->offset + w->at; }

/* Have at least `wanted` bytes before us, if the file has. */
static sl_status fill(window *w, size_t wanted)
{
    if (w->n - w->at >= wanted) return SL_OK;
    memmove(w->bytes, w->bytes + w->at, w->n - w->at);
    w->offset += w->at;
    w->n -= w->at;
    w->at = 0;
    w->n += fread(w->bytes + w->n, 1, WINDOW_BYTES - w->n, w->file);
    return ferror(w->file) ? sl_file_error("read", w->path) : SL_OK;
}

/* The next entry; SL_END: nothing is left. SL_ERR_FORMAT, not logged: no entry begins here. */
static sl_status next_entry(window *w, sl_job_entry *entry)
{
    sl_status status = fill(w, SL_JOB_ENTRY_BYTES_MAX);
    if (status != SL_OK) return status;
    if (w->at == w->n) return SL_END;
    size_t used;
    status = sl_wire_decode_job_entry(w->bytes + w->at, w->n - w->at, entry, &used);
    if (status == SL_OK) w->at += used;
    return status;
}

/* Nothing begins here. Whole entries further on say that this is damage, not an end. */
static sl_status judge_end(window *w)
{
    uint64_t broken = place(w);
    sl_job_entry entry;
    sl_status status;
    do {
        w->at++;
        status = next_entry(w, &entry);
    } while (status == SL_ERR_FORMAT);
    if (status != SL_OK) return status; /* SL_END: half an entry */
    sl_error("%s is damaged at byte %" PRIu64
             ": what OUT holds beyond there cannot be told from what was edited. Give another -o, "
             "or begin anew with --restart, which keeps the old files",
             w->path, broken);
    return SL_ERR_FORMAT;
}

static sl_status read_identity(window *w, sl_journal_content *content)
{
    sl_status status = fill(w, SL_JOB_IDENTITY_BYTES_MAX);
    if (status != SL_OK) return status;
    if (w->n == 0) return SL_END;
    status = sl_wire_decode_job(w->bytes, w->n, &content->identity, &w->at);
    if (status == SL_ERR_FORMAT)
        sl_error("%s is no journal that can be gone on with: give another -o, or begin anew with "
                 "--restart, which keeps the old files",
                 w->path);
    return status;
}

/* *whole_bytes_out: where the last whole entry ends. */
static sl_status read_entries(window *w, sl_journal_see see, void *context,
                              uint64_t *whole_bytes_out)
{
    for (;;) {
        *whole_bytes_out = place(w);
        sl_job_entry entry = {.n_bytes = 0};
        sl_status status = next_entry(w, &entry);
        if (status == SL_ERR_FORMAT) status = judge_end(w);
        if (status != SL_OK) return status == SL_END ? SL_OK : status;
        status = see(context, &entry);
        if (status != SL_OK) return status;
    }
}

static sl_status keep_entry(void *context, const sl_job_entry *entry)
{
    sl_journal_content *content = context;
    bool was_there;
    XXH128_hash_t key = {entry->record_hash_low, entry->record_hash_high};
    content->n_entries++;
    return sl_hash_map_put(&content->requests, key, entry->body_hash, &was_there);
}

static sl_status parse(FILE *file, const char *path, sl_journal_see see, void *context,
                       sl_journal_content *content)
{
    window w = {.file = file, .path = path, .bytes = malloc(WINDOW_BYTES)};
    if (!w.bytes) return SL_ERR_MEMORY;
    sl_status status = read_identity(&w, content);
    if (status == SL_OK) status = read_entries(&w, see, context, &content->whole_bytes);
    content->bytes = place(&w);
    free(w.bytes);
    return status;
}

sl_status sl_journal_parse(FILE *file, const char *path, sl_journal_content *content_out)
{
    sl_journal_content content = {.n_entries = 0};
    sl_status status = parse(file, path, keep_entry, &content, &content);
    if (status == SL_OK)
        *content_out = content;
    else
        sl_journal_content_fini(&content);
    return status;
}

sl_status sl_journal_each(const char *path, sl_journal_see see, void *context)
{
    FILE *file = fopen(path, "re");
    if (!file) return sl_file_error("open", path);
    sl_journal_content content;
    sl_status status = parse(file, path, see, context, &content);
    fclose(file);
    return status;
}

/* Opening a pipe would wait for who writes it. */
sl_status sl_journal_check(const char *path)
{
    struct stat there;
    if (stat(path, &there) != 0 || S_ISREG(there.st_mode)) return SL_OK;
    sl_error("%s, where the job's journal would be, is no regular file: move it away, or give "
             "another -o",
             path);
    return SL_ERR_FILE;
}

sl_status sl_journal_read(const char *path, sl_journal_content *content_out)
{
    if (sl_journal_check(path) != SL_OK) return SL_ERR_FILE;
    FILE *file = fopen(path, "re");
    if (!file) return errno == ENOENT ? SL_END : sl_file_error("open", path);
    sl_status status = sl_journal_parse(file, path, content_out);
    fclose(file);
    return status;
}

void sl_journal_content_fini(sl_journal_content *content) { sl_hash_map_free(&content->requests); }

/* ---- writing ---- */

sl_status sl_journal_create(const char *path, const sl_job_identity *identity,
                            sl_file_fresh *fresh_out, sl_journal *journal_out)
{
    uint8_t bytes[SL_JOB_IDENTITY_BYTES_MAX];
    size_t n;
    sl_status status = sl_wire_encode_job(identity, bytes, sizeof bytes, &n);
    if (status != SL_OK) return status;
    sl_file_fresh fresh;
    status = sl_file_fresh_begin(path, &fresh);
    if (status != SL_OK) return status;
    sl_journal journal = {.file = fresh.file, .path = strdup(path), .bytes = n};
    status = journal.path ? sl_file_write(fresh.file, fresh.temporary, bytes, n) : SL_ERR_MEMORY;
    if (status != SL_OK) {
        free(journal.path);
        sl_file_fresh_drop(&fresh);
        return status;
    }
    *fresh_out = fresh;
    *journal_out = journal;
    return SL_OK;
}

/* The file is closed already: only the name is left to free. */
static void forget(sl_journal *journal)
{
    free(journal->path);
    *journal = (sl_journal){.file = -1};
}

sl_status sl_journal_commit(sl_file_fresh *fresh, sl_journal *journal)
{
    sl_status status = sl_file_fresh_commit(fresh);
    if (status != SL_OK) forget(journal);
    return status;
}

void sl_journal_drop(sl_file_fresh *fresh, sl_journal *journal)
{
    sl_file_fresh_drop(fresh);
    forget(journal);
}

sl_status sl_journal_open(const char *path, const sl_journal_content *content,
                          sl_journal *journal_out)
{
    sl_journal journal = {.path = strdup(path), .bytes = content->whole_bytes};
    if (!journal.path) return SL_ERR_MEMORY;
    journal.file = open(path, O_RDWR | O_APPEND | O_CLOEXEC);
    sl_status status = journal.file < 0 ? sl_file_error("open", path) : SL_OK;
    if (status == SL_OK && content->bytes > content->whole_bytes) {
        sl_warn("%s: its last entry, at byte %" PRIu64 ", was not whole (an interrupted job)", path,
                content->whole_bytes);
        status = sl_file_cut(journal.file, path, content->whole_bytes);
    }
    if (status == SL_OK)
        *journal_out = journal;
    else
        sl_journal_close(&journal);
    return status;
}

void sl_journal_close(sl_journal *journal)
{
    if (journal->file >= 0) close(journal->file);
    forget(journal);
}

void sl_journal_take_back(sl_journal *journal, uint64_t bytes_before)
{
    journal->bytes = bytes_before;
    sl_file_cut(journal->file, journal->path, bytes_before);
}

sl_status sl_journal_append(sl_journal *journal, const sl_job_entry *entry)
{
    uint8_t bytes[SL_JOB_ENTRY_BYTES_MAX];
    size_t n = sl_wire_encode_job_entry(entry, bytes);
    sl_status status = sl_file_write(journal->file, journal->path, bytes, n);
    if (status == SL_OK)
        journal->bytes += n;
    else
        sl_journal_take_back(journal, journal->bytes);
    return status;
}

sl_status sl_journal_sync(const sl_journal *journal)
{
    return sl_file_sync(journal->file, journal->path);
}
