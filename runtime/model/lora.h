/* runtime/model/lora.h - the LoRA adapters that run with a model, none to some of them, and what a
 * stage has of them in memory: for each linear map of its layers one low rank, in f32, which is all
 * adapters' side by side: A = [A1; A2; ...] and B = [s1 B1, s2 B2, ...], s their factors
 * (lora_file.h). So several cost what one of their ranks together costs, and add up in the order in
 * which they were given. Weights stay as they are: what is quantized is never merged with them. */
#ifndef SL_LORA_H
#define SL_LORA_H

#include "runtime/base/arena.h"
#include "runtime/model/lora_file.h"

enum { SL_LORA_FILES_MAX = 16 };

typedef struct {
    sl_lora_file *file;
    float scale;
} sl_lora_item;

/* Start from {0}, end with sl_lora_close. */
typedef struct {
    sl_lora_item items[SL_LORA_FILES_MAX]; /* [n] in the order given */
    uint32_t n;
} sl_lora;

/* Of layers [layer_begin, layer_end). */
typedef struct {
    sl_low_rank maps[SL_LAYER_MAPS]; /* a.data NULL: none */
} sl_lora_layer;
typedef struct {
    uint32_t layer_begin, layer_end;
    sl_lora_layer *layers; /* [layer_end - layer_begin] */
    size_t reduced_max;    /* numbers that a row is reduced to by maps of one input, at most */
} sl_lora_weights;

/* Open another adapter for the model, behind those that are there (lora_file.h says how).
 * SL_ERR_OPTION, logged: more than SL_LORA_FILES_MAX, or `scale` makes a factor that is not finite.
 * Else as sl_lora_file_open. */
sl_status sl_lora_add(sl_lora *lora, const char *path, float scale, const sl_gguf *model,
                      const sl_model_shape *shape);
/* The same of a file that was read; the adapters own it, also after an error. */
sl_status sl_lora_add_file(sl_lora *lora, sl_lora_file *file, float scale);
void sl_lora_close(sl_lora *lora);

/* Of all files and scales, in their order: what a result depends on. 0: there is none. */
uint64_t sl_lora_hash(const sl_lora *lora);
/* Bytes of a layer's low ranks in memory. */
uint64_t sl_lora_layer_bytes(const sl_lora *lora, const sl_model_shape *shape, uint32_t layer);

/* Give the low ranks of layers [layer_begin, layer_end) their places in the arena. A counting arena
 * binds nothing, and `layers` is NULL. */
void sl_lora_bind(const sl_lora *lora, const sl_model_shape *shape, uint32_t layer_begin,
                  uint32_t layer_end, sl_arena *arena, sl_lora_weights *weights_out);
/* Read them there, once, after binding; tensors of other layers are not read. SL_ERR_FILE,
 * SL_ERR_MEMORY: logged. */
sl_status sl_lora_load(const sl_lora *lora, sl_lora_weights *weights);

#endif
