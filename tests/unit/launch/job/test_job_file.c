/* The files of a job, in a temporary folder: what is done, what is left, and what is refused. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "launch/job/job_file.h"
#include "runtime/base/file.h"
#include "runtime/base/log.h"
#include "tests/support/capture.h"

#define LINE(id)   "{\"custom_id\":\"" id "\",\"url\":\"/v1/completions\",\"body\":{}}\n"
#define RESULT(id) "{\"custom_id\":\"" id "\",\"response\":{\"status_code\":200},\"error\":null}\n"
#define FAILED(id) \
    "{\"custom_id\":\"" id "\",\"response\":{\"status_code\":400},\"error\":{\"code\":\"x\"}}\n"

static char folder[] = "/tmp/sluice-test-job-XXXXXX";
static char in[128], out[128], out_job[160];
static char talk[4096];

/* Stands before the system's: a file system may have no locks. */
static int flock_errno;
/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): the system says __fd */
int flock(int file, int operation)
{
    (void)operation;
    errno = flock_errno;
    if (flock_errno) return -1;
    struct flock whole = {.l_type = F_WRLCK};
    if (fcntl(file, F_OFD_SETLK, &whole) == 0) return 0;
    errno = EWOULDBLOCK;
    return -1;
}

static sl_job_identity identity(void)
{
    return (sl_job_identity){.model_hash = 0xabcdef,
                             .numerics = "avx512/f16",
                             .n_options = 2,
                             .options = {{"window", "128"}, {"policy", "full"}}};
}

static const sl_job_options PLAIN = {.retry_errors = false}, RETRY = {.retry_errors = true},
                            REDO = {.changed = SL_CHANGED_REDO},
                            KEEP = {.changed = SL_CHANGED_KEEP}, RESTART = {.restart = true};

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

static void check_file(const char *path, const char *expected)
{
    static char text[1 << 16];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    assert_string_equal(text, expected);
}

static sl_status open_as(const sl_job_identity *job_identity, const sl_job_options *options,
                         sl_job **job_out)
{
    capture c;
    capture_begin(&c);
    sl_status status = sl_job_open(in, out, job_identity, options, job_out);
    capture_end(&c, talk, sizeof talk);
    return status;
}

/* It opens, and says nothing but `warning`. */
static sl_job *open_with(const sl_job_options *options, const char *warning)
{
    const sl_job_identity ours = identity();
    sl_job *job = NULL;
    if (open_as(&ours, options, &job) != SL_OK) fail_msg("%s", talk);
    if (!strstr(talk, warning)) fail_msg("'%s' is not '%s'", talk, warning);
    if (!*warning) assert_string_equal(talk, "");
    return job;
}

static sl_job *open_job(bool retry_errors, const char *warning)
{
    return open_with(retry_errors ? &RETRY : &PLAIN, warning);
}

