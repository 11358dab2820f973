/* Stop strings found while text arrives in pieces, against a search of the whole text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "launch/openai/stop_match.h"

static uint64_t random_state;

static uint32_t random_below(uint32_t n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % n);
}

/* Where the match that starts first begins in text[bytes], else SIZE_MAX. */
static size_t search(const char *text, size_t bytes, const sl_text *stops, uint32_t n_stops)
{
    size_t first = SIZE_MAX;
    for (uint32_t i = 0; i < n_stops; i++) {
        const char *found = memmem(text, bytes, stops[i].data, stops[i].bytes);
        if (found && (size_t)(found - text) < first) first = (size_t)(found - text);
    }
    return first;
}

/* Two letters, so that near misses abound; lengths up to the longest possible. */
static void try_one(uint64_t seed)
{
    enum { TEXT_BYTES = 1500 };
    random_state = seed;
    char text[TEXT_BYTES], strings[SL_STOPS_MAX][SL_STOP_BYTES_MAX];
    sl_text stops[SL_STOPS_MAX];
    for (size_t i = 0; i < TEXT_BYTES; i++) text[i] = "ab"[random_below(8) == 0];
    const uint32_t n_stops = random_below(SL_STOPS_MAX + 1);
    for (uint32_t i = 0; i < n_stops; i++) {
        stops[i] = (sl_text){strings[i], 12 + random_below(SL_STOP_BYTES_MAX - 11)};
        for (size_t j = 0; j < stops[i].bytes; j++) strings[i][j] = "ab"[random_below(8) == 0];
        if (random_below(2) == 0) /* one that is there */
            memcpy(strings[i], text + random_below(TEXT_BYTES - SL_STOP_BYTES_MAX), stops[i].bytes);
    }
    const uint32_t piece_max = random_below(4) == 0 ? 600 : 1 + random_below(12);

    sl_stop_match match;
    sl_stop_match_init(&match, stops, n_stops);
    for (size_t fed = 0; fed < TEXT_BYTES;) {
        size_t bytes = random_below(piece_max + 1), end = SIZE_MAX;
        if (bytes > TEXT_BYTES - fed) bytes = TEXT_BYTES - fed;
        const bool met = sl_stop_match_feed(&match, text + fed, bytes, &end);
        fed += bytes;
        const size_t expected = search(text, fed, stops, n_stops);
        if (end != expected || met != (expected != SIZE_MAX))
            fail_msg("seed %llu, after %zu bytes: at %zu, not %zu", (unsigned long long)seed, fed,
                     end, expected);
        if (met) return;
    }
}

static void test_against_search(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3000; seed++) try_one(seed);
}

static void test_one_byte_at_a_time(void **state)
{
    (void)state;
    const sl_text stops[] = {{"<end>", 5}, {"\n\n", 2}};
    const char *text = "one\ntwo <en<end> three";
    sl_stop_match match;
    sl_stop_match_init(&match, stops, 2);
    size_t end = SIZE_MAX, fed = 0;
    while (text[fed] && !sl_stop_match_feed(&match, text + fed, 1, &end)) fed++;
    assert_int_equal(end, 11);
    assert_int_equal(fed, 15); /* with its last byte, not later */
}

/* All matches in one piece: the first in the text wins, not the first in the list. */
static void test_earliest_wins(void **state)
{
    (void)state;
    const sl_text stops[] = {{"late", 4}, {"early", 5}, {"arl", 3}};
    sl_stop_match match;
    sl_stop_match_init(&match, stops, 3);
    size_t end;
    assert_true(sl_stop_match_feed(&match, "an early one, a late one", 24, &end));
    assert_int_equal(end, 3);
}

static void test_longest_stop_reaches_back(void **state)
{
    (void)state;
    char text[SL_STOP_BYTES_MAX + 10];
    memset(text, 'x', 10);
    for (int i = 0; i < SL_STOP_BYTES_MAX; i++) text[10 + i] = (char)(i % 64 + 'A');
    const sl_text stops[] = {{text + 10, SL_STOP_BYTES_MAX}};
    sl_stop_match match;
    sl_stop_match_init(&match, stops, 1);
    size_t end = SIZE_MAX;
    for (size_t i = 0; i + 1 < sizeof text; i++)
        assert_false(sl_stop_match_feed(&match, text + i, 1, &end));
    assert_true(sl_stop_match_feed(&match, text + sizeof text - 1, 1, &end));
    assert_int_equal(end, 10);
}

/* What ends in a text that was passed by is no match; what begins there may be. */
static void test_pass(void **state)
{
    (void)state;
    const sl_text stops[] = {{"b", 1}, {"cdef", 4}};
    sl_stop_match match;
    sl_stop_match_init(&match, stops, 2);
    size_t end = SIZE_MAX;
    sl_stop_match_pass(&match, "abc", 3);
    assert_false(sl_stop_match_feed(&match, "d", 1, &end));
    assert_true(sl_stop_match_feed(&match, "efb", 3, &end));
    assert_int_equal(end, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_search),
        cmocka_unit_test(test_one_byte_at_a_time),
        cmocka_unit_test(test_earliest_wins),
        cmocka_unit_test(test_pass),
        cmocka_unit_test(test_longest_stop_reaches_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
