/* tests/unit/launch/bench/test_bench_codec.c - the bench on a small model: what its JSON holds, and
 * what it refuses. Speeds are this machine's; bytes and errors are the model's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "comm/codec/codec.h"
#include "launch/bench/bench_codec.h"
#include "tests/support/capture.h"
#include "tests/support/synth_gguf.h"

static char path[] = "bench_codec_XXXXXX";

static int setup(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    synth_shape shape = synth_shape_default();
    synth_gguf_save(&shape, path);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

/* Run it with stdout in a file; the caller frees what was printed. */
static sl_status run(const sl_settings *settings, char **printed_out)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    fflush(stdout);
    int shown = dup(STDOUT_FILENO);
    dup2(fileno(file), STDOUT_FILENO);
    sl_status status = sl_bench_codec(settings);
    fflush(stdout);
    dup2(shown, STDOUT_FILENO);
    close(shown);
    size_t bytes_max = 1 << 16;
    *printed_out = calloc(1, bytes_max);
    rewind(file);
    assert_true(fread(*printed_out, 1, bytes_max - 1, file) < bytes_max - 1);
    fclose(file);
    return status;
}

static void test_json(void **state)
{
    (void)state;
    const sl_settings settings = {.model = path, .chunk = 20, .threads = 1, .json = true};
    char *printed;
    assert_int_equal(run(&settings, &printed), SL_OK);
    json_t *value = json_loads(printed, 0, NULL);
    free(printed);
    assert_non_null(value);
    assert_int_equal(json_integer_value(json_object_get(value, "layers")), 2);
    assert_int_equal(json_integer_value(json_object_get(value, "chunk")), 20);

    json_t *rows = json_object_get(value, "rows");
    static const int counts[] = {1, 16, 20};
    assert_int_equal(json_array_size(rows), 3 * SL_CODEC_KINDS);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const char *name, *written_as;
        int n_rows;
        double ratio, encode, decode, max_error, rms_error;
        assert_int_equal(json_unpack(json_array_get(rows, i),
                                     "{s:s, s:s, s:i, s:F, s:F, s:F, s:F, s:F}", "codec", &name,
                                     "written_as", &written_as, "rows", &n_rows, "ratio", &ratio,
                                     "encode_gb_s", &encode, "decode_gb_s", &decode, "max_error",
                                     &max_error, "rms_error", &rms_error),
                         0);
        sl_codec_kind kind = (sl_codec_kind)(i % SL_CODEC_KINDS + 1);
        assert_string_equal(name, sl_codec_kind_name(kind));
        assert_int_equal(n_rows, counts[i / SL_CODEC_KINDS]);
        assert_true(encode > 0 && decode > 0);
        if (kind == SL_CODEC_F32) assert_true(ratio == 1);
        const json_t *bound = json_object_get(json_array_get(rows, i), "bound_ratio");
        double bound_max = kind >= SL_CODEC_INT8 ? 0 : kind >= SL_CODEC_BF16 ? 0.5 : 1;
        assert_int_equal(json_is_null(bound), bound_max == 0);
        if (bound_max > 0) /* between the rest alone and all 8 bits of exponents */
            assert_true(json_real_value(bound) > bound_max - 0.25 &&
                        json_real_value(bound) < bound_max - 0.1);
        if (kind == SL_CODEC_INT8) assert_true(ratio > 0.2655 && ratio < 0.2657);
        if (sl_codec_kind_lossless(kind))
            assert_true(max_error == 0 && rms_error == 0);
        else /* rows of real numbers: neither zeros nor NaN */
            assert_true(rms_error > 1e-4 && rms_error < 0.05 && rms_error <= max_error);
    }

    json_t *choices = json_object_get(value, "choices");
    assert_int_equal(json_array_size(choices), 6 * 3);
    const char *lossless, *any; /* at 0.1 Gbit/s bytes are all that counts */
    assert_int_equal(
        json_unpack(json_array_get(choices, 0), "{s:s, s:s}", "lossless", &lossless, "any", &any),
        0);
    assert_string_equal(lossless, "f32");
    assert_string_equal(any, "int8");
    json_decref(value);
}

static void test_one_row_is_measured_once(void **state)
{
    (void)state;
    const sl_settings settings = {.model = path, .chunk = 1, .threads = 1, .json = true};
    char *printed;
    assert_int_equal(run(&settings, &printed), SL_OK);
    json_t *value = json_loads(printed, 0, NULL);
    free(printed);
    assert_int_equal(json_array_size(json_object_get(value, "rows")), SL_CODEC_KINDS);
    json_decref(value);
}

static void test_what_cannot_be_measured(void **state)
{
    (void)state;
    sl_settings settings = {.model = path, .chunk = 4, .threads = 1, .text = "/dev/null"};
    char *printed, said[300];
    capture c;
    capture_begin(&c);
    sl_status empty = run(&settings, &printed);
    free(printed);
    settings.model = NULL;
    sl_status no_model = run(&settings, &printed);
    free(printed);
    capture_end(&c, said, sizeof said);
    assert_int_equal(empty, SL_ERR_OPTION);
    assert_int_equal(no_model, SL_ERR_OPTION);
    assert_non_null(strstr(said, "no tokens"));
    assert_non_null(strstr(said, "-m FILE"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_one_row_is_measured_once),
        cmocka_unit_test(test_what_cannot_be_measured),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
