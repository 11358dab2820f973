/* The files of a job: what is done, what is left, what is refused, and what OUT may be. */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

#include "tests/support/job_folder.h"

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

/* Each test starts with locks. */
static int begin_locked(void **state)
{
    flock_errno = 0;
    return begin(state);
}

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
    write_file(out, ""); /* an empty file is of no job */
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
        begin_locked(NULL);
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
    const char *const pairs[][2] = {{"-", out}, {in, "-"}};
    for (int i = 0; i < 2; i++) {
        capture c;
        capture_begin(&c);
        assert_int_equal(sl_job_open(pairs[i][0], pairs[i][1], &ours, &PLAIN, &job), SL_ERR_OPTION);
        capture_end(&c, talk, sizeof talk);
    }
    assert_int_equal(access("-", F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_fresh_then_resumed, begin_locked),
        cmocka_unit_test_setup(test_lines, begin_locked),
        cmocka_unit_test_setup(test_zeros, begin_locked),
        cmocka_unit_test_setup(test_duplicates, begin_locked),
        cmocka_unit_test_setup(test_torn_line, begin_locked),
        cmocka_unit_test_setup(test_other_job, begin_locked),
        cmocka_unit_test_setup(test_no_result_file, begin_locked),
        cmocka_unit_test_setup(test_locked, begin_locked),
        cmocka_unit_test_setup(test_retry_errors, begin_locked),
        cmocka_unit_test_setup(test_long_line, begin_locked),
        cmocka_unit_test_setup(test_no_files, begin_locked),
        cmocka_unit_test_setup(test_restart, begin_locked),
        cmocka_unit_test_setup(test_no_locks, begin_locked),
        cmocka_unit_test_setup(test_rewritten_in_place, begin_locked),
        cmocka_unit_test_setup(test_no_regular_files, begin_locked),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
