/* runtime/train/cpt.h - gates tuned through the frozen model (Zeng et al., arXiv:2410.12876), one
 * text at a time. The model reads the text once with everything kept, which tells what gates score
 * and what the model would say; then once more for each rate with what gates keep, and the loss
 * behind it tells every flag, straight through, whether the other answer had been better. Knows no
 * texts, ranks or files. */
#ifndef SL_CPT_H
#define SL_CPT_H

#include "runtime/train/gate_numbers.h"
#include "runtime/train/layer_pass.h"

typedef struct {
    const sl_gate *gate; /* shapes, and the weights to start from; outlives the tuning */
    /* The whole model; sinks and window are the gate's. */
    sl_layer_pass_options model;
    float lm, kl; /* weights of -log p of the next token, and of KL from the model that keeps all */
    /* The rate is held by one threshold over all layers and heads of the text, at the asked rate
     * among the scores of the model that keeps all. With eviction_loss > 0 it is not: a token is
     * kept when its logit is positive, and the loss has, as the paper's,
     *     eviction_loss * |share kept - keep|. */
    float eviction_loss;
    /* 0 or 1e-3 and more. 0: flags are hard, gradients go straight through as if each were a
     * sigmoid. Else the logarithm of sigmoid((logit - threshold) / softness) is added to scores. */
    float softness;
    float clip; /* of the norm of a step's gradients, each relative to its tensor's size */
    /* A LoRA adapter that is tuned with the gates; rank 0: none. The model that keeps all has it,
     * too. */
    sl_lora_shape lora;
    uint64_t lora_seed; /* of the numbers it starts from */
} sl_cpt_options;

typedef struct sl_cpt sl_cpt;

/* Memory from the arena; a counting arena measures. */
void sl_cpt_init(const sl_cpt_options *options, sl_arena *arena, sl_cpt **cpt_out);

/* What the gated model made of a text. */
typedef struct {
    double n;                  /* scored tokens: behind sinks and window, or behind the prompt */
    double lm, kl;             /* -log p and KL, summed over them */
    double n_eligible, n_kept; /* by all gates */
} sl_cpt_told;

typedef struct {
    const int32_t *ids;
    uint32_t n; /* more than sinks and window and one */
    /* Gates of span `window` look ahead by so many tokens at most, and as in serving by less than
     * the window. */
    uint32_t ahead;
    /* The text's first tokens are a prompt, and only what follows is scored, at least one. Gates of
     * span `prompt` see all of it, decide about its tokens and keep what follows. 0: there is none,
     * and no gate has that span. */
    uint32_t n_prompt;
} sl_cpt_text;

/* Read a text. At least one layer has a gate. */
void sl_cpt_read(sl_cpt *cpt, const sl_cpt_text *text);
/* The text just read once more, `keep` of its eligible tokens kept; the gradient of the mean loss
 * of a token, times `weight`, is added to what is there. */
void sl_cpt_gradient(sl_cpt *cpt, double keep, float weight, sl_cpt_told *told_out);
/* The same without learning. */
void sl_cpt_measure(sl_cpt *cpt, double keep, sl_cpt_told *told_out);
/* -log p of the same tokens, summed, by the model that keeps all. */
double sl_cpt_full_lm(sl_cpt *cpt);

/* Gradients [n], to be added up over ranks before the step, and all that lasts. */
sl_gate_numbers *sl_cpt_numbers(sl_cpt *cpt);
/* The adapter, whose gradients are added up likewise; NULL: none. */
sl_lora_pass *sl_cpt_lora(sl_cpt *cpt);
/* One step of all gates, each tensor's rate relative to its size as it was at the start; afterwards
 * gradients are 0. `mean`: how much of the mean of weights over steps stays as it was.
 * SL_ERR_FORMAT, not logged: gradients are not finite, and no step was taken. */
sl_status sl_cpt_step(sl_cpt *cpt, double rate, double mean);

/* Gates become the mean of their weights over steps: when all steps are done. */
void sl_cpt_take_mean(sl_cpt *cpt);

#endif
