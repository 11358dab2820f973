/* launch/options/command.h - what a command says of itself: main, --help, the man page and the
 * shell's completion all read it. Each room of commands lists its own in its front door. */
#ifndef SL_COMMAND_H
#define SL_COMMAND_H

#include "launch/options/settings.h"

typedef struct {
    sl_command command;
    const char *name; /* one word, or two */
    const char *summary;
    const char *usage;    /* what follows the name and [OPTION...] */
    const char *about;    /* what it does, in a sentence or two */
    const char *examples; /* after the options: lines that can be typed, and what else matters */
    /* Returns the process's exit code (launch/machine/process.h). */
    int (*run)(sl_settings *settings);
} sl_command_entry;

#endif
