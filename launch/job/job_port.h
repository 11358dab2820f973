/* launch/job/job_port.h - rank 0's third thread: reads lines, tokenizes, writes results, so that
 * stage 0 never waits for a file. It meets the progress thread through two bounded queues. */
#ifndef SL_JOB_PORT_H
#define SL_JOB_PORT_H

#include "launch/job/job_file.h"
#include "launch/openai/openai.h"
#include "launch/pipeline/loop.h"

typedef struct sl_job_port sl_job_port;

/* Start the thread over a job and what the reader points to, which both outlive it. At most `ahead`
 * requests are between reading and writing, and no line is read while they take `waiting_bytes` or
 * more. SL_ERR_MEMORY. */
sl_status sl_job_port_open(sl_job *job, const sl_request_reader *reader, uint32_t ahead,
                           uint64_t waiting_bytes, sl_job_port **port_out);
/* Wait until all that was handed back is written; the thread's status. Then counts are final. */
sl_status sl_job_port_finish(sl_job_port *port);
void sl_job_port_close(sl_job_port *port); /* after finish; NULL is fine */
/* For the loop; valid until close. */
sl_port sl_job_port_get(sl_job_port *port);
/* Result records that last so far (at most some 50 ms behind those written), and error records
 * among them. */
void sl_job_port_counts(const sl_job_port *port, uint64_t *written_out, uint64_t *failed_out);

#endif