/* It is refused, with these words, and OUT is left as it is. */
static void check_refused(const sl_job_identity *job_identity, sl_status expected,
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
static void check_left(sl_job *job, const char *expected)
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

/* Each line of the text is a record; of half a line the first part, as if the job had ended in it. */
static void append(sl_job *job, const char *records)
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
static void clear_folder(void)
{
    DIR *files = opendir(folder);
    struct dirent *file;
    while ((file = readdir(files)))
        if (file->d_name[0] != '.') unlinkat(dirfd(files), file->d_name, 0);
    closedir(files);
}

/* Files whose name begins so. */
static int count_files(const char *prefix)
{
    int n = 0;
    DIR *files = opendir(folder);
    struct dirent *file;
    while ((file = readdir(files))) n += !strncmp(file->d_name, prefix, strlen(prefix));
    closedir(files);
    return n;
}

/* Each test starts with IN of four lines and nothing else. */
static int begin(void **state)
{
    (void)state;
    clear_folder();
    flock_errno = 0;
    write_file(in, LINE("a") LINE("b") LINE("c") LINE("d"));
    return 0;
}

/* ---- tests ---- */

static void test_fresh_then_resumed(void **state)
{
    (void)state;
    sl_job *job = open_job(false, "");
    assert_int_equal(sl_job_total(job), 4);
    assert_int_equal(sl_job_known_results(job), 0);
    assert_int_equal(access(out_job, R_OK), 0);
    sl_job_line line;
    assert_int_equal(sl_job_next(job, &line), SL_OK);
    assert_int_equal(line.number, 1);
    assert_int_equal(line.bytes, strlen(LINE("a")) - 1);
    assert_memory_equal(line.text, LINE("a"), line.bytes);
    append(job, RESULT("c"));
    check_file(out, RESULT("c")); /* there before the job is closed */
    append(job, FAILED("a"));
    check_left(job, "2 3 4 "); /* what is appended now is not skipped now */
    check_file(out, RESULT("c") FAILED("a"));

    job = open_job(false, "");
    assert_int_equal(sl_job_total(job), 4);
    assert_int_equal(sl_job_known_results(job), 2);
    append(job, RESULT("d"));
    check_left(job, "2 4 ");
    check_left(open_job(false, ""), "2 ");
    check_file(out, RESULT("c") FAILED("a") RESULT("d"));
    sl_job_close(NULL);
}

/* Blank lines are none, but count; lines without an id get one by their number. */
static void test_lines(void **state)
{
    (void)state;
    write_file(in, "\n" LINE("a") " \t\r\nnot json\n{}\n" LINE("") "{\"custom_id\":7}\n\n"
                                                                   "{\"custom_id\":\"last\"}");
    sl_job *job = open_job(false, "");
    assert_int_equal(sl_job_total(job), 6);
    append(job, RESULT("line-5 (no custom_id)"));
    append(job, RESULT("7"));
    append(job, RESULT("not asked for"));
    check_left(job, "2 4 5 6 7 9 ");
    job = open_job(false, "");
    assert_int_equal(sl_job_known_results(job), 2);
    check_left(job, "2 4 6 9 ");

    write_file(in, "\n \n");
    job = open_job(false, "");
    assert_int_equal(sl_job_total(job), 0);
    check_left(job, "");
}

/* Zeros, which a crash leaves in files, are not blank: they are told of. */
static void test_zeros(void **state)
{
    (void)state;
    FILE *file = fopen(in, "w");
    assert_non_null(file);
    assert_int_equal(fwrite("\0\0\0\n\0", 1, 5, file), 5);
    assert_int_equal(fclose(file), 0);
    sl_job *job = open_job(false, "");
    assert_int_equal(sl_job_total(job), 2);
    check_left(job, "1 2 ");
}

static void test_duplicates(void **state)
{
    (void)state;
    const sl_job_identity ours = identity();
    write_file(in, LINE("a") "\n" LINE("b") LINE("a"));
    check_refused(&ours, SL_ERR_FORMAT, "line 4 has the custom_id 'a' of an earlier line", "");
    write_file(in, LINE("line-2") "{}\n"); /* whose own id is another */
    check_left(open_job(false, ""), "1 2 ");

    write_file(in, LINE("a") LINE("b"));
    sl_job *job = open_job(false, "");
    append(job, RESULT("a") RESULT("a"));
    sl_job_close(job);
    check_left(open_job(false, "holds 'a' more than once"), "2 ");
}

static void test_torn_line(void **state)
{
    (void)state;
    static const char *const torn[] = {"{\"custom_id\":\"d", "{", RESULT("d")};
    for (int i = 0; i < 3; i++) {
        sl_job *job = open_job(false, "");
        append(job, RESULT("a") RESULT("b"));
        /* even a whole record is torn without its newline: it was not yet durable */
        char piece[256];
        snprintf(piece, sizeof piece, "%.*s", (int)strcspn(torn[i], "\n"), torn[i]);
        append(job, piece);
        sl_job_close(job);
        job = open_job(false, "its last line was not whole");
        check_file(out, RESULT("a") RESULT("b"));
        append(job, RESULT("c"));
        check_left(job, "3 4 ");
        check_file(out, RESULT("a") RESULT("b") RESULT("c"));
        check_left(open_job(false, ""), "4 ");
        begin(NULL);
    }
    sl_job *job = open_job(false, ""); /* torn in the first line */
    append(job, "{\"cust");
    sl_job_close(job);
    check_left(open_job(false, "its last line was not whole"), "1 2 3 4 ");
    check_file(out, "");
}

static void test_other_job(void **state)
{
    (void)state;
    sl_job *job = open_job(false, "");
    append(job, RESULT("a") FAILED("b"));
    sl_job_close(job);
    static const char kept[] = RESULT("a") FAILED("b");

    sl_job_identity other = identity();
    strcpy(other.options[0].value, "64");
    check_refused(&other, SL_ERR_OPTION, "its results are of --window 128, this is --window 64",
                  kept);
    other = identity();
    other.model_hash++;
    check_refused(&other, SL_ERR_OPTION,
                  "its results are of model 0000000000abcdef, this is 0000000000abcdf0", kept);
    other.gate_hash = 0x12;
    check_refused(&other, SL_ERR_OPTION, "of gate 0000000000000000, this is 0000000000000012",
                  kept);
    other = identity();
    other.options[other.n_options++] = (sl_job_option){"sinks", "4"};
    check_refused(&other, SL_ERR_OPTION, "--sinks (none), this is --sinks 4", kept);
    other = identity();
    other.n_options--; /* an option that this run lacks differs too */
    check_refused(&other, SL_ERR_OPTION, "--policy full, this is --policy (none)", kept);
    other = identity();
    strcpy(other.numerics, "avx2/f16");
    check_refused(&other, SL_ERR_OPTION, "its results are of avx512/f16, this is avx2/f16", kept);
    check_left(open_job(false, ""), "3 4 "); /* refusals change nothing */

    const sl_job_identity ours = identity();
    write_file(out_job, "SLUICE");
    check_refused(&ours, SL_ERR_FORMAT, "", kept);
    unlink(out_job);
    check_refused(&ours, SL_ERR_FILE, "out.jsonl.job is missing", kept);
}

/* No file of somebody else's is cut or written to, whatever it looks like. */
static void test_no_result_file(void **state)
{
    (void)state;
    static const char *const texts[] = {"notes\n", "{}\n", LINE("a"), "a note without an end",
                                        RESULT("a") "notes\n" RESULT("b")};
    const sl_job_identity ours = identity();
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) { /* not even read */
        write_file(out, texts[i]);
        check_refused(&ours, SL_ERR_FILE, "out.jsonl.job is missing", texts[i]);
        assert_int_equal(access(out_job, F_OK), -1);
    }
    write_file(out, ""); /* an empty file is nobody's */
    check_left(open_job(false, ""), "1 2 3 4 ");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (!strchr(texts[i], '\n')) continue; /* a torn line */
        write_file(out, texts[i]);
        check_refused(&ours, SL_ERR_FORMAT, "is no result record", texts[i]);
    }
}

