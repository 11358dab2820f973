/* launch/job/job_out_open.c - OUT and its journal are opened: whether OUT can hold results at all,
 * the lock, beginning anew, and whose results are in it already. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launch/job/job_out_state.h"
#include "runtime/base/log.h"

/* ---- what OUT may be ---- */

#define KEPT_IN_A_FILE                                                          \
    "results are kept in a file, so that a job can be resumed: give its name, " \
    "and read it with tail -f if you like"

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
        sl_error("-o -: " KEPT_IN_A_FILE);
        return SL_ERR_OPTION;
    }
    char journal_path[PATH_MAX];
    snprintf(journal_path, sizeof journal_path, "%s.job", path);
    if (sl_journal_check(journal_path) != SL_OK) return SL_ERR_FILE;
    if (stat(path, &there) != 0) return SL_OK; /* opening it says more */
    if (S_ISREG(there.st_mode)) return check_not_standard(path, &there);
    sl_error("%s is %s: " KEPT_IN_A_FILE, path, kind_of(there.st_mode));
    return SL_ERR_FILE;
}

/* ---- opening and locking ---- */

/* Nothing keeps a second job away then, which is no reason to do none. */
static bool has_no_locks(int error)
{
    return error == ENOSYS || error == ENOLCK || error == EOPNOTSUPP;
}

sl_status sl_out_lock(int file, const char *path, bool *warned)
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

/* Another process may have moved it away, or put a new file in its place, between opening and
 * locking. */
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
        status = sl_out_lock(out->file, path, &out->warned);
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

/* OUT first: its journal alone still finds it (begin_journal), should the job end between the
 * two. */
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

static int log_hash_difference(const char *what, uint64_t was, uint64_t is, const char *path)
{
    if (was == is) return 0;
    sl_error("%s: its results are of %s %016" PRIx64 ", this is %016" PRIx64, path, what, was, is);
    return 1;
}

static int log_option_difference(const char *name, const char *was, const char *is,
                                 const char *path)
{
    if (was && is && !strcmp(was, is)) return 0;
    sl_error("%s: its results are of --%s %s, this is --%s %s", path, name, was ? was : "(none)",
             name, is ? is : "(none)");
    return 1;
}

/* How many things differ. Options that only one of them has count too. */
static int log_differences(const sl_job_identity *was, const sl_job_identity *is, const char *path)
{
    int n = log_hash_difference("model", was->model_hash, is->model_hash, path) +
            log_hash_difference("gate", was->gate_hash, is->gate_hash, path);
    if (strcmp(was->numerics, is->numerics) != 0 && ++n)
        sl_error("%s: its results are of %s, this is %s (kernel set, type of cache): results would "
                 "differ in their last digits; see SLUICE_KERNELS and --kv",
                 path, was->numerics, is->numerics);
    for (uint32_t i = 0; i < is->n_options; i++) {
        const char *name = is->options[i].name;
        n += log_option_difference(name, option_value(was, name), is->options[i].value, path);
    }
    for (uint32_t i = 0; i < was->n_options; i++) {
        const char *name = was->options[i].name;
        if (!option_value(is, name))
            n += log_option_difference(name, was->options[i].value, NULL, path);
    }
    return n;
}

/* An empty OUT becomes this job's, whatever job its journal was of: there is nothing to mix with.
 * That of results which were moved away is kept beside them. */
static sl_status begin_journal(sl_out *out, const sl_job_identity *identity)
{
    sl_status status = SL_OK;
    if (out->known.n_entries > 0) {
        char to[MOVED_BYTES], journal_to[MOVED_BYTES];
        status = find_free_names(out, false, to, journal_to);
        if (status == SL_OK) status = sl_file_rename(out->journal_path, journal_to);
        if (status != SL_OK) return status;
        sl_warn("%s is empty, but %s tells of %" PRIu64
                " results: all is done anew, and that journal is %s now",
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
                 "give another -o, or begin anew with --restart, which keeps the old file",
                 out->path, out->journal_path);
        return SL_ERR_FILE;
    }
    if (log_differences(&out->known.identity, identity, out->path) > 0) {
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
