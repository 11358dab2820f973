/* launch/job/job_commands.h - A job: IN becomes OUT, a record a request, and nothing of it is lost.
 * Owns OUT, its journal and whatever reads IN. Refuses to know how tokens are computed: requests go
 * to launch/pipeline and come back finished. */
#ifndef SL_JOB_COMMANDS_H
#define SL_JOB_COMMANDS_H

#include "launch/options/command.h"

extern const sl_command sl_cmd_batch, sl_cmd_run;

#endif