static void test_locked(void **state)
{
    (void)state;
    const sl_job_identity ours = identity();
    sl_job *job = open_job(false, "");
    append(job, FAILED("a") RESULT("b"));
    check_refused(&ours, SL_ERR_FILE, "is being written by another process",
                  FAILED("a") RESULT("b"));
    sl_job_close(job);
    job = open_job(true, ""); /* the lock moves to the new file with its errors left out */
    check_refused(&ours, SL_ERR_FILE, "is being written by another process", RESULT("b"));
    check_left(job, "1 3 4 ");
}

static void test_retry_errors(void **state)
{
    (void)state;
    /* spaces, order and other fields are kept byte for byte; no response is a failure too */
#define ODD                                                                               \
    "{ \"id\": 1, \"error\":null, \"response\":{\"status_code\":200, \"x\":\"\\u00e9\"} " \
    ",\"custom_id\":\"c\"}\n"
#define LOST "{\"custom_id\":\"d\",\"response\":null,\"error\":{\"code\":\"lost\"}}\n"
    sl_job *job = open_job(false, "");
    append(job, FAILED("b") ODD LOST RESULT("a"));
    append(job, "{\"torn");
    sl_job_close(job);
    job = open_job(true, "its last line was not whole");
    check_file(out, ODD RESULT("a"));
    assert_int_equal(sl_job_known_results(job), 2);
    append(job, RESULT("d"));
    check_left(job, "2 4 ");
    check_file(out, ODD RESULT("a") RESULT("d"));
    check_left(open_job(true, ""), "2 "); /* nothing failed: nothing is rewritten */
}

/* A line beyond the bound gives its first bytes, and the next line is found. */
static void test_long_line(void **state)
{
    (void)state;
    FILE *file = fopen(in, "w");
    assert_non_null(file);
    char *piece = malloc(1 << 20);
    memset(piece, 'x', 1 << 20);
    fputs("{\"custom_id\":\"long\",\"body\":\"", file);
    for (int i = 0; i < 65; i++) fwrite(piece, 1, 1 << 20, file);
    fputs("\"}\n" LINE("b"), file);
    assert_int_equal(fclose(file), 0);
    free(piece);

    sl_job *job = open_job(false, "");
    assert_int_equal(sl_job_total(job), 2);
    sl_job_line line;
    assert_int_equal(sl_job_next(job, &line), SL_OK);
    assert_int_equal(line.bytes, SL_JOB_LINE_BYTES_MAX);
    append(job, RESULT("long")); /* its id stands before the cut */
    check_left(job, "2 ");
    check_left(open_job(false, ""), "2 ");
}

static void check_no_file(const char *in_path, const char *out_path, const char *words)
{
    const sl_job_identity ours = identity();
    sl_job *job = NULL;
    capture c;
    capture_begin(&c);
    sl_status status = sl_job_open(in_path, out_path, &ours, &PLAIN, &job);
    capture_end(&c, talk, sizeof talk);
    if (status != SL_ERR_FILE || !strstr(talk, words)) fail_msg("%d: %s", status, talk);
    assert_null(job);
}

