/* launch/machine/version.h - what this binary was built from. */
#ifndef SL_VERSION_H
#define SL_VERSION_H

/* "0.1.0-g1a2b3c4"; static storage. */
const char *sl_version(void);
/* Compiler, build type and libraries, a line each; static storage. */
const char *sl_version_details(void);

#endif
