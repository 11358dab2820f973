/* launch/options/command.h - what a command says of itself, and its command line, which becomes
 * settings. The program, --help, the man page and the shell's completion all read it. Each room of
 * commands lists its own in its front door.
 *
 * The front door of launch/options, which knows what may be asked for, not how it is done. */
#ifndef SL_COMMAND_H
#define SL_COMMAND_H

#include "launch/options/option_groups.h"

enum { SL_COMMAND_GROUPS_MAX = 20 };

typedef struct {
    const char *name; /* one word, or two */
    const char *summary;
    const char *usage;    /* what follows the name and [OPTION...] */
    const char *about;    /* what it does, in a sentence or two */
    const char *examples; /* after the options: lines that can be typed, and what else matters */
    const sl_option *groups[SL_COMMAND_GROUPS_MAX]; /* the options it takes; NULL after the last */
    bool takes_words;                               /* arguments that are no options */
    /* Returns the process's exit code (launch/machine/process.h). */
    int (*run)(sl_settings *settings);
} sl_command;

/* The command's option number `index`, in the order of its groups; NULL: there are no more. */
const sl_option *sl_command_option(const sl_command *command, size_t index);

/* Parse argv, which begins with the last word of the command's name: defaults, then SLUICE_*
 * variables, then options. Sets the log's level.
 * SL_END: --help was asked for and printed. SL_ERR_OPTION: logged with what was expected. */
sl_status sl_command_parse(const sl_command *command, int argc, char **argv,
                           sl_settings *settings_out);

/* Parse argv as above, check that the process's limits leave room to start, and run the command.
 * Returns the process's exit code. */
int sl_command_run(const sl_command *command, int argc, char **argv);

#endif
