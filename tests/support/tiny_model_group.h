/* tests/support/tiny_model_group.h - the model of tiny_model.h for a group of tests: opened before
 * the first and closed after the last. To be included once in a program. */
#ifndef SL_TEST_TINY_MODEL_GROUP_H
#define SL_TEST_TINY_MODEL_GROUP_H

#include "tests/support/tiny_model.h"

static tiny_model model;

static inline int open_model(void **state)
{
    (void)state;
    tiny_model_open(TINY_WITHOUT_BOS, &model);
    return 0;
}

static inline int close_model(void **state)
{
    (void)state;
    tiny_model_close(&model);
    return 0;
}

#endif
