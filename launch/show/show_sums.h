/* launch/show/show_sums.h - `sluice show model FILE --sums`. */
#ifndef SL_SHOW_SUMS_H
#define SL_SHOW_SUMS_H

#include "launch/options/settings.h"

/* Print what the layers of the model words[1] hash to (runtime/model/sums.h), and write that to
 * FILE.sums; where that is there, compare instead. SL_ERR_FORMAT, logged: the file is another. */
sl_status sl_show_sums(const sl_settings *settings);

#endif
