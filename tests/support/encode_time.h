/* tests/support/encode_time.h - the time to encode a megabyte, which must not grow faster than the
 * text. In a header, so that the library of test support needs neither cmocka nor a room. */
#ifndef SL_TEST_ENCODE_TIME_H
#define SL_TEST_ENCODE_TIME_H

#include <stdlib.h>
#include <string.h>

#include "runtime/base/clock.h"
#include "runtime/text/tokenizer.h"

enum { LONG_BYTES = 1 << 20 };

/* Of each unit, a text that repeats it. Needs cmocka.h. */
static inline void check_encode_time(const sl_tokenizer *t, const char *const *units,
                                     size_t n_units)
{
    char *text = malloc(LONG_BYTES);
    for (size_t u = 0; u < n_units; u++) {
        size_t unit = strlen(units[u]), n = LONG_BYTES / unit * unit;
        for (size_t i = 0; i < n; i++) text[i] = units[u][i % unit];
        sl_tokens ids = {0};
        int64_t start = sl_clock_now_ns();
        assert_int_equal(sl_tokenizer_encode(t, text, n, SL_SPECIAL_PARSED, &ids), SL_OK);
        double seconds = (double)(sl_clock_now_ns() - start) / (double)SL_SECOND;
        print_message("1 MB of unit %zu: %zu ids, %.3f s\n", u, ids.n, seconds);
        sl_tokens_free(&ids);
        if (seconds > 20) fail_msg("unit %zu: %.1f s", u, seconds); /* sanitizers on a busy host */
    }
    free(text);
}

#endif
