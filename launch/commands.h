/* launch/commands.h - the table of commands. */
#ifndef SL_COMMANDS_H
#define SL_COMMANDS_H

#include "launch/options/command.h"

/* All of them, as --help lists them; NULL ends. */
extern const sl_command_entry *const sl_commands[];

#endif
