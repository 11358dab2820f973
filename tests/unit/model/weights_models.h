/* tests/unit/model/weights_models.h - synthetic models whose bytes a test changes, to be
 * opened or refused. For the files of test_weights only. */
#ifndef SL_TEST_WEIGHTS_MODELS_H
#define SL_TEST_WEIGHTS_MODELS_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/model/weights.h"
#include "tests/support/gguf_patch.h"
#include "tests/support/synth_gguf.h"

/* The shape of synth_shape_default(). */
enum { LAYERS = 4, WIDTH = 96, HEADS = 6, KV_HEADS = 2, HEAD_DIM = 16, FFN = 160, VOCAB = 512 };

/* The bytes of a model's file, and the file that is opened in them. */
typedef struct {
    uint8_t *bytes;
    size_t n_bytes;
    sl_gguf *gguf; /* NULL until model_open() */
} model;

model model_make_of(const synth_shape *shape);
/* Puts one more key or tensor into a file; `what` is its name, or a text. */
typedef void (*add_more)(sl_gguf_writer *w, const char *what);
/* `add` may be NULL. */
model model_make_with(const synth_shape *shape, add_more add, const char *what);
/* The same of the default shape. */
model model_make(synth_tie tie, add_more add, const char *what);
/* With every optional tensor, and an own head. */
model model_make_full(void);
void model_close(model *m);

/* The model must open, and stays open. */
sl_model_shape model_open(model *m);
/* The model must be refused with this status, by one line of the log that says `named`; it is
 * closed. */
void check_refused(model *m, sl_status expected, const char *named);

/* An add_more: a vector of zeros, WIDTH of them. */
void add_vector(sl_gguf_writer *w, const char *name);

/* The groups of tests, each in the file of its name; they return how many failed. */
int weights_tensors_tests(void);
int weights_keys_tests(void);
int weights_architectures_tests(void);

#endif