static void test_no_files(void **state)
{
    (void)state;
    char missing[160], beneath[160];
    snprintf(missing, sizeof missing, "%s/missing/out.jsonl", folder);
    snprintf(beneath, sizeof beneath, "%s/out.jsonl", in); /* in a file: even root cannot */
    check_no_file(missing, out, "missing/out.jsonl: No such file");
    assert_int_equal(access(out, F_OK), -1);
    check_no_file(in, missing, "cannot open");
    check_no_file(in, beneath, "Not a directory");
    check_no_file(in, folder, "is a directory: results are kept in a file");
    assert_int_equal(mkdir(out_job, 0700), 0); /* OUT can be written, OUT.job cannot */
    check_no_file(in, out, "out.jsonl.job");
    rmdir(out_job);
}

/* ---- requests that were edited ---- */

static long size_of(const char *path)
{
    struct stat file;
    return stat(path, &file) == 0 ? (long)file.st_size : -1;
}

/* RESULT of a line's id. The line has no zero at its end. */
static void make_result(const sl_job_line *line, char *record, size_t record_bytes)
{
    char text[256];
    snprintf(text, sizeof text, "%.*s", (int)line->bytes, line->text);
    const char *id = strstr(text, "custom_id\":\"") + strlen("custom_id\":\"");
    snprintf(record, record_bytes,
             "{\"custom_id\":\"%.*s\",\"response\":{\"status_code\":200},\"error\":null}\n",
             (int)strcspn(id, "\""), id);
}

/* Answer what is left, each with a record that says which of its lines was answered. */
static void answer_all(sl_job *job)
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

#define EDITED(id) "{\"custom_id\":\"" id "\",\"url\":\"/v1/completions\",\"body\":{\"n\":2}}\n"
#define SPACED(id) "{\"body\": {}, \"url\" :\"/v1/completions\",\"custom_id\":\"" id "\"}\n"

static void test_edited(void **state)
{
    (void)state;
    answer_all(open_job(false, ""));
    write_file(in, LINE("a") SPACED("b") LINE("c") LINE("d") LINE("e"));
    check_left(open_job(false, ""), "5 "); /* the same with other spaces; more at the end */

    write_file(in, LINE("a") EDITED("b") LINE("c") EDITED("d"));
    static const char all[] = RESULT("a") RESULT("b") RESULT("c") RESULT("d");
    const sl_job_identity ours = identity();
    check_refused(&ours, SL_ERR_OPTION, "2 requests of", all);
    check_refused(&ours, SL_ERR_OPTION, "the first being 'b'", all);
    check_left(open_with(&KEEP, "2 requests were changed"), "");
    check_file(out, all);
    sl_job *job = open_with(&REDO, "");
    check_file(out, RESULT("a") RESULT("c"));
    assert_int_equal(sl_job_known_results(job), 2);
    answer_all(job);
    check_file(out, RESULT("a") RESULT("c") RESULT("b") RESULT("d"));
    check_left(open_job(false, ""), ""); /* and now it is the edited ones that were answered */
}

/* What the journal does not know is kept, and said. */
static void test_edited_out(void **state)
{
    (void)state;
    answer_all(open_job(false, ""));
    write_file(out, RESULT("a") RESULT("d"));
    check_left(open_job(false, "lacks 2 results"), "2 3 ");
    write_file(out, RESULT("a") "{\"custom_id\":\"x\", "
                                "\"response\":{\"status_code\":200},\"error\":null}\n" RESULT("d"));
    check_left(open_job(false, "has no entry for 1 of its lines, the first being line 2"), "2 3 ");
    check_left(open_job(false, ""), "2 3 "); /* said once */
    write_file(out, RESULT("a"));
    assert_int_equal(truncate(out, size_of(out) - 1), 0); /* an editor's last line has no end */
    check_left(open_job(false, "lacks"), "2 3 4 ");
    check_file(out, RESULT("a"));
    check_left(open_job(false, ""), "2 3 4 ");
    write_file(out, "");
    check_left(open_job(false, "is empty, but"), "1 2 3 4 "); /* and that journal is kept */
    assert_int_equal(count_files("out.jsonl.1.job"), 1);
}

