/* launch/commands.h - the table of commands. A new one has its entry (launch/options/command.h) in
 * its room, beside the options that only it takes, and a line here; what its options say is a
 * member of sl_settings (launch/options/settings.h). */
#ifndef SL_COMMANDS_H
#define SL_COMMANDS_H

#include "launch/options/command.h"

/* All of them, as --help lists them; NULL ends. */
extern const sl_command *const sl_commands[];

#endif
