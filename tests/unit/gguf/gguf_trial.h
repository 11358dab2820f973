/* tests/unit/gguf/gguf_trial.h - a small file, and a trial: bytes that may be anything are opened,
 * which gives an error or a valid file, never a byte beyond the end nor memory beyond a few times
 * their size. For the files of test_gguf only. */
#ifndef SL_TEST_GGUF_TRIAL_H
#define SL_TEST_GGUF_TRIAL_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/gguf/gguf.h"
#include "runtime/gguf/gguf_writer.h"
#include "tests/support/gguf_patch.h"

/* What the tensors hold. */
extern const float numbers[64];
extern const uint8_t blocks[40]; /* two of q4_1 */

/* Ten keys and three tensors; the caller frees it. */
uint8_t *trial_small_file(size_t *n_bytes_out);
sl_status trial_open(const uint8_t *bytes, size_t n_bytes, sl_gguf **out);

/* A file that opens is read to its last byte; one that does not says why, once. */
sl_status trial_run(const uint8_t *bytes, size_t n_bytes);
/* Opening may ask malloc for asked_max bytes. */
sl_status trial_run_within(const uint8_t *bytes, size_t n_bytes, size_t asked_max);

/* The groups of tests, each in the file of its name; they return how many failed. */
int gguf_disk_tests(void);
int gguf_hostile_tests(void);
int gguf_split_tests(void);

#endif
