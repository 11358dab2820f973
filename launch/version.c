/* launch/version.c - the build system says SLUICE_VERSION for this file alone, so that a new commit
 * recompiles nothing else. */
#include "launch/version.h"

const char *sl_version(void) { return SLUICE_VERSION; }
