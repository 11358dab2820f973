/* launch/show/cache_pictures.h - what a cache kept and what queries look at, as pictures. */
#ifndef SL_CACHE_PICTURES_H
#define SL_CACHE_PICTURES_H

#include "launch/options/settings.h"
#include "launch/show/prompt_trace.h"

/* The eviction pattern as Zeng et al. draw it (arXiv:2410.12876, figure 1): for each KV head layers
 * by tokens, black where evicted, the text along it. `path` ends in .png or .svg. SL_ERR_FILE,
 * logged: no gnuplot, or it failed. */
sl_status sl_picture_fates(const sl_prompt_trace *trace, const char *path);
/* What queries look at (figures 4 and 5): a row of maps for each layer, the model's heads, then the
 * gate's. */
sl_status sl_picture_maps(const sl_prompt_trace *trace, const sl_counts *layers, const char *path);

#endif
