/* launch/show/show_gate.h - `sluice show gate FILE`: whom gates are for, their shapes, bytes,
 * calibration. */
#ifndef SL_SHOW_GATE_H
#define SL_SHOW_GATE_H

#include <stdbool.h>

#include "runtime/base/status.h"

/* On stdout. Errors are those of sl_gate_file_read, logged. */
sl_status sl_show_gate(const char *path, bool json);

#endif
