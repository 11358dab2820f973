/* tests/support/job_folder.h - the files of a job in a temporary folder: IN of four lines, OUT and
 * its journal; opening them as a job, and what is in them afterwards. For the tests of
 * launch/job. */
#ifndef SL_TEST_JOB_FOLDER_H
#define SL_TEST_JOB_FOLDER_H

#include <dirent.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "launch/job/job_file.h"
#include "runtime/base/log.h"
#include "tests/support/capture.h"

#define LINE(id)   "{\"custom_id\":\"" id "\",\"url\":\"/v1/completions\",\"body\":{}}\n"
#define RESULT(id) "{\"custom_id\":\"" id "\",\"response\":{\"status_code\":200},\"error\":null}\n"
#define FAILED(id) \
    "{\"custom_id\":\"" id "\",\"response\":{\"status_code\":400},\"error\":{\"code\":\"x\"}}\n"

static char folder[] = "/tmp/sluice-test-job-XXXXXX";
static char in[128], out[128], out_job[160];
static char talk[4096];

static inline sl_job_identity identity(void)
{
    return (sl_job_identity){.model_hash = 0xabcdef,
                             .numerics = "avx512/f16",
                             .n_options = 2,
                             .options = {{"window", "128"}, {"policy", "full"}}};
}

static const sl_job_options PLAIN = {.retry_errors = false}, RETRY = {.retry_errors = true},
                            REDO = {.changed = SL_CHANGED_REDO},
                            KEEP = {.changed = SL_CHANGED_KEEP}, RESTART = {.restart = true};

static inline void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

static inline void check_file(const char *path, const char *expected)
{
    static char text[1 << 16];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    assert_string_equal(text, expected);
}

static inline sl_status open_as(const sl_job_identity *job_identity, const sl_job_options *options,
                                sl_job **job_out)
{
    capture c;
    capture_begin(&c);
    sl_status status = sl_job_open(in, out, job_identity, options, job_out);
    capture_end(&c, talk, sizeof talk);
    return status;
}

/* It opens, and says nothing but `warning`. */
static inline sl_job *open_with(const sl_job_options *options, const char *warning)
{
    const sl_job_identity ours = identity();
    sl_job *job = NULL;
    if (open_as(&ours, options, &job) != SL_OK) fail_msg("%s", talk);
    if (!strstr(talk, warning)) fail_msg("'%s' is not '%s'", talk, warning);
    if (!*warning) assert_string_equal(talk, "");
    return job;
}

static inline sl_job *open_job(bool retry_errors, const char *warning)
{
    return open_with(retry_errors ? &RETRY : &PLAIN, warning);
}

/* It is refused, with these words, and OUT is left as it is. */
static inline void check_refused(const sl_job_identity *job_identity, sl_status expected,
                                 const char *words, const char *kept)
{
    sl_job *job = NULL;
    int errors = sl_log_errors();
    sl_status status = open_as(job_identity, &RETRY, &job);
    if (status != expected || !strstr(talk, words)) fail_msg("%d: %s", status, talk);
    assert_null(job);
    assert_true(sl_log_errors() > errors);
    check_file(out, kept);
}

/* The lines that are left, by number, as one text. */
static inline void check_left(sl_job *job, const char *expected)
{
    char numbers[256] = "";
    sl_job_line line;
    sl_status status;
    while ((status = sl_job_next(job, &line)) == SL_OK) {
        size_t at = strlen(numbers);
        snprintf(numbers + at, sizeof numbers - at, "%llu ", (unsigned long long)line.number);
    }
    assert_int_equal(status, SL_END);
    assert_string_equal(numbers, expected);
    sl_job_close(job);
}

/* Each line of the text is a record; of half a line the first part, as if the job had ended in
 * it. */
static inline void append(sl_job *job, const char *records)
{
    for (const char *end; *records; records = end) {
        end = strchr(records, '\n');
        if (!end) break;
        end++;
        assert_int_equal(sl_job_append(job, records, (size_t)(end - records), 0), SL_OK);
    }
    assert_int_equal(sl_job_sync(job), SL_OK);
    if (!*records) return;
    FILE *file = fopen(out, "a");
    fputs(records, file);
    fclose(file);
}

/* No file is left. */
static inline void clear_folder(void)
{
    DIR *files = opendir(folder);
    struct dirent *file;
    while ((file = readdir(files)))
        if (file->d_name[0] != '.') unlinkat(dirfd(files), file->d_name, 0);
    closedir(files);
}

/* Files whose name begins so. */
static inline int count_files(const char *prefix)
{
    int n = 0;
    DIR *files = opendir(folder);
    struct dirent *file;
    while ((file = readdir(files))) n += !strncmp(file->d_name, prefix, strlen(prefix));
    closedir(files);
    return n;
}

/* Each test starts with IN of four lines and nothing else. */
static inline int begin(void **state)
{
    (void)state;
    clear_folder();
    write_file(in, LINE("a") LINE("b") LINE("c") LINE("d"));
    return 0;
}

static inline long size_of(const char *path)
{
    struct stat file;
    return stat(path, &file) == 0 ? (long)file.st_size : -1;
}

/* RESULT of a line's id. The line has no zero at its end. */
static inline void make_result(const sl_job_line *line, char *record, size_t record_bytes)
{
    char text[256];
    snprintf(text, sizeof text, "%.*s", (int)line->bytes, line->text);
    const char *id = strstr(text, "custom_id\":\"") + strlen("custom_id\":\"");
    snprintf(record, record_bytes,
             "{\"custom_id\":\"%.*s\",\"response\":{\"status_code\":200},\"error\":null}\n",
             (int)strcspn(id, "\""), id);
}

/* Answer what is left, each with a record that says which of its lines was answered. */
static inline void answer_all(sl_job *job)
{
    sl_job_line line;
    while (sl_job_next(job, &line) == SL_OK) {
        char record[256];
        make_result(&line, record, sizeof record);
        assert_int_equal(sl_job_append(job, record, strlen(record), line.body_hash), SL_OK);
    }
    assert_int_equal(sl_job_sync(job), SL_OK);
    sl_job_close(job);
}

static inline void flip(const char *path, long at)
{
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    fseek(file, at, SEEK_SET);
    int c = fgetc(file);
    fseek(file, at, SEEK_SET);
    fputc(c ^ 0x10, file);
    fclose(file);
}

static inline int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info, (void)kind, (void)walk;
    return remove(path);
}

static inline int open_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(in, sizeof in, "%s/in.jsonl", folder);
    snprintf(out, sizeof out, "%s/out.jsonl", folder);
    snprintf(out_job, sizeof out_job, "%s.job", out);
    return 0;
}

static inline int close_folder(void **state)
{
    (void)state;
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

#endif
