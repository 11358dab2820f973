/* launch/picture.h - pictures through gnuplot, which runs beside us and reads a script of ours. */
#ifndef SL_PICTURE_H
#define SL_PICTURE_H

#include <stdio.h>

#include "launch/look.h"

/* There is a gnuplot. */
bool sl_picture_possible(void);
/* A gnuplot that draws to `path`, which ends in .png or .svg, of so many pixels: its script goes to
 * *plot_out. SL_ERR_FILE, logged: there is no gnuplot, or it failed. */
sl_status sl_picture_begin(const char *path, int width, int height, FILE **plot_out);
sl_status sl_picture_end(FILE *plot, const char *path);

/* The eviction pattern as Zeng et al. draw it (arXiv:2410.12876, figure 1): for each KV head layers by
 * tokens, black where evicted, the text along it. `path` ends in .png or .svg.
 * SL_ERR_FILE, logged: no gnuplot, or it failed. */
sl_status sl_picture_fates(const sl_look *look, const char *path);
/* What queries look at (figures 4 and 5): a row of maps for each layer, the model's heads, then the
 * gate's. */
sl_status sl_picture_maps(const sl_look *look, const sl_counts *layers, const char *path);

#endif
