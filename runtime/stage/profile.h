/* runtime/stage/profile.h - where a stage's time goes: between the barriers that end its steps, as
 * its first thread sees it, with the bytes and operations that cannot be avoided there. */
#ifndef SL_PROFILE_H
#define SL_PROFILE_H

#include <stdint.h>

typedef enum {
    SL_STEP_EMBED,   /* and angles */
    SL_STEP_NORM,    /* and quantizing what is normed */
    SL_STEP_LORA,    /* rows to the low ranks of adapters; the way back is in the maps' steps */
    SL_STEP_QKV,     /* projection to queries, keys, values */
    SL_STEP_GATE,    /* the gate's maps; its attention is under attend */
    SL_STEP_ATTEND,  /* rotation, cache, attention */
    SL_STEP_OUT,     /* projection back, and residual */
    SL_STEP_FFN_IN,  /* gate and up, SwiGLU */
    SL_STEP_FFN_OUT, /* down, and residual */
    SL_STEP_HEAD,    /* logits */
    SL_STEP_SAMPLE,
    SL_STEPS
} sl_step;
const char *sl_step_name(sl_step step);

typedef enum { SL_PHASE_PROMPT, SL_PHASE_DECODE, SL_PHASES } sl_phase; /* frames that only decode */

typedef struct {
    int64_t ns;
    double bytes; /* weights and pages of the cache read */
    double ops;   /* multiplications and additions of products */
} sl_step_account;

typedef struct {
    sl_step_account steps[SL_PHASES][SL_STEPS];
    sl_phase phase;
    int64_t lap_ns; /* when the last step ended */
} sl_profile;

void sl_profile_begin(sl_profile *profile, sl_phase phase);
/* A step has ended. */
void sl_profile_lap(sl_profile *profile, sl_step step, double bytes, double ops);

#endif
