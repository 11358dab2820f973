/* launch/job/job_file.c - see job_file.h. OUT and its journal belong to job_out_*.c. */
#include "launch/job/job_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launch/job/job_out.h"
#include "runtime/base/encoding.h"
#include "runtime/base/file.h"
#include "runtime/base/hash_map.h"
#include "runtime/base/line_reader.h"
#include "runtime/base/log.h"
#include "runtime/base/numbers.h"

struct sl_job {
    FILE *in;
    char *in_path;
    sl_file_stamp in_stamp; /* when it was scanned */
    sl_line_reader reader;
    uint64_t *line_hashes; /* [n_total] of IN's requests, as they were scanned */
    uint64_t n_read;       /* of them, so far */
    sl_out *out;
    sl_hash_map ids; /* of IN and OUT: id_flags, and the upper bits of the answered body's hash */
    uint64_t n_total, n_done, n_failed; /* failed: requests whose error record stays in OUT */
};

/* The lowest bits of an id's value. */
enum id_flags { IS_ASKED = 1, IS_ANSWERED = 2, IS_FAILED = 4, FLAGS = 7 };

static bool is_blank(const char *line, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r') return false;
    return true;
}

/* ---- IN ---- */

/* The next line that is a request. */
static sl_status next_line(sl_line_reader *reader, const char **line, size_t *bytes)
{
    sl_status status;
    do status = sl_line_reader_next(reader, line, bytes, NULL);
    while (status == SL_OK && is_blank(*line, *bytes));
    return status;
}

/* An id is in two maps at a time; its line's hash, of 8 bytes, is in a list that doubles. */
enum { ID_BYTES = 2 * SL_HASH_MAP_BYTES_EACH + 3 * 8 };

/* Requests that wait hardly speed up a job: many large ones are not held for it. */
static const uint64_t WAITING_BYTES = 256 << 20;

typedef struct {
    uint64_t lines, longest, most_read; /* most: bytes of one line's JSON and tokens */
    sl_request_line_need most;
} needs;

static void add_line(const sl_request_reader *reader, const char *line, size_t bytes,
                     uint64_t number, needs *n)
{
    if (is_blank(line, bytes)) return;
    n->lines++;
    size_t json = sl_request_json_bytes(line, bytes);
    sl_request_line_need need = {0};
    if (json > SL_REQUEST_JSON_BYTES_MAX) return;
    if (sl_request_line_plan(reader, line, bytes, &need) != SL_OK)
        return; /* reading it will say so */
    if (json + need.prompt > n->most_read) n->most_read = json + need.prompt;
    if (need.request > n->most.request) n->most.request = need.request;
    if (need.record > n->most.record) {
        n->most.record = need.record;
        sl_debug("line %" PRIu64 ": its record may take up to %" PRIu64 " MB to write", number,
                 need.record >> 20);
    }
}

