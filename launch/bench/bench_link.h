/* launch/bench/bench_link.h - `sluice bench link`: latency and speed of every link of the pipeline,
 * rank r to r + 1 and the last to rank 0, and the codec each would choose. */
#ifndef SL_BENCH_LINK_H
#define SL_BENCH_LINK_H

#include "launch/options/settings.h"

/* Opens the transport itself; every rank calls it, with equal settings, and gets the same exit
 * code, or the job is ended. Needs chunk and json; a model, if given, for its width alone (else
 * 576).
 *
 * How it is measured. One link at a time: its sender sends n bytes and every other rank passes 8
 * bytes on, until those are back at the sender; all poll without pause. T(n) is the median time.
 * A hop is T(8) / ranks: messages travel the ring in one direction only, so slower and faster hops
 * cannot be told apart. n bytes take T(n) - T(8) + one hop, and a link's speed is
 * n / (T(n) - T(8)) for n of 1 MiB. Codecs are measured before that, on every rank at once, on
 * synthetic rows (normal values, each channel on a scale of its own), `chunk` of them for a prompt
 * frame and 1 for a decode frame; a link's time is its sender's encode + wire + its receiver's
 * decode. The whole takes about 60 * ranks^2 hops.
 *
 * Rank 0 prints a table, or with --json one object:
 *   {"links": [{"from", "to", "from_host", "to_host", "hop_us", "mb_s",
 *               "messages": [{"bytes", "us"}],
 *               "prompt": {"rows", "lossless", "any"}, "decode": {"rows", "lossless", "any"}}],
 *    "ranks", "width", "rows_from": "synthetic", "machine", "commit"}
 * One rank alone has no links: SL_EXIT_USAGE, logged. */
int sl_bench_link(const sl_settings *settings);

#endif
