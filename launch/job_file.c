/* launch/job_file.c - see job_file.h. */
#include "launch/job_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launch/id_set.h"
#include "launch/line_reader.h"
#include "runtime/base/log.h"

struct sl_job {
    FILE *in;
    sl_line_reader reader;
    int out;
    char *out_path;
    sl_id_set done;                     /* ids with a result in OUT */
    uint64_t n_total, n_done, n_failed; /* failed: error records that stay in OUT */
};

static sl_status file_error(const char *what, const char *path)
{
    sl_error("cannot %s %s: %s", what, path, strerror(errno));
    return SL_ERR_FILE;
}

static bool is_blank(const char *line, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r') return false;
    return true;
}

/* ---- IN ---- */

/* The next line that is a request, with its id (malloc'd). */
static sl_status next_request(sl_line_reader *reader, const char **line, size_t *bytes, char **id)
{
    sl_status status;
    do {
        status = sl_line_reader_next(reader, line, bytes, NULL);
        if (status != SL_OK) return status;
    } while (is_blank(*line, *bytes));
    sl_job_key key;
    status = sl_job_line_key(*line, *bytes, reader->number, &key);
    if (status == SL_OK) *id = key.custom_id;
    return status;
}

/* An id is 16 bytes in each of two tables, which may be three eighths full while one grows. */
enum { ID_BYTES = 110 };

/* Requests that wait hardly speed up a job: many large ones are not held for it. */
static const uint64_t WAITING_BYTES = 256 << 20;

typedef struct {
    uint64_t lines, longest, most_read; /* most: bytes of one line's JSON and tokens */
    sl_job_line_need most;
} needs;

static void add_line(const sl_job_reader *reader, const char *line, size_t bytes, uint64_t number,
                     needs *n)
{
    if (is_blank(line, bytes)) return;
    n->lines++;
    size_t json = sl_job_json_bytes(line, bytes);
    sl_job_line_need need = {0};
    if (json > SL_JOB_JSON_BYTES_MAX) return;
    if (sl_job_line_plan(reader, line, bytes, &need) != SL_OK) return; /* reading it will say so */
    size_t text_max = (size_t)reader->context * sl_tokenizer_decode_bytes_max(reader->tokenizer);
    size_t read = json + SL_ENCODE_BYTES * (bytes < text_max ? bytes : text_max);
    if (read > n->most_read) n->most_read = read;
    if (need.request > n->most.request) n->most.request = need.request;
    if (need.record > n->most.record) {
        n->most.record = need.record;
        sl_debug("line %" PRIu64 ": its record may take up to %" PRIu64 " MB to write", number,
                 need.record >> 20);
    }
}

void sl_job_plan_make(const char *in_path, const sl_job_reader *reader, uint32_t ahead,
                      sl_job_plan *plan_out)
{
    *plan_out = (sl_job_plan){0};
    struct stat in;
    if (stat(in_path, &in) != 0 || !S_ISREG(in.st_mode)) return; /* a pipe is read once */
    FILE *file = fopen(in_path, "r");
    if (!file) return;
    sl_line_reader lines;
    sl_line_reader_init(&lines, file, SL_JOB_LINE_BYTES_MAX);
    const char *line;
    size_t bytes;
    needs n = {0};
    while (sl_line_reader_next(&lines, &line, &bytes, NULL) == SL_OK) {
        if (bytes > n.longest) n.longest = bytes;
        add_line(reader, line, bytes, lines.number, &n);
    }
    uint64_t all = ahead * n.most.request;
    *plan_out = (sl_job_plan){
        .file = n.lines * ID_BYTES + 2 * n.longest + n.most_read, /* a line's room doubles */
        .waiting = all < WAITING_BYTES ? all : WAITING_BYTES,
        .request = n.most.request,
        .record = n.most.record,
    };
    sl_line_reader_fini(&lines);
    fclose(file);
}

