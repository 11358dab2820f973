/* launch/pipeline/driver_admission.h - when a request gets its slots and when it loses them.
 * For the files of the driver only. */
#ifndef SL_DRIVER_ADMISSION_H
#define SL_DRIVER_ADMISSION_H

#include "launch/pipeline/driver_state.h"

/* Let requests in, by age, as long as there are slots for them and the pages they are expected to
 * need. One request is always let in, since it may have the whole pool. */
void sl_driver_admit(sl_driver *d);
/* No page is left and nothing is under way: the youngest gives its slots back and starts again
 * later; when it is the only one, it fails. */
void sl_driver_restart_youngest(sl_driver *d);
/* It is done, served or failed: it gives its slots back and comes out of sl_driver_finished. */
void sl_driver_finish_request(sl_driver *d, sl_driver_request *r);

#endif
