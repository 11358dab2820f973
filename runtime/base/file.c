/* runtime/base/file.c - see file.h. */
#include "runtime/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/log.h"

static const sl_file_calls SYSTEM = {write, fdatasync, ftruncate, rename};
static const sl_file_calls *current = &SYSTEM;

void sl_file_set_calls(const sl_file_calls *calls) { current = calls ? calls : &SYSTEM; }

/* What the user can do about it. */
static const char *advice(int error)
{
    switch (error) {
    case ENOSPC: return ": free some space there";
    case EDQUOT: return ": your quota there is used up";
    case EFBIG: return ": ulimit -f, or the file system, allows no larger file";
    default: return "";
    }
}

sl_status sl_file_error(const char *what, const char *path)
{
    int error = errno;
    sl_error("cannot %s %s: %s%s", what, path, strerror(error), advice(error));
    return SL_ERR_FILE;
}

bool sl_file_same(const char *path, const char *other)
{
    struct stat one, two;
    return stat(path, &one) == 0 && stat(other, &two) == 0 && one.st_dev == two.st_dev &&
           one.st_ino == two.st_ino;
}

/* ---- writing ---- */

sl_status sl_file_write(int file, const char *path, const void *bytes, size_t n_bytes)
{
    const char *at = bytes;
    while (n_bytes > 0) {
        ssize_t n = current->write(file, at, n_bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n == 0) errno = ENOSPC; /* no system writes nothing of something, and then more */
        if (n <= 0) return sl_file_error("write", path);
        at += n;
        n_bytes -= (size_t)n;
    }
    return SL_OK;
}

sl_status sl_file_sync(int file, const char *path)
{
    while (current->sync(file) != 0) {
        if (errno == EINTR) continue;
        if (errno == EINVAL || errno == ENOSYS)
            return SL_OK; /* a file system that cannot promise */
        return sl_file_error("sync", path);
    }
    return SL_OK;
}

sl_status sl_file_cut(int file, const char *path, uint64_t n_bytes)
{
    return current->cut(file, (off_t)n_bytes) == 0 ? SL_OK : sl_file_error("truncate", path);
}

void sl_file_sync_folder(const char *path)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    int directory = open(dirname(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) return;
    current->sync(directory);
    close(directory);
}

sl_status sl_file_rename(const char *from, const char *to)
{
    if (current->rename(from, to) != 0) return sl_file_error("rename", from);
    sl_file_sync_folder(to);
    return SL_OK;
}

/* ---- replacing ---- */

/* Create a file of a name that is free, and short enough whatever the other is called. The
 * process's umask decides its mode. */
