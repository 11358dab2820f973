/* tests/unit/stage/stage_tests.h - groups of tests that test_stage runs, each in the file of its
 * name; they return how many failed. */
#ifndef SL_TEST_STAGE_TESTS_H
#define SL_TEST_STAGE_TESTS_H

int stage_hostile_tests(void);
int stage_allocation_tests(void);

#endif