/* What a host that went down lost of OUT is done again, whatever stands behind it. */
static void test_lost_blocks(void **state)
{
    (void)state;
    long one = (long)strlen(RESULT("a"));
    for (long from = one; from < 2 * one; from += 9) {
        for (long n = 1; from + n < 3 * one; n += one / 2) {
            begin(NULL);
            answer_all(open_job(false, ""));
            char zeros[256] = {0};
            FILE *file = fopen(out, "r+");
            fseek(file, from, SEEK_SET);
            fwrite(zeros, 1, (size_t)n, file);
            fclose(file);
            bool c_too = from + n > 2 * one - 1; /* with the newline in front of it */
            sl_job *job = open_job(false, "were written as records and are none now");
            check_file(out, c_too ? RESULT("a") RESULT("d") : RESULT("a") RESULT("c") RESULT("d"));
            check_left(job, c_too ? "2 3 " : "2 ");
            check_left(open_job(false, ""), c_too ? "2 3 " : "2 ");
        }
    }
}

/* ---- the journal ---- */

static void flip(const char *path, long at)
{
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    fseek(file, at, SEEK_SET);
    int c = fgetc(file);
    fseek(file, at, SEEK_SET);
    fputc(c ^ 0x10, file);
    fclose(file);
}

static void test_damaged_journal(void **state)
{
    (void)state;
    const sl_job_identity ours = identity();
    sl_job_close(open_job(false, ""));
    long begin_bytes = size_of(out_job);
    answer_all(open_job(false, ""));
    static const char all[] = RESULT("a") RESULT("b") RESULT("c") RESULT("d");
    long bytes = size_of(out_job), entry_bytes = (bytes - begin_bytes + 3) / 4;
    char where[64];
    snprintf(where, sizeof where, "is damaged at byte %ld", begin_bytes);
    for (long at = 0; at < entry_bytes - 4; at += 7) { /* within the first entry */
        flip(out_job, begin_bytes + at);
        check_refused(&ours, SL_ERR_FORMAT, where, all);
        flip(out_job, begin_bytes + at);
    }
    flip(out_job, 20);
    check_refused(&ours, SL_ERR_FORMAT, "--restart", all);
    flip(out_job, 20);
    check_left(open_job(false, ""), "");

    for (long cut = 1; cut < entry_bytes; cut += 9) { /* half an entry at the end */
        assert_int_equal(truncate(out_job, bytes - cut), 0);
        check_left(open_job(false, "its last entry, at byte"), "");
        check_left(open_job(false, ""), ""); /* it has an entry again */
        clear_folder();
        begin(NULL);
        answer_all(open_job(false, ""));
    }
    flip(out_job, bytes - 1); /* or one that never reached the disk */
    check_left(open_job(false, "its last entry, at byte"), "");

    clear_folder();
    begin(NULL);
    write_file(out_job, "somebody's notes"); /* no OUT yet: yet not written over */
    sl_job *job = NULL;
    assert_int_equal(open_as(&ours, &PLAIN, &job), SL_ERR_FORMAT);
    assert_non_null(strstr(talk, "is no journal"));
    check_file(out_job, "somebody's notes");
}

static void test_restart(void **state)
{
    (void)state;
    answer_all(open_job(false, ""));
    sl_job_identity other = identity();
    other.model_hash = 1;
    sl_job *job = NULL;
    for (int n = 1; n < 4; n++) {
        assert_int_equal(open_as(&other, &RESTART, &job), SL_OK);
        append(job, FAILED("a"));
        check_left(job, "1 2 3 4 ");
        assert_int_equal(count_files("out.jsonl"), 2 + 2 * n);
    }
    char kept[160];
    snprintf(kept, sizeof kept, "%s.1", out);
    check_file(kept, RESULT("a") RESULT("b") RESULT("c") RESULT("d"));
    strcpy(out, kept); /* it can be gone on with */
    check_left(open_job(false, ""), "");
    out[strlen(out) - 2] = '\0';
}

/* ---- what OUT may be ---- */

static void test_no_locks(void **state)
{
    (void)state;
    const int errors[] = {ENOSYS, ENOLCK, EOPNOTSUPP};
    for (int i = 0; i < 3; i++) {
        flock_errno = errors[i];
        sl_job *job = open_job(false, "has no locks");
        append(job, FAILED("a") RESULT("b"));
        sl_job_close(job);
        job = open_job(true, "has no locks");
        check_left(job, "1 3 4 ");
        begin(NULL);
    }
    flock_errno = EIO;
    check_no_file(in, out, "cannot lock");
}

