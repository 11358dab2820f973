/* tests/unit/gguf/gguf_trial.c - see gguf_trial.h. */
#include "tests/unit/gguf/gguf_trial.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "runtime/base/log.h"
#include "tests/support/count_malloc.h"

const float numbers[64] = {1, -2, 0.5F, 3};
const uint8_t blocks[40] = {1, 2, 3};

uint8_t *trial_small_file(size_t *n_bytes_out)
{
    sl_gguf_writer w = {0};
    sl_gguf_put_u32(&w, "a.u32", 4000000000u);
    sl_gguf_put_i32(&w, "a.i32", -5);
    sl_gguf_put_u64(&w, "a.u64", 77);
    sl_gguf_put_f32(&w, "a.f32", 0.25F);
    sl_gguf_put_bool(&w, "a.bool", true);
    sl_gguf_put_string(&w, "a.text", "with \n a line");
    sl_gguf_put_string(&w, "a.empty", "");
    sl_gguf_put_strings(&w, "a.texts", (const char *const[]){"one", "", "three"}, 3);
    sl_gguf_put_i32s(&w, "a.i32s", (const int32_t[]){1, -2, 3}, 3);
    sl_gguf_put_f32s(&w, "a.f32s", (const float[]){1.5F, -2}, 2);
    sl_gguf_put_tensor(&w, "t.matrix", SL_TYPE_F32, (const uint64_t[]){4, 3}, 2, numbers, 48);
    sl_gguf_put_tensor(&w, "t.vector", SL_TYPE_F16, (const uint64_t[]){5}, 1, numbers, 10);
    sl_gguf_put_tensor(&w, "t.blocks", SL_TYPE_Q4_1, (const uint64_t[]){32, 1, 2, 1}, 4, blocks,
                       40);
    uint8_t *bytes = sl_gguf_writer_encode(&w, n_bytes_out);
    sl_gguf_writer_fini(&w);
    return bytes;
}

sl_status trial_open(const uint8_t *bytes, size_t n_bytes, sl_gguf **out)
{
    return sl_gguf_open_memory(bytes, n_bytes, "a file", out);
}

sl_status trial_run_within(const uint8_t *bytes, size_t n_bytes, size_t asked_max)
{
    sl_gguf *gguf = NULL;
    int errors = sl_log_errors();
#if COUNTS_MALLOC
    size_t before = malloc_count.bytes;
#endif
    sl_status status = trial_open(bytes, n_bytes, &gguf);
#if COUNTS_MALLOC
    assert_in_range(malloc_count.bytes - before, 0, asked_max);
#else
    (void)asked_max;
#endif
    assert_int_equal(sl_log_errors() - errors, status != SL_OK);
    if (status != SL_OK) {
        assert_null(gguf);
        assert_true(status == SL_ERR_FORMAT || status == SL_ERR_UNSUPPORTED);
        return status;
    }
    volatile uint8_t sum = 0; /* what is claimed to be there is really read */
    for (size_t i = 0; i < sl_gguf_n_keys(gguf); i++) {
        char text[200];
        assert_true(sl_gguf_describe_key(gguf, i, text, sizeof text) >= 0);
    }
    for (size_t i = 0; i < sl_gguf_n_tensors(gguf); i++) {
        const sl_gguf_tensor *t = sl_gguf_tensor_at(gguf, i);
        for (size_t k = 0; k < t->data_bytes; k++) sum ^= ((const uint8_t *)t->data)[k];
        for (size_t k = 0; k < t->name.bytes; k++) sum ^= (uint8_t)t->name.data[k];
    }
    (void)sum;
    sl_gguf_close(gguf);
    return SL_OK;
}

sl_status trial_run(const uint8_t *bytes, size_t n_bytes)
{
    return trial_run_within(bytes, n_bytes, 16 * n_bytes + 4096);
}