static sl_status scan_input(sl_job *job, const char *path)
{
    sl_line_reader reader;
    sl_line_reader_init(&reader, job->in, SL_JOB_LINE_BYTES_MAX);
    sl_id_set seen = {0};
    const char *line;
    size_t bytes;
    char *id;
    sl_status status;
    while ((status = next_request(&reader, &line, &bytes, &id)) == SL_OK) {
        bool was_there;
        status = sl_id_set_add(&seen, id, &was_there);
        if (status == SL_OK && was_there) {
            sl_error("%s: line %" PRIu64
                     " has the custom_id '%s' of an earlier line; ids must differ",
                     path, reader.number, id);
            status = SL_ERR_FORMAT;
        }
        job->n_total++;
        job->n_done += sl_id_set_has(&job->done, id);
        free(id);
        if (status != SL_OK) break;
    }
    sl_id_set_free(&seen);
    sl_line_reader_fini(&reader);
    if (status != SL_END) return status;
    if (fseeko(job->in, 0, SEEK_SET) == 0) return SL_OK;
    sl_error("%s cannot be read twice (is it a pipe?): give a file", path);
    return SL_ERR_FILE;
}

/* ---- OUT ---- */

static sl_status lock_output(sl_job *job)
{
    job->out = open(job->out_path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (job->out < 0) return file_error("open", job->out_path);
    if (flock(job->out, LOCK_EX | LOCK_NB) == 0) return SL_OK;
    if (errno != EWOULDBLOCK) return file_error("lock", job->out_path);
    sl_error("%s is being written by another process", job->out_path);
    return SL_ERR_FILE;
}

/* A new name in the path's folder lasts from here on. */
static void sync_folder(const char *path)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    int directory = open(dirname(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) return;
    fsync(directory);
    close(directory);
}

/* Write a file so that after a crash either the old or the new one is there. */
static sl_status replace_file(const char *path, const void *bytes, size_t n)
{
    char temporary[PATH_MAX + 8];
    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    int file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file < 0) return file_error("create", temporary);
    bool written = write(file, bytes, n) == (ssize_t)n && fsync(file) == 0;
    if (close(file) != 0 || !written) return file_error("write", temporary);
    if (rename(temporary, path) != 0) return file_error("rename", temporary);
    sync_folder(path);
    return SL_OK;
}

/* Read OUT's records: remember their ids, cut a torn last line. */
typedef struct {
    uint64_t n_failed;
    uint64_t bytes, whole_bytes; /* in all, and up to the end of the last whole line */
} scan;

static sl_status scan_record(sl_job *job, const char *line, size_t bytes, uint64_t number,
                             bool retry_errors, scan *found)
{
    sl_job_known known;
    sl_status status = sl_job_result_read(line, bytes, &known);
    if (status == SL_ERR_FORMAT)
        sl_error("%s: line %" PRIu64 " is no result record: is this another file?", job->out_path,
                 number);
    if (status != SL_OK) return status;
    bool was_there = false;
    found->n_failed += known.failed;
    if (!(known.failed && retry_errors))
        status = sl_id_set_add(&job->done, known.custom_id, &was_there);
    if (status == SL_OK && was_there)
        sl_warn("%s holds '%s' more than once", job->out_path, known.custom_id);
    free(known.custom_id);
    return status;
}

static sl_status scan_output(sl_job *job, bool retry_errors, scan *found)
{
    *found = (scan){0};
    FILE *file = fopen(job->out_path, "r");
    if (!file) return file_error("open", job->out_path);
    sl_line_reader reader;
    sl_line_reader_init(&reader, file, SL_JOB_RECORD_BYTES_MAX); /* no record is longer */
    const char *line;
    size_t bytes;
    bool whole;
    sl_status status;
    while ((status = sl_line_reader_next(&reader, &line, &bytes, &whole)) == SL_OK && whole) {
        status = scan_record(job, line, bytes, reader.number, retry_errors, found);
        if (status != SL_OK) break;
        found->whole_bytes = reader.offset;
    }
    found->bytes = reader.offset;
    sl_line_reader_fini(&reader);
    fclose(file);
    return status == SL_END ? SL_OK : status;
}