void sl_job_plan_make(const char *in_path, const sl_request_reader *reader, uint32_t ahead,
                      sl_job_plan *plan_out)
{
    *plan_out = (sl_job_plan){0};
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

/* It is read before the start, then while the job runs, and again when the job is resumed. */
static sl_status check_input(const char *path)
{
    struct stat in = {.st_mode = 0};
    bool is_stdin = strcmp(path, "-") == 0;
    if (!is_stdin && stat(path, &in) != 0) return sl_file_error("open", path);
    if (!is_stdin && S_ISREG(in.st_mode)) return SL_OK;
    sl_error(
        "%s is no file: requests are read twice, and again when a job is resumed: save them first "
        "(cat > in.jsonl) and give that file",
        is_stdin ? "-i -" : path);
    return is_stdin ? SL_ERR_OPTION : SL_ERR_FILE;
}

sl_status sl_job_check(const char *in_path, const char *out_path)
{
    sl_status status = check_input(in_path);
    if (status == SL_OK) status = sl_encoding_check_file(in_path);
    return status == SL_OK ? sl_out_check(out_path) : status;
}

/* ---- the ids of OUT, then those of IN ---- */

static sl_status see_result(void *context, const sl_out_record *record)
{
    sl_job *job = context;
    bool was_there;
    uint64_t value = (record->body_hash & ~(uint64_t)FLAGS) | IS_ANSWERED;
    if (record->failed) value |= IS_FAILED;
    sl_status status = sl_hash_map_put(&job->ids, record->id, value, &was_there);
    if (status == SL_OK && was_there)
        sl_warn("%s holds '%s' more than once", sl_out_path(job->out), record->custom_id);
    return status;
}

/* What a scan of IN finds. */
typedef struct {
    const sl_job_options *options;
    uint64_t n_changed; /* requests that were answered, and edited since */
    uint64_t n_redone;  /* results that leave OUT to be done again */
    char *first_changed;
    size_t line_capacity;
} input_scan;

static sl_status keep_line_hash(sl_job *job, input_scan *scan, uint64_t hash)
{
    if (job->n_total == scan->line_capacity) {
        size_t capacity = scan->line_capacity ? 2 * scan->line_capacity : 1024;
        uint64_t *larger = realloc(job->line_hashes, capacity * sizeof *larger);
        if (!larger) return SL_ERR_MEMORY;
        job->line_hashes = larger;
        scan->line_capacity = capacity;
    }
    job->line_hashes[job->n_total++] = hash;
    return SL_OK;
}

/* Whether a request that has a result still asks the same. Results of older journals tell no
 * hash. */
static bool is_changed(uint64_t value, const sl_request_key *key)
{
    uint64_t was = value & ~(uint64_t)FLAGS;
    return was != 0 && was != (key->body_hash & ~(uint64_t)FLAGS);
}

/* Count a request that has a result; if it is done again, `value` says no more that it is
 * answered. */
static void choose(sl_job *job, input_scan *scan, const sl_request_key *key, uint64_t *value)
{
    bool failed = *value & IS_FAILED, redo = failed && scan->options->retry_errors;
    if (!redo && is_changed(*value, key)) {
        redo = scan->options->changed == SL_CHANGED_REDO;
        if (scan->n_changed++ == 0) scan->first_changed = strdup(key->custom_id);
    }
    if (redo) *value &= ~(uint64_t)IS_ANSWERED;
    scan->n_redone += redo;
    job->n_done += !redo;
    job->n_failed += failed && !redo;
}

static sl_status see_request(sl_job *job, input_scan *scan, const sl_request_key *key,
                             uint64_t number)
{
    XXH128_hash_t id = sl_hash_id(key->custom_id);
    const uint64_t *known = sl_hash_map_find(&job->ids, id);
    uint64_t value = known ? *known : 0;
    if (value & IS_ASKED) {
        sl_error("%s: line %" PRIu64 " has the custom_id '%s' of an earlier line; ids must differ",
                 job->in_path, number, key->custom_id);
        return SL_ERR_FORMAT;
    }
    if (value & IS_ANSWERED) choose(job, scan, key, &value);
    bool was_there;
    return sl_hash_map_put(&job->ids, id, value | IS_ASKED, &was_there);
}

static bool is_answered(const sl_job *job, XXH128_hash_t id)
{
    const uint64_t *value = sl_hash_map_find(&job->ids, id);
    return value && (*value & IS_ANSWERED);
}

static sl_status scan_line(sl_job *job, input_scan *scan, uint64_t number, const char *line,
                           size_t bytes)
{
    sl_request_key key;
    sl_status status = sl_request_line_key(line, bytes, number, &key);
    if (status != SL_OK) return status;
    status = see_request(job, scan, &key, number);
    if (status == SL_OK) status = keep_line_hash(job, scan, XXH3_64bits(line, bytes));
    free(key.custom_id);
    return status;
}

static sl_status scan_input(sl_job *job, input_scan *scan)
{
    sl_line_reader reader;
    sl_line_reader_init(&reader, job->in, SL_JOB_LINE_BYTES_MAX);
    const char *line;
    size_t bytes;
    sl_status status;
    while ((status = next_line(&reader, &line, &bytes)) == SL_OK) {
        status = scan_line(job, scan, reader.number, line, bytes);
        if (status != SL_OK) break;
    }
    sl_line_reader_fini(&reader);
    if (status != SL_END) return status;
    rewind(job->in);
    return sl_file_stamp_take(fileno(job->in), job->in_path, &job->in_stamp);
}

/* ---- what is done again ---- */

static sl_status judge_changed(const sl_job *job, const input_scan *scan)
{
    const char *first = scan->first_changed ? scan->first_changed : "";
    if (scan->n_changed == 0 || scan->options->changed == SL_CHANGED_REDO) return SL_OK;
    if (scan->options->changed == SL_CHANGED_KEEP) {
        sl_warn("%" PRIu64 " requests were changed since they were answered, the first being '%s': "
                "their old results stay",
                scan->n_changed, first);
        return SL_OK;
    }
    sl_error("%" PRIu64
             " requests of %s were changed since they were answered in %s, the first being '%s': "
             "answer them again with --redo-changed, or keep the old results with --keep-changed",
             scan->n_changed, job->in_path, sl_out_path(job->out), first);
    return SL_ERR_OPTION;
}

/* Of records in OUT: those that are asked for again. */
static bool is_redone(void *context, XXH128_hash_t id)
{
    const uint64_t *value = sl_hash_map_find(&((const sl_job *)context)->ids, id);
    return value && (*value & IS_ASKED) && !(*value & IS_ANSWERED);
}

/* ---- the job ---- */

static sl_status open_files(sl_job *job, const char *out_path, const sl_job_identity *identity,
                            const sl_job_options *options)
{
    sl_status status = sl_job_check(job->in_path, out_path);
    if (status != SL_OK) return status;
    job->in = fopen(job->in_path, "re");
    if (!job->in) return sl_file_error("open", job->in_path);
    status = sl_out_open(out_path, identity, options->restart, &job->out);
    if (status == SL_OK) status = sl_out_scan(job->out, see_result, job);
    if (status != SL_OK) return status;
    input_scan scan = {.options = options};
    status = scan_input(job, &scan);
    if (status == SL_OK) status = judge_changed(job, &scan);
    free(scan.first_changed);
    if (status == SL_OK && scan.n_redone > 0) status = sl_out_drop(job->out, is_redone, job);
    return status == SL_OK ? sl_out_begin(job->out) : status;
}

sl_status sl_job_open(const char *in_path, const char *out_path, const sl_job_identity *identity,
                      const sl_job_options *options, sl_job **job_out)
{
    sl_job *job = calloc(1, sizeof *job);
    if (!job) return SL_ERR_MEMORY;
    job->in_path = strdup(in_path);
    sl_status status = job->in_path ? open_files(job, out_path, identity, options) : SL_ERR_MEMORY;
    if (status != SL_OK) {
        if (status == SL_ERR_MEMORY)
            sl_error("no memory for the ids of %s and %s", in_path, out_path);
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
    sl_hash_map_free(&job->ids);
    if (job->in) fclose(job->in);
    sl_out_close(job->out);
    free(job->line_hashes);
    free(job->in_path);
    free(job);
}

uint64_t sl_job_total(const sl_job *job) { return job->n_total; }
uint64_t sl_job_known_results(const sl_job *job) { return job->n_done; }
uint64_t sl_job_known_failed(const sl_job *job) { return job->n_failed; }

/* ---- reading ---- */

static sl_status input_changed(const sl_job *job, uint64_t number)
{
    sl_error("%s was changed while the job ran: line %" PRIu64
             " is not what it was at the start. What is in %s stays; run the same line again",
             job->in_path, number, sl_out_path(job->out));
    return SL_ERR_FILE;
}

/* What was appended to IN since the start waits for the next run. */
sl_status sl_job_next(sl_job *job, sl_job_line *line_out)
{
    while (job->n_read < job->n_total) {
        sl_status status = next_line(&job->reader, &line_out->text, &line_out->bytes);
        if (status == SL_END) return input_changed(job, job->reader.number + 1);
        if (status != SL_OK) return status;
        line_out->number = job->reader.number;
        if (XXH3_64bits(line_out->text, line_out->bytes) != job->line_hashes[job->n_read++])
            return input_changed(job, line_out->number);
        sl_request_key key;
        status = sl_request_line_key(line_out->text, line_out->bytes, line_out->number, &key);
        if (status != SL_OK) return status;
        XXH128_hash_t id = sl_hash_id(key.custom_id);
        free(key.custom_id);
        line_out->body_hash = key.body_hash;
        if (!is_answered(job, id)) return SL_OK;
    }
    return SL_END;
}

sl_status sl_job_append(sl_job *job, const char *record, size_t bytes, uint64_t body_hash)
{
    return sl_out_append(job->out, record, bytes, body_hash);
}

sl_status sl_job_sync(sl_job *job) { return sl_out_sync(job->out); }

/* ---- the end ---- */

/* Whether the file of IN's name still asks what was answered; the requests behind that. */
static sl_status compare_input(const sl_job *job, FILE *file, uint64_t *n_more_out)
{
    sl_line_reader reader;
    sl_line_reader_init(&reader, file, SL_JOB_LINE_BYTES_MAX);
    const char *line;
    size_t bytes;
    uint64_t n = 0;
    sl_status status;
    while ((status = next_line(&reader, &line, &bytes)) == SL_OK) {
        if (n < job->n_total && XXH3_64bits(line, bytes) != job->line_hashes[n])
            status = input_changed(job, reader.number);
        if (status != SL_OK) break;
        n++;
    }
    if (status == SL_END) status = n < job->n_total ? input_changed(job, reader.number + 1) : SL_OK;
    *n_more_out = n - job->n_total;
    sl_line_reader_fini(&reader);
    return status;
}

sl_status sl_job_finish(sl_job *job)
{
    sl_status status = sl_out_sync(job->out);
    if (status == SL_OK) status = sl_out_verify(job->out);
    if (status != SL_OK) return status;
    sl_file_change change = sl_file_stamp_compare(job->in_path, &job->in_stamp);
    if (change == SL_FILE_SAME) return SL_OK;
    FILE *file = fopen(job->in_path, "re");
    if (!file) {
        sl_error("%s %s while the job ran: %s holds the answers to what was in it", job->in_path,
                 sl_file_change_text(change), sl_out_path(job->out));
        return SL_ERR_FILE;
    }
    uint64_t n_more;
    status = compare_input(job, file, &n_more);
    fclose(file);
    if (status != SL_OK || n_more == 0) return status; /* touched, or copied over itself */
    sl_error("%s has grown by %" PRIu64 " requests while the job ran: run the same line again",
             job->in_path, n_more);
    return SL_ERR_JOB;
}
