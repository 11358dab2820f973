/* runtime/text/jinja/jinja_tests.h - the tests behind "is": each answers with a boolean. */
#ifndef SL_JINJA_TESTS_H
#define SL_JINJA_TESTS_H

#include "runtime/text/jinja/jinja_context.h"

/* NULL: there is none of this name. */
const sl_jinja_builtin *sl_jinja_find_test(sl_jinja_text name);

#endif