static sl_status cut_torn_line(sl_job *job, const scan *found)
{
    if (found->bytes == found->whole_bytes) return SL_OK;
    sl_warn("%s: its last line was not whole (an interrupted job); it is done again",
            job->out_path);
    if (ftruncate(job->out, (off_t)found->whole_bytes) != 0 || fsync(job->out) != 0)
        return file_error("truncate", job->out_path);
    return SL_OK;
}

/* Copy all but the error records to a new OUT; the lock moves with it. */
static sl_status drop_errors(sl_job *job)
{
    char temporary[PATH_MAX];
    snprintf(temporary, sizeof temporary, "%s.tmp", job->out_path);
    FILE *from = fopen(job->out_path, "r"), *to = fopen(temporary, "w");
    sl_status status = from && to ? SL_OK : file_error("rewrite", job->out_path);
    sl_line_reader reader;
    sl_line_reader_init(&reader, from, SIZE_MAX);
    const char *line;
    size_t bytes;
    while (status == SL_OK &&
           (status = sl_line_reader_next(&reader, &line, &bytes, NULL)) == SL_OK) {
        sl_job_known known;
        status = sl_job_result_read(line, bytes, &known);
        if (status != SL_OK) break;
        if (!known.failed) {
            fwrite(line, 1, bytes, to);
            fputc('\n', to);
        }
        free(known.custom_id);
    }
    if (status == SL_END) status = SL_OK;
    sl_line_reader_fini(&reader);
    if (from) fclose(from);
    if (to && (fflush(to) != 0 || ferror(to) || fsync(fileno(to)) != 0))
        status = file_error("write", temporary);
    if (to && fclose(to) != 0 && status == SL_OK) status = file_error("write", temporary);
    if (status == SL_OK && rename(temporary, job->out_path) != 0)
        status = file_error("rename", temporary);
    if (status != SL_OK) return status;
    sync_folder(job->out_path);
    close(job->out);
    return lock_output(job);
}

/* ---- OUT.job ---- */

static const char *option_value(const sl_job_identity *job, const char *name)
{
    for (uint32_t i = 0; i < job->n_options; i++)
        if (!strcmp(job->options[i].name, name)) return job->options[i].value;
    return "(none)";
}

static int tell_differences(const sl_job_identity *was, const sl_job_identity *is, const char *path)
{
    int n = 0;
    if (was->model_hash != is->model_hash && ++n)
        sl_error("%s: its results are of model %016" PRIx64 ", this is %016" PRIx64, path,
                 was->model_hash, is->model_hash);
    if (was->gate_hash != is->gate_hash && ++n)
        sl_error("%s: its results are of gate %016" PRIx64 ", this is %016" PRIx64, path,
                 was->gate_hash, is->gate_hash);
    for (uint32_t i = 0; i < is->n_options; i++) {
        const char *name = is->options[i].name, *value = option_value(was, name);
        if (strcmp(value, is->options[i].value) != 0 && ++n)
            sl_error("%s: its results are of --%s %s, this is --%s %s", path, name, value, name,
                     is->options[i].value);
    }
    return n;
}

static sl_status read_identity(const char *path, sl_job_identity *identity_out)
{
    uint8_t bytes[SL_JOB_IDENTITY_BYTES_MAX];
    FILE *file = fopen(path, "r");
    if (!file) return errno == ENOENT ? SL_END : file_error("open", path);
    size_t n = fread(bytes, 1, sizeof bytes, file);
    bool failed = ferror(file);
    fclose(file);
    if (failed) return file_error("read", path);
    sl_status status = sl_wire_decode_job(bytes, n, identity_out);
    if (status != SL_OK) sl_error("%s is damaged: give another -o", path); /* which file that was */
    return status;
}

