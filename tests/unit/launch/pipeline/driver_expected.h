/* tests/unit/launch/pipeline/driver_expected.h - requests for the rig of driver_rig.h, and what
 * each of them must get. A check frees the request. For the files of test_driver only. */
#ifndef SL_TEST_DRIVER_EXPECTED_H
#define SL_TEST_DRIVER_EXPECTED_H

#include "tests/unit/launch/pipeline/driver_rig.h"

/* A prompt of any bytes; the end-of-text tokens do not end it, as ignore_eos says. */
sl_request *request_new(uint32_t n_prompt, uint32_t max_tokens, uint32_t n_choices);
void request_add_stop(sl_request *request, const char *text);
/* Each choice gets an end of its own, of 1 to 40 tokens. */
void request_add_tails(sl_request *request, seeded *random);
sl_request *rig_submit(rig *r, sl_request *request);

/* It was served, and every choice is what its prompt leads to. */
void check_served(rig *r, sl_request *request);
/* It does not fit in memory, and the message says `number`. */
void check_failed(sl_request *request, const char *number);
void check_cancelled(sl_request *request);

#endif
