/* tests/fuzz/fuzz.h - what a fuzz target is: libFuzzer's two entry points (LLVM's documentation,
 * "libFuzzer"). In a fuzzing build libFuzzer calls them, in every other build replay.c does. What
 * must hold of any input is an SL_ASSERT: its abort is noticed by both. */
#ifndef SL_FUZZ_H
#define SL_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Once, before the first input: opens what all inputs share, which lasts until the process ends. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
/* One input: data[size], aligned as malloc does and of exactly this size. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
