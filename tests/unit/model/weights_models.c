/* tests/unit/model/weights_models.c - see weights_models.h. */
#include "tests/unit/model/weights_models.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/log.h"
#include "tests/support/capture.h"

model model_make_with(const synth_shape *shape, add_more add, const char *what)
{
    sl_gguf_writer w = {0};
    synth_gguf_put(shape, &w);
    if (add) add(&w, what);
    model m = {0};
    m.bytes = sl_gguf_writer_encode(&w, &m.n_bytes);
    sl_gguf_writer_fini(&w);
    return m;
}

model model_make_of(const synth_shape *shape) { return model_make_with(shape, NULL, NULL); }

model model_make(synth_tie tie, add_more add, const char *what)
{
    synth_shape shape = synth_shape_default();
    shape.tie = tie;
    return model_make_with(&shape, add, what);
}

model model_make_full(void)
{
    synth_shape shape = synth_shape_default();
    shape.tie = SYNTH_UNTIED;
    shape.bias = SYNTH_BIASED;
    shape.rope.freqs = true;
    return model_make_of(&shape);
}

void model_close(model *m)
{
    sl_gguf_close(m->gguf);
    free(m->bytes);
}

sl_model_shape model_open(model *m)
{
    sl_model_shape shape = {0};
    assert_int_equal(sl_gguf_open_memory(m->bytes, m->n_bytes, "synth", &m->gguf), SL_OK);
    assert_int_equal(sl_model_shape_read(m->gguf, &shape), SL_OK);
    return shape;
}

void check_refused(model *m, sl_status expected, const char *named)
{
    char said[2048];
    capture talk;
    sl_model_shape shape = {.vocab = 12345};
    assert_int_equal(sl_gguf_open_memory(m->bytes, m->n_bytes, "synth", &m->gguf), SL_OK);
    int errors = sl_log_errors();
    capture_begin(&talk);
    sl_status status = sl_model_shape_read(m->gguf, &shape);
    capture_end(&talk, said, sizeof said);
    if (status != expected || !strstr(said, named) || sl_log_errors() != errors + 1)
        fail_msg("status %d for %s, saying: %s", status, named, said);
    assert_int_equal(shape.vocab, 12345); /* untouched */
    model_close(m);
}

void add_vector(sl_gguf_writer *w, const char *name)
{
    static const float zeros[WIDTH];
    sl_gguf_put_tensor(w, name, SL_TYPE_F32, (const uint64_t[]){WIDTH}, 1, zeros, sizeof zeros);
}
