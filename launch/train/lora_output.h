/* launch/train/lora_output.h - the LoRA adapter that training made, to a file beside the gates. */
#ifndef SL_LORA_OUTPUT_H
#define SL_LORA_OUTPUT_H

#include "runtime/gguf/gguf.h"
#include "runtime/model/shape.h"
#include "runtime/train/lora_pass.h"

/* The adapter's file: gate.gguf becomes gate.lora.gguf. SL_ERR_OPTION, logged: too long. */
sl_status sl_lora_output_name(const char *gate_output, char *out, size_t out_bytes);
/* Write it for the model's architecture, in f32; *hash_out is what its file is known by
 * (lora_file.h). The file appears whole or not at all. SL_ERR_FILE, SL_ERR_MEMORY, logged. */
sl_status sl_lora_output_write(const char *path, const sl_gguf *model, const sl_model_shape *shape,
                               const sl_lora_pass *lora, uint64_t *hash_out);

#endif
