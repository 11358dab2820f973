/* runtime/gate/gate_keys.h - names in a gate file, for its reader and its writer. Inside the room
 * only; GATE_FILE.md tells what they mean. */
#ifndef SL_GATE_KEYS_H
#define SL_GATE_KEYS_H

#include "runtime/gate/gate.h"

#define SL_GATE_ARCHITECTURE      "sluice.gate"
#define SL_GATE_KEY_VERSION       "sluice.gate.version"
#define SL_GATE_KEY_MODEL_HASH    "sluice.gate.model_hash"
#define SL_GATE_KEY_MODEL_NAME    "sluice.gate.model_name"
#define SL_GATE_KEY_ADAPTER_HASH  "sluice.gate.adapter_hash"
#define SL_GATE_KEY_LAYERS        "sluice.gate.block_count"
#define SL_GATE_KEY_WIDTH         "sluice.gate.embedding_length"
#define SL_GATE_KEY_KV_HEADS      "sluice.gate.head_count_kv"
#define SL_GATE_KEY_SINKS         "sluice.gate.sinks"
#define SL_GATE_KEY_WINDOW        "sluice.gate.window"
#define SL_GATE_KEY_THRESHOLD     "sluice.gate.threshold"
#define SL_GATE_KEY_KEEP          "sluice.gate.keep"
#define SL_GATE_KEY_SPAN          "sluice.gate.span"
#define SL_GATE_KEY_BACK          "sluice.gate.span.back"
#define SL_GATE_KEY_AHEAD         "sluice.gate.span.ahead"
#define SL_GATE_KEY_HEADS         "sluice.gate.heads"
#define SL_GATE_KEY_HEAD_WIDTH    "sluice.gate.width"
#define SL_GATE_KEY_KV            "sluice.gate.kv"
#define SL_GATE_KEY_HIDDEN        "sluice.gate.hidden"
#define SL_GATE_KEY_ROW_KEEP      "sluice.gate.calibration.keep"
#define SL_GATE_KEY_ROW_WINDOW    "sluice.gate.calibration.window"
#define SL_GATE_KEY_ROW_THRESHOLD "sluice.gate.calibration.threshold"
#define SL_GATE_KEY_ROW_RETENTION "sluice.gate.calibration.retention"
#define SL_GATE_KEY_ROW_STEER     "sluice.gate.calibration.steer"
enum { SL_GATE_KEYS = 23 };
extern const char *const SL_GATE_KEY_LIST[SL_GATE_KEYS];

typedef enum { SL_GATE_WIDE, SL_GATE_SMALL, SL_GATE_VECTOR } sl_gate_tensor_types;

/* One tensor of a layer: blk.N.name. */
typedef struct {
    const char *name;
    sl_gate_tensor_types types;
    size_t offset; /* of its place in sl_gate_layer */
} sl_gate_tensor;
enum { SL_GATE_TENSORS = 8 };
extern const sl_gate_tensor SL_GATE_TENSOR_TABLE[SL_GATE_TENSORS];

/* Its rows and columns in a layer of this shape (a vector: its length as n_out); false: the shape
 * has none. */
bool sl_gate_tensor_size(const sl_gate *gate, const sl_gate_shape *shape,
                         const sl_gate_tensor *tensor, uint32_t *n_in_out, uint32_t *n_out_out);

#endif