/* Error records leave OUT: its links, mode and neighbours stay as they are. */
static void test_rewritten_in_place(void **state)
{
    (void)state;
    char target[160], neighbour[170], again[160];
    snprintf(target, sizeof target, "%s/target", folder);
    snprintf(neighbour, sizeof neighbour, "%s.tmp", target);
    snprintf(again, sizeof again, "%s/again", folder);
    write_file(target, "");
    write_file(neighbour, "a neighbour");
    assert_int_equal(chmod(target, 0600), 0);
    assert_int_equal(symlink("target", out), 0);
    sl_job *job = open_job(false, "");
    append(job, FAILED("a") RESULT("b"));
    sl_job_close(job);
    job = open_job(true, "");
    append(job, RESULT("a"));
    check_left(job, "1 3 4 ");
    struct stat now;
    assert_int_equal(lstat(out, &now), 0);
    assert_true(S_ISLNK(now.st_mode));
    assert_int_equal(stat(target, &now), 0);
    assert_int_equal(now.st_mode & 07777, 0600);
    check_file(target, RESULT("b") RESULT("a"));
    check_file(neighbour, "a neighbour");
    assert_int_equal(count_files("target"), 3); /* and its journal */
    check_left(open_job(false, ""), "3 4 ");

    job = open_job(false, "");
    append(job, FAILED("c"));
    sl_job_close(job);
    assert_int_equal(link(target, again), 0);
    const sl_job_identity ours = identity();
    check_refused(&ours, SL_ERR_FILE, "hard links", RESULT("b") RESULT("a") FAILED("c"));
}

static void test_no_regular_files(void **state)
{
    (void)state;
    char pipe_path[160];
    snprintf(pipe_path, sizeof pipe_path, "%s/pipe", folder);
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    check_no_file(in, pipe_path, "is a pipe: results are kept in a file");
    check_no_file(pipe_path, out, "is no file: requests are read twice");
    assert_int_equal(mkfifo(out_job, 0600), 0);
    check_no_file(in, out, "where the job's journal would be");
    unlink(out_job);
    check_no_file(in, "/dev/full", "is a device");
    check_no_file("/dev/zero", out, "is no file");
    assert_int_equal(count_files("out"), 0);
    const sl_job_identity ours = identity();
    sl_job *job;
    const char *const pairs[][2] = {{"-", out}, {in, "-"}, {in, in}};
    for (int i = 0; i < 3; i++) {
        capture c;
        capture_begin(&c);
        assert_int_equal(sl_job_open(pairs[i][0], pairs[i][1], &ours, &PLAIN, &job), SL_ERR_OPTION);
        capture_end(&c, talk, sizeof talk);
    }
    assert_int_equal(access("-", F_OK), -1);
}

/* ---- files that change while the job runs ---- */

static sl_status quietly(sl_status (*step)(sl_job *job), sl_job *job)
{
    capture c;
    capture_begin(&c);
    sl_status status = step(job);
    capture_end(&c, talk, sizeof talk);
    return status;
}

static sl_status read_next(sl_job *job)
{
    sl_job_line line;
    return sl_job_next(job, &line);
}

static void check_said(sl_status (*step)(sl_job *job), sl_job *job, sl_status expected,
                       const char *words)
{
    sl_status status = quietly(step, job);
    if (status != expected || !strstr(talk, words)) fail_msg("%d: %s", status, talk);
}

static void test_out_changes(void **state)
{
    (void)state;
    static const char *const words[] = {"was removed", "was replaced", "was cut", "has grown",
                                        "was written to"};
    for (int journal = 0; journal < 2; journal++) {
        const char *path = journal ? out_job : out;
        for (int i = 0; i < 5; i++) {
            sl_job *job = open_job(false, "");
            append(job, RESULT("a"));
            if (i < 2) assert_int_equal(unlink(path), 0);
            if (i == 1) write_file(path, RESULT("a"));
            if (i == 2) assert_int_equal(truncate(path, 3), 0);
            if (i == 3) flip(path, size_of(path));
            if (i == 4)
                nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL); /* the clock's step */
            if (i == 4) flip(path, 5);
            check_said(i % 2 ? sl_job_sync : sl_job_finish, job, SL_ERR_FILE, words[i]);
            sl_job_close(job);
            begin(NULL);
        }
    }
}

/* Within a group that is not yet synced too, where times tell nothing. */
static void test_out_verified(void **state)
{
    (void)state;
    for (long at = 0; at < 3; at++) {
        begin(NULL);
        sl_job *job = open_job(false, "");
        append(job, RESULT("a"));
        assert_int_equal(sl_job_append(job, RESULT("b"), strlen(RESULT("b")), 0), SL_OK);
        if (at < 2) flip(out, 20 + at * (long)strlen(RESULT("a")));
        assert_int_equal(sl_job_sync(job), SL_OK);
        check_said(sl_job_finish, job, at < 2 ? SL_ERR_FILE : SL_OK,
                   at < 2 ? "1 of its records are not as they were written" : "");
        sl_job_close(job);
    }
}

