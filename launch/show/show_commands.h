/* launch/show/show_commands.h - The commands that show what is in a model, a gate, a report or a
 * cache, in words and pictures. */
#ifndef SL_SHOW_COMMANDS_H
#define SL_SHOW_COMMANDS_H

#include "launch/options/command.h"

extern const sl_command sl_cmd_show, sl_cmd_show_cache;

#endif
