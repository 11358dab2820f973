/* The files of a job, in a temporary folder: what is done, what is left, and what is refused. */
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
#include <unistd.h>

#include <cmocka.h>

#include "launch/job_file.h"
#include "runtime/base/log.h"
#include "tests/support/capture.h"

#define LINE(id)   "{\"custom_id\":\"" id "\",\"url\":\"/v1/completions\",\"body\":{}}\n"
#define RESULT(id) "{\"custom_id\":\"" id "\",\"response\":{\"status_code\":200},\"error\":null}\n"
#define FAILED(id) \
    "{\"custom_id\":\"" id "\",\"response\":{\"status_code\":400},\"error\":{\"code\":\"x\"}}\n"

static char folder[] = "/tmp/sluice-test-job-XXXXXX";
static char in[128], out[128], out_job[160];
static char talk[4096];

static sl_job_identity identity(void)
{
    return (sl_job_identity){
        .model_hash = 0xabcdef, .n_options = 2, .options = {{"window", "128"}, {"policy", "full"}}};
}

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

static sl_status open_as(const sl_job_identity *job_identity, bool retry_errors, sl_job **job_out)
{
    capture c;
    capture_begin(&c);
    sl_status status = sl_job_open(in, out, job_identity, retry_errors, job_out);
    capture_end(&c, talk, sizeof talk);
    return status;
}

/* It opens, and says nothing but `warning`. */
static sl_job *open_job(bool retry_errors, const char *warning)
{
    const sl_job_identity ours = identity();
    sl_job *job = NULL;
    if (open_as(&ours, retry_errors, &job) != SL_OK) fail_msg("%s", talk);
    if (!strstr(talk, warning)) fail_msg("'%s' is not '%s'", talk, warning);
    if (!*warning) assert_string_equal(talk, "");
    return job;
}

/* It is refused, with these words, and OUT is left as it is. */
static void check_refused(const sl_job_identity *job_identity, sl_status expected,
                          const char *words, const char *kept)
{
    sl_job *job = NULL;
    int errors = sl_log_errors();
    sl_status status = open_as(job_identity, true, &job);
    if (status != expected || !strstr(talk, words)) fail_msg("%d: %s", status, talk);
    assert_null(job);
    assert_true(sl_log_errors() > errors);
    check_file(out, kept);
}

/* The lines that are left, by number, as one text. */
static void check_left(sl_job *job, const char *expected)
{
    char numbers[256] = "";
    const char *line;
    size_t bytes;
    uint64_t number;
    sl_status status;
    while ((status = sl_job_next(job, &line, &bytes, &number)) == SL_OK) {
        size_t at = strlen(numbers);
        snprintf(numbers + at, sizeof numbers - at, "%llu ", (unsigned long long)number);
    }
    assert_int_equal(status, SL_END);
    assert_string_equal(numbers, expected);
    sl_job_close(job);
}

static void append(sl_job *job, const char *record)
{
    assert_int_equal(sl_job_append(job, record, strlen(record)), SL_OK);
}

/* Each test starts with IN of four lines and nothing else. */
static int begin(void **state)
{
    (void)state;
    unlink(out);
    unlink(out_job);
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
    const char *line;
    size_t bytes;
    uint64_t number;
    assert_int_equal(sl_job_next(job, &line, &bytes, &number), SL_OK);
    assert_int_equal(number, 1);
    assert_int_equal(bytes, strlen(LINE("a")) - 1);
    assert_memory_equal(line, LINE("a"), bytes);
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
        assert_int_equal(sl_job_append(job, torn[i], strlen(torn[i]) - (i == 2)), SL_OK);
        sl_job_close(job);
        job = open_job(false, "its last line was not whole");
        check_file(out, RESULT("a") RESULT("b"));
        append(job, RESULT("c"));
        check_left(job, "3 4 ");
        check_file(out, RESULT("a") RESULT("b") RESULT("c"));
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
    char temporary[160];
    snprintf(temporary, sizeof temporary, "%s.tmp", out);
    assert_int_equal(access(temporary, F_OK), -1);
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
    const char *line;
    size_t bytes;
    uint64_t number;
    assert_int_equal(sl_job_next(job, &line, &bytes, &number), SL_OK);
    assert_int_equal(bytes, SL_JOB_LINE_BYTES_MAX);
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
    sl_status status = sl_job_open(in_path, out_path, &ours, false, &job);
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
    check_no_file(in, folder, "Is a directory");
    assert_int_equal(mkdir(out_job, 0700), 0); /* OUT can be written, OUT.job cannot */
    check_no_file(in, out, "out.jsonl.job");
    rmdir(out_job);
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
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
