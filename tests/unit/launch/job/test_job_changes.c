/* The files of a job that change: requests that were edited, records and journals that were
 * damaged, files that others write to while the job runs, and a job that ends at any of its
 * writes. */
#include <errno.h>
#include <sys/wait.h>
#include <time.h>

#include "runtime/base/file.h"
#include "tests/support/job_folder.h"

/* ---- requests that were edited ---- */

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_edited, begin),
        cmocka_unit_test_setup(test_edited_out, begin),
        cmocka_unit_test_setup(test_lost_blocks, begin),
        cmocka_unit_test_setup(test_damaged_journal, begin),
        cmocka_unit_test_setup(test_out_changes, begin),
        cmocka_unit_test_setup(test_out_verified, begin),
        cmocka_unit_test_setup(test_in_changes, begin),
        cmocka_unit_test_setup(test_ends_anywhere, begin),
        cmocka_unit_test_setup(test_restart_ends_anywhere, begin),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