static void test_in_changes(void **state)
{
    (void)state;
    sl_job *job = open_job(false, "");
    assert_int_equal(read_next(job), SL_OK);
    write_file(in, LINE("a") LINE("x") LINE("c") LINE("d"));
    /* what was read ahead is what it was */
    while (read_next(job) == SL_OK) continue;
    check_said(sl_job_finish, job, SL_ERR_FILE, "line 2 is not what it was");
    sl_job_close(job);

    begin(NULL);
    job = open_job(false, "");
    write_file(in, LINE("a") LINE("x") LINE("c") LINE("d"));
    assert_int_equal(read_next(job), SL_OK);
    check_said(read_next, job, SL_ERR_FILE, "line 2 is not what it was");
    sl_job_close(job);

    begin(NULL);
    job = open_job(false, "");
    write_file(in, LINE("a"));
    assert_int_equal(read_next(job), SL_OK);
    check_said(read_next, job, SL_ERR_FILE, "line 2 is not what it was");
    sl_job_close(job);

    begin(NULL);
    job = open_job(false, "");
    write_file(in, LINE("a") LINE("b") LINE("c") LINE("d") LINE("e") LINE("f"));
    for (int i = 0; i < 4; i++) assert_int_equal(read_next(job), SL_OK);
    assert_int_equal(read_next(job), SL_END); /* what is new waits */
    check_said(sl_job_finish, job, SL_ERR_JOB, "has grown by 2 requests");
    unlink(in);
    check_said(sl_job_finish, job, SL_ERR_FILE, "was removed");
    write_file(in, LINE("a") LINE("b") LINE("c") LINE("d")); /* another file that asks the same */
    check_said(sl_job_finish, job, SL_OK, "");
    sl_job_close(job);
}

/* ---- the job ends at any write ---- */

static int calls_left; /* until the process ends, or a call fails */
static bool fails;     /* then: it only fails */

static bool is_last_call(void) { return calls_left-- <= 0; }

/* Half of it is written before the end. */
static ssize_t write_or_end(int file, const void *bytes, size_t n)
{
    if (!is_last_call()) return write(file, bytes, n);
    ssize_t written = write(file, bytes, n / 2);
    if (!fails) _exit(9);
    if (calls_left == -1 && n > 1) return written; /* and the next call fails */
    errno = ENOSPC;
    return -1;
}

static int sync_or_end(int file)
{
    if (!is_last_call()) return fdatasync(file);
    if (!fails) _exit(9);
    errno = ENOSPC;
    return -1;
}

static int cut_or_end(int file, off_t n)
{
    if (!is_last_call()) return ftruncate(file, n);
    if (!fails) _exit(9);
    return ftruncate(file, n); /* a full disk can be made emptier */
}

static int rename_or_end(const char *from, const char *to)
{
    if (!is_last_call()) return rename(from, to);
    if (!fails) _exit(9);
    errno = ENOSPC;
    return -1;
}

/* In a process of its own: go on with the job until it is done or the calls are used up.
 * 0: done; 9: ended by a call; 1: a call failed, and that was said. */
