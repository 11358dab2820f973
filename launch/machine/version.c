/* launch/machine/version.c - what the build system says of itself, to this file alone, so that a
 * new commit recompiles nothing else. */
#include "launch/machine/version.h"

const char *sl_version(void) { return SLUICE_VERSION; }

const char *sl_version_details(void) { return SLUICE_VERSION_DETAILS; }
