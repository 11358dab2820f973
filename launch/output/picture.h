/* launch/output/picture.h - pictures through gnuplot, which runs beside us and reads a script of
 * ours. */
#ifndef SL_PICTURE_H
#define SL_PICTURE_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#include "runtime/base/file.h"
#include "runtime/base/status.h"

/* A gnuplot that is running. */
typedef struct {
    FILE *script; /* to gnuplot: our commands and numbers, never a text that others wrote */
    pid_t pid;
    sl_file_fresh fresh; /* what gnuplot draws into */
} sl_picture;

/* Whether gnuplot is installed. */
bool sl_picture_possible(void);
/* Begin a picture of so many pixels in `path`, which ends in .png or .svg and may have any name: it
 * is opened here, and there when it is whole. SL_ERR_FILE, logged: there is no gnuplot, or the file
 * cannot be written. */
sl_status sl_picture_begin(const char *path, int width, int height, sl_picture *picture);
/* Ends what was begun. SL_ERR_FILE, logged: gnuplot failed. */
sl_status sl_picture_end(sl_picture *picture, const char *path);

#endif