static int run_until(int n_calls, bool only_fail, const sl_job_options *options)
{
    pid_t child = fork();
    if (child == 0) {
        sl_log_set_level(SL_LOG_NONE);
        sl_file_set_calls(&(sl_file_calls){write_or_end, sync_or_end, cut_or_end, rename_or_end});
        calls_left = n_calls;
        fails = only_fail;
        const sl_job_identity ours = identity();
        sl_job *job;
        if (sl_job_open(in, out, &ours, options, &job) != SL_OK) _exit(1);
        sl_job_line line;
        sl_status status;
        while ((status = sl_job_next(job, &line)) == SL_OK) {
            char record[256];
            make_result(&line, record, sizeof record);
            if (sl_job_append(job, record, strlen(record), line.body_hash) != SL_OK) _exit(1);
            if (line.number % 2 == 0 && sl_job_sync(job) != SL_OK) _exit(1);
        }
        sl_job_close(job);
        _exit(status == SL_END ? 0 : 2);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* OUT has whole records of different ids only, but for half a line if the process just ended. */
static void check_whole(bool may_be_torn)
{
    static char text[1 << 14];
    FILE *file = fopen(out, "r");
    if (!file) return;
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    int seen[256] = {0};
    for (char *line = text, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        if (!end && may_be_torn) return;
        assert_non_null(end);
        const char *id = strstr(line, "custom_id\":\"") + strlen("custom_id\":\"");
        assert_int_equal(seen[(unsigned char)*id]++, 0);
    }
}

static void prepare_nothing(void) {}

static void prepare_errors(void)
{
    sl_job *job = open_job(false, "");
    append(job, FAILED("d") RESULT("b") FAILED("a"));
    sl_job_close(job);
}

static void check_ends(void (*prepare)(void), const sl_job_options *options)
{
    for (int only_fail = 0; only_fail < 2; only_fail++) {
        int n_calls = 0, code;
        do {
            begin(NULL);
            prepare();
            code = run_until(n_calls++, only_fail, options);
            assert_true(code == 0 || code == (only_fail ? 1 : 9));
            check_whole(!only_fail);
            assert_int_equal(run_until(1 << 20, false, options), 0);
            check_whole(false);
            int n = 0;
            for (const char *id = "abcd"; *id; id++) {
                char needle[32], text[1 << 12];
                snprintf(needle, sizeof needle, "\"custom_id\":\"%c\"", *id);
                FILE *file = fopen(out, "r");
                text[fread(text, 1, sizeof text - 1, file)] = '\0';
                fclose(file);
                n += strstr(text, needle) != NULL && !strstr(text, "400");
            }
            assert_int_equal(n, 4);
            check_left(open_with(options == &RETRY ? &RETRY : &PLAIN, ""), ""); /* it is silent */
            write_file(in, EDITED("a") EDITED("b") EDITED("c") EDITED("d"));
            sl_job *job = NULL; /* each line has its entry, so its request is known */
            const sl_job_identity ours = identity();
            assert_int_equal(open_as(&ours, &PLAIN, &job), SL_ERR_OPTION);
            if (!strstr(talk, prepare == prepare_nothing ? "4 requests of" : "3 requests of"))
                fail_msg("%s", talk);
            /* nothing is left beside OUT by a call that fails; a process that ends may leave one */
            if (only_fail) assert_int_equal(count_files("out.jsonl"), 2);
        } while (code != 0);
        assert_true(n_calls > 10);
    }
}

static void test_ends_anywhere(void **state)
{
    (void)state;
    check_ends(prepare_nothing, &PLAIN);
    check_ends(prepare_errors, &RETRY);
}

/* Wherever a restart ends, the old results are there, under the old name or the new one. */
static void test_restart_ends_anywhere(void **state)
{
    (void)state;
    char kept[160];
    snprintf(kept, sizeof kept, "%s.1", out);
    for (int only_fail = 0; only_fail < 2; only_fail++) {
        int n_calls = 0, code;
        do {
            begin(NULL);
            prepare_errors();
            code = run_until(n_calls++, only_fail, &RESTART);
            check_file(access(kept, F_OK) == 0 ? kept : out, FAILED("d") RESULT("b") FAILED("a"));
            check_whole(!only_fail);
        } while (code != 0);
        assert_true(n_calls > 10);
    }
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info, (void)kind, (void)walk;
    return remove(path);
}

static int open_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(in, sizeof in, "%s/in.jsonl", folder);
    snprintf(out, sizeof out, "%s/out.jsonl", folder);
    snprintf(out_job, sizeof out_job, "%s.job", out);
    return 0;
}

static int close_folder(void **state)
{
    (void)state;
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_fresh_then_resumed, begin),
        cmocka_unit_test_setup(test_lines, begin),
        cmocka_unit_test_setup(test_zeros, begin),
        cmocka_unit_test_setup(test_duplicates, begin),
        cmocka_unit_test_setup(test_torn_line, begin),
        cmocka_unit_test_setup(test_other_job, begin),
        cmocka_unit_test_setup(test_no_result_file, begin),
        cmocka_unit_test_setup(test_locked, begin),
        cmocka_unit_test_setup(test_retry_errors, begin),
        cmocka_unit_test_setup(test_long_line, begin),
        cmocka_unit_test_setup(test_no_files, begin),
        cmocka_unit_test_setup(test_edited, begin),
        cmocka_unit_test_setup(test_edited_out, begin),
        cmocka_unit_test_setup(test_lost_blocks, begin),
        cmocka_unit_test_setup(test_damaged_journal, begin),
        cmocka_unit_test_setup(test_restart, begin),
        cmocka_unit_test_setup(test_no_locks, begin),
        cmocka_unit_test_setup(test_rewritten_in_place, begin),
        cmocka_unit_test_setup(test_no_regular_files, begin),
        cmocka_unit_test_setup(test_out_changes, begin),
        cmocka_unit_test_setup(test_out_verified, begin),
        cmocka_unit_test_setup(test_in_changes, begin),
        cmocka_unit_test_setup(test_ends_anywhere, begin),
        cmocka_unit_test_setup(test_restart_ends_anywhere, begin),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
