/* launch/setup/model_setup.h - the front door of launch/setup: opens a model and what runs with it
 * (kernels, cache type, gate, adapters, policy, tokenizer, chat template), for every command, as
 * the settings say.
 *
 * A command names the parts it needs. It may call sl_model_setup_open again for further parts, so
 * that it can check options of its own between two of them. The setup owns what it opened until
 * sl_model_setup_close. It knows no ranks beside the number of its own, takes no memory for weights
 * or caches, and computes nothing: a local_stage or the pipeline does that. */
#ifndef SL_MODEL_SETUP_H
#define SL_MODEL_SETUP_H

#include "launch/options/settings.h"
#include "runtime/gate/gate_file.h"
#include "runtime/gate/policy.h"
#include "runtime/kernels/kernels.h"
#include "runtime/model/lora.h"
#include "runtime/model/weights.h"
#include "runtime/text/chat.h"

/* Bits, in the order in which one call opens them. A part opens those it needs. */
typedef enum {
    SL_SETUP_KERNELS = 1,
    SL_SETUP_FILE = 2,
    SL_SETUP_SHAPE = 4,       /* needs FILE */
    SL_SETUP_KV = 8,          /* needs KERNELS, SHAPE */
    SL_SETUP_GATE = 16,       /* nothing without --gate */
    SL_SETUP_GATE_FITS = 32,  /* that the gate is for such a model; needs GATE, SHAPE */
    SL_SETUP_LORA = 64,       /* nothing without --lora; needs SHAPE */
    SL_SETUP_POLICY = 128,    /* needs GATE_FITS, LORA */
    SL_SETUP_TOKENIZER = 256, /* needs FILE */
    SL_SETUP_CHAT = 512,      /* needs TOKENIZER */
} sl_setup_part;

typedef struct {
    /* The caller fills these in; the rest is zero until opened. */
    const char *model; /* the file */
    const sl_settings *settings;
    int rank; /* rank 0 notes which settings are ignored */

    unsigned opened; /* sl_setup_part */
    const sl_kernels *kernels;
    sl_gguf *gguf;
    sl_model_shape shape;
    sl_kv_type kv;
    sl_gate_file *gate_file; /* NULL: none */
    sl_lora lora;            /* n 0: none */
    sl_policy policy;
    sl_tokenizer *tokenizer;
    sl_chat *chat;               /* NULL: the file has no template */
    uint64_t chat_template_hash; /* of --chat-template's text; 0: none was given */
} sl_model_setup;

/* Open those of `parts` that are not open yet. After an error, logged, the setup is closed with
 * sl_model_setup_close, too. */
sl_status sl_model_setup_open(sl_model_setup *setup, unsigned parts);
void sl_model_setup_close(sl_model_setup *setup); /* all zero is fine */

/* The gate of the file given, or NULL; lent until close. */
const sl_gate *sl_model_setup_gate(const sl_model_setup *setup);
/* The same if the policy uses it, else NULL. */
const sl_gate *sl_model_setup_policy_gate(const sl_model_setup *setup);
/* Whether the gate, if there is one, was made for tensors of this hash. SL_ERR_FORMAT, logged. */
sl_status sl_model_setup_check_gate(const sl_model_setup *setup, uint64_t tensors_hash);

/* What each layer is expected to keep, [shape.n_layers] into keep_out: as --retention measured it,
 * or as the gate or policy says. Prompt-end policies ignore --retention: until a prompt ends all of
 * it is kept. Errors are those of sl_retention_read, logged. */
sl_status sl_model_setup_expect(const sl_model_setup *setup, double *keep_out);

#endif