/* Whose results OUT holds: asked before they are read, so a file that is not ours is not read at all.
 * An OUT that is empty becomes this job's. */
static sl_status check_identity(const sl_job *job, const sl_job_identity *identity)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s.job", job->out_path);
    struct stat out;
    if (fstat(job->out, &out) != 0) return file_error("read", job->out_path);
    sl_job_identity was;
    sl_status status = read_identity(path, &was);
    if (out.st_size > 0) {
        if (status == SL_END) {
            sl_error(
                "%s holds results but %s is missing, so what made them is not known: give another "
                "-o, or move the file away",
                job->out_path, path);
            return SL_ERR_FILE;
        }
        if (status != SL_OK) return status;
        if (tell_differences(&was, identity, job->out_path) == 0) return SL_OK;
        sl_error("start it as before, or give another -o");
        return SL_ERR_OPTION;
    }
    uint8_t bytes[SL_JOB_IDENTITY_BYTES_MAX];
    size_t n;
    status = sl_wire_encode_job(identity, bytes, sizeof bytes, &n);
    return status == SL_OK ? replace_file(path, bytes, n) : status;
}

/* ---- the job ---- */

static sl_status open_files(sl_job *job, const char *in_path, const sl_job_identity *identity,
                            bool retry_errors)
{
    job->in = fopen(in_path, "r");
    if (!job->in) return file_error("open", in_path);
    sl_status status = lock_output(job);
    scan found = {0};
    if (status == SL_OK) status = check_identity(job, identity);
    if (status == SL_OK) status = scan_output(job, retry_errors, &found);
    if (status == SL_OK) status = cut_torn_line(job, &found);
    if (status == SL_OK) status = scan_input(job, in_path);
    if (status == SL_OK && retry_errors && found.n_failed > 0) status = drop_errors(job);
    if (status == SL_OK && !retry_errors) job->n_failed = found.n_failed;
    return status;
}

sl_status sl_job_open(const char *in_path, const char *out_path, const sl_job_identity *identity,
                      bool retry_errors, sl_job **job_out)
{
    sl_job *job = calloc(1, sizeof *job);
    if (!job) return SL_ERR_MEMORY;
    job->out = -1;
    job->out_path = strdup(out_path);
    sl_status status = job->out_path ? open_files(job, in_path, identity, retry_errors)
                                     : SL_ERR_MEMORY;
    if (status != SL_OK) {
        sl_job_close(job);
        return status;
    }
    sl_line_reader_init(&job->reader, job->in, SL_JOB_LINE_BYTES_MAX);
    *job_out = job;
    return SL_OK;
}

void sl_job_close(sl_job *job)
{
    if (!job) return;
    sl_line_reader_fini(&job->reader);
    sl_id_set_free(&job->done);
    if (job->in) fclose(job->in);
    if (job->out >= 0) close(job->out);
    free(job->out_path);
    free(job);
}

uint64_t sl_job_total(const sl_job *job) { return job->n_total; }
uint64_t sl_job_known_results(const sl_job *job) { return job->n_done; }
uint64_t sl_job_known_failed(const sl_job *job) { return job->n_failed; }

sl_status sl_job_next(sl_job *job, const char **line_out, size_t *bytes_out, uint64_t *number_out)
{
    for (;;) {
        char *id;
        sl_status status = next_request(&job->reader, line_out, bytes_out, &id);
        if (status != SL_OK) return status;
        bool done = sl_id_set_has(&job->done, id);
        free(id);
        *number_out = job->reader.number;
        if (!done) return SL_OK;
    }
}

sl_status sl_job_append(sl_job *job, const char *record, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = write(job->out, record, bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return file_error("write", job->out_path);
        record += n;
        bytes -= (size_t)n;
    }
    return fdatasync(job->out) == 0 ? SL_OK : file_error("write", job->out_path);
}
