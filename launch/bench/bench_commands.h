/* launch/bench/bench_commands.h - The commands that measure speed: prompts and decoding, codecs,
 * links, against a figure of the paper. They time what the other rooms do and compute nothing of
 * their own. */
#ifndef SL_BENCH_COMMANDS_H
#define SL_BENCH_COMMANDS_H

#include "launch/options/command.h"

extern const sl_command sl_cmd_bench, sl_cmd_bench_codec, sl_cmd_bench_link, sl_cmd_bench_figure3;

#endif
