/* launch/bench/bench_codec.h - `sluice bench codec`: every codec on hidden rows of a real model,
 * and what links of some speeds would choose by that. */
#ifndef SL_BENCH_CODEC_H
#define SL_BENCH_CODEC_H

#include "launch/options/settings.h"

/* On one rank (sl_rank0_command_run). Needs model and chunk; text (NULL: a text of our own),
 * threads and json. The rows are what the middle link of two ranks would carry: a prompt of `chunk`
 * tokens through the first half of the layers. Measured are its last row (as a decode frame has),
 * its last 16, and all. A table on stdout, or with --json one object:
 *   {"rows": [{"codec", "written_as", "rows", "bytes", "ratio", "bound_ratio", "encode_gb_s",
 *              "decode_gb_s", "max_error", "rms_error"}],
 *    "choices": [{"gbit_s", "rows", "lossless", "any"}],
 *    "model", "layers", "width", "chunk", "kernels", "machine", "commit"}
 * GB/s are of floats (codec_speed.h says how they and the errors are measured). bound_ratio is what
 * a perfect code of the rows' exponents would reach (codec_speed.h), null for int8. A choice is the
 * codec with the least encode + wire + decode time (sched/link_choice.h). SL_ERR_OPTION, what
 * opening a model says, SL_ERR_MEMORY: logged. */
sl_status sl_bench_codec(const sl_settings *settings);

#endif
