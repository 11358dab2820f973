/* launch/setup/retention.h - what each layer kept in an earlier run, from the JSON that `batch
 * --json` and `eval --json` print: "retention", an array a layer of a number a KV head. */
#ifndef SL_RETENTION_H
#define SL_RETENTION_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/base/status.h"
#include "runtime/model/shape.h"

/* keep_out: [n_layers] the mean over a layer's heads, 0 .. 1; 1 of layers with a sliding window,
 * of which reports say null.
 * SL_ERR_FILE, SL_ERR_FORMAT: logged, with which element is wrong. */
sl_status sl_retention_read(const char *path, const sl_model_shape *shape, double *keep_out);
/* The same of bytes; `path` is for messages. */
sl_status sl_retention_parse(const char *path, const char *text, size_t bytes,
                             const sl_model_shape *shape, double *keep_out);

#endif
