/* runtime/base/file.h - files whose bytes must not be lost, or change unseen: whole writes, syncs
 * that last, replacing a file at once, and whether a name still means what was opened. Knows no
 * format. Logs all errors, once, with the file's name. */
#ifndef SL_FILE_H
#define SL_FILE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "runtime/base/status.h"

/* "cannot WHAT PATH: why", with what to do about it where that is known. Takes errno.
 * SL_ERR_FILE. */
sl_status sl_file_error(const char *what, const char *path);
/* Two names of one file that is there. */
bool sl_file_same(const char *path, const char *other);

/* ---- writing ---- */

/* Write all bytes at the file's position (its end, when it was opened to append). After SL_ERR_FILE
 * some of them may be there: sl_file_cut. `path` is for messages, here and below. */
sl_status sl_file_write(int file, const char *path, const void *bytes, size_t n_bytes);
/* What was written lasts. SL_ERR_FILE: it may not, and a later sync may not know: do not try
 * again. */
sl_status sl_file_sync(int file, const char *path);
/* Make the file so many bytes long. SL_ERR_FILE. */
sl_status sl_file_cut(int file, const char *path, uint64_t n_bytes);
/* A name that was made, moved or removed in the path's folder lasts from here on, where the file
 * system can promise that. */
void sl_file_sync_folder(const char *path);

/* Give a file another name in its folder. What has that name is replaced. SL_ERR_FILE. */
sl_status sl_file_rename(const char *from, const char *to);

/* ---- replacing ----
 * This is the one way to write a file whole or not at all: bytes that are in memory by
 * sl_file_replace; what comes in pieces by sl_file_fresh_begin, sl_file_write of each,
 * sl_file_fresh_end. */

/* A file being written beside the one it will replace; after a crash either is there, whole. */
typedef struct {
    int file;                      /* open for reading and writing, empty at first */
    char path[PATH_MAX];           /* what it will replace: behind symbolic links */
    char temporary[PATH_MAX + 32]; /* a hidden name in the same folder that was free */
} sl_file_fresh;

/* Begin; the old file, if any, gives its mode (and owner, where allowed). SL_ERR_FILE: also where
 * what is there is no regular file, such as a device. */
sl_status sl_file_fresh_begin(const char *path, sl_file_fresh *fresh_out);
/* Sync and rename. The file stays open and is the caller's to close. On SL_ERR_FILE the old file is
 * as it was and the new one is gone. */
sl_status sl_file_fresh_commit(sl_file_fresh *fresh);
void sl_file_fresh_drop(sl_file_fresh *fresh); /* instead of commit */
/* Commit and close if all went well so far, else drop. Returns the first thing that went wrong. */
sl_status sl_file_fresh_end(sl_file_fresh *fresh, sl_status status);
/* Begin, write and end at once, of bytes that are in memory. */
sl_status sl_file_replace(const char *path, const void *bytes, size_t n_bytes);

/* ---- watching ---- */

/* What an open file was when it was looked at. */
typedef struct {
    uint64_t device, inode, bytes;
    int64_t modified_ns;
} sl_file_stamp;

typedef enum {
    SL_FILE_SAME,
    SL_FILE_GONE,     /* the name means nothing now */
    SL_FILE_REPLACED, /* ... or another file */
    SL_FILE_CUT,      /* shorter than it was */
    SL_FILE_GROWN,    /* longer */
    SL_FILE_CHANGED,  /* written to since, of the same size */
} sl_file_change;

sl_status sl_file_stamp_take(int file, const char *path, sl_file_stamp *stamp_out);
/* What has become of the file since. A name that cannot be asked now (a server that does not
 * answer) counts as the same. */
sl_file_change sl_file_stamp_compare(const char *path, const sl_file_stamp *stamp);
/* "was removed", "was replaced by another file" ...; static storage. */
const char *sl_file_change_text(sl_file_change change);

/* ---- for tests ---- */

/* The system calls that change files: a test's may fail, write less, or end the process. */
typedef struct {
    ssize_t (*write)(int file, const void *bytes, size_t n_bytes);
    int (*sync)(int file);
    int (*cut)(int file, off_t n_bytes);
    int (*rename)(const char *from, const char *to);
} sl_file_calls;
void sl_file_set_calls(const sl_file_calls *calls); /* NULL: the system's own */

#endif