static int create_beside(sl_file_fresh *fresh)
{
    const char *name = strrchr(fresh->path, '/');
    int folder_bytes = name ? (int)(name + 1 - fresh->path) : 0;
    for (int i = 0; i < 1000; i++) {
        snprintf(fresh->temporary, sizeof fresh->temporary, "%.*s.sluice-%ld-%d.tmp", folder_bytes,
                 fresh->path, (long)getpid(), i);
        int file = open(fresh->temporary, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
        if (file >= 0 || errno != EEXIST) return file;
    }
    return -1;
}

/* The mode and, where allowed, the owner of the file that will be replaced. */
static sl_status take_mode(const sl_file_fresh *fresh)
{
    struct stat old;
    if (stat(fresh->path, &old) != 0) return SL_OK;
    mode_t mode = old.st_mode & 07777;
    /* The owner first, since changing it may clear bits of the mode; only root can. What another
     * group was allowed is not this one's. */
    if (fchown(fresh->file, old.st_uid, old.st_gid) != 0 &&
        fchown(fresh->file, (uid_t)-1, old.st_gid) != 0)
        mode &= ~(mode_t)S_IRWXG;
    if (fchmod(fresh->file, mode) == 0) return SL_OK;
    return sl_file_error("set the mode of", fresh->temporary);
}

sl_status sl_file_fresh_begin(const char *path, sl_file_fresh *fresh_out)
{
    sl_file_fresh fresh;
    struct stat old;
    if (!realpath(path, fresh.path)) { /* not there yet, which a link to nothing is not */
        int error = errno;
        bool is_new = error == ENOENT && lstat(path, &old) != 0 && errno == ENOENT;
        errno = error;
        if (!is_new || strlen(path) >= sizeof fresh.path) return sl_file_error("find", path);
        snprintf(fresh.path, sizeof fresh.path, "%s", path);
    }
    if (stat(fresh.path, &old) == 0 && !S_ISREG(old.st_mode)) {
        sl_error("cannot write %s: it is no regular file", path);
        return SL_ERR_FILE;
    }
    fresh.file = create_beside(&fresh);
    if (fresh.file < 0) return sl_file_error("create a file beside", fresh.path);
    sl_status status = take_mode(&fresh);
    if (status != SL_OK)
        sl_file_fresh_drop(&fresh);
    else
        *fresh_out = fresh;
    return status;
}

sl_status sl_file_fresh_commit(sl_file_fresh *fresh)
{
    sl_status status = sl_file_sync(fresh->file, fresh->temporary);
    if (status == SL_OK && current->rename(fresh->temporary, fresh->path) != 0)
        status = sl_file_error("replace", fresh->path);
    if (status != SL_OK) {
        sl_file_fresh_drop(fresh);
        return status;
    }
    sl_file_sync_folder(fresh->path);
    return SL_OK;
}

void sl_file_fresh_drop(sl_file_fresh *fresh)
{
    close(fresh->file);
    unlink(fresh->temporary);
}

sl_status sl_file_fresh_end(sl_file_fresh *fresh, sl_status status)
{
    if (status != SL_OK) {
        sl_file_fresh_drop(fresh);
        return status;
    }
    status = sl_file_fresh_commit(fresh);
    if (status == SL_OK) close(fresh->file);
    return status;
}

sl_status sl_file_replace(const char *path, const void *bytes, size_t n_bytes)
{
    sl_file_fresh fresh;
    sl_status status = sl_file_fresh_begin(path, &fresh);
    if (status != SL_OK) return status;
    return sl_file_fresh_end(&fresh, sl_file_write(fresh.file, path, bytes, n_bytes));
}

/* ---- watching ---- */

static sl_file_stamp stamp_of(const struct stat *file)
{
    return (sl_file_stamp){
        .device = file->st_dev,
        .inode = file->st_ino,
        .bytes = (uint64_t)file->st_size,
        .modified_ns = file->st_mtim.tv_sec * INT64_C(1000000000) + file->st_mtim.tv_nsec,
    };
}

sl_status sl_file_stamp_take(int file, const char *path, sl_file_stamp *stamp_out)
{
    struct stat now;
    if (fstat(file, &now) != 0) return sl_file_error("look at", path);
    *stamp_out = stamp_of(&now);
    return SL_OK;
}

sl_file_change sl_file_stamp_compare(const char *path, const sl_file_stamp *stamp)
{
    struct stat found;
    if (stat(path, &found) != 0) {
        bool gone = errno == ENOENT || errno == ENOTDIR || errno == ESTALE || errno == ELOOP;
        return gone ? SL_FILE_GONE : SL_FILE_SAME;
    }
    sl_file_stamp now = stamp_of(&found);
    if (now.device != stamp->device || now.inode != stamp->inode) return SL_FILE_REPLACED;
    if (now.bytes != stamp->bytes) return now.bytes < stamp->bytes ? SL_FILE_CUT : SL_FILE_GROWN;
    return now.modified_ns == stamp->modified_ns ? SL_FILE_SAME : SL_FILE_CHANGED;
}

const char *sl_file_change_text(sl_file_change change)
{
    switch (change) {
    case SL_FILE_SAME: return "is as it was";
    case SL_FILE_GONE: return "was removed";
    case SL_FILE_REPLACED: return "was replaced by another file";
    case SL_FILE_CUT: return "was cut";
    case SL_FILE_GROWN: return "has grown";
    case SL_FILE_CHANGED: return "was written to";
    }
    return "";
}
