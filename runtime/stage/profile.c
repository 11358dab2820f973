/* runtime/stage/profile.c - see profile.h. */
#include "runtime/stage/profile.h"

#include "runtime/base/clock.h"

const char *sl_step_name(sl_step step)
{
    static const char *const names[SL_STEPS] = {"embed",   "norm",   "lora",  "qkv",
                                                "gate",    "attend", "out",   "ffn in",
                                                "ffn out", "head",   "sample"};
    return names[step];
}

void sl_profile_begin(sl_profile *profile, sl_phase phase)
{
    profile->phase = phase;
    profile->lap_ns = sl_clock_now_ns();
}

void sl_profile_lap(sl_profile *profile, sl_step step, double bytes, double ops)
{
    int64_t now = sl_clock_now_ns();
    sl_step_account *account = &profile->steps[profile->phase][step];
    account->ns += now - profile->lap_ns;
    account->bytes += bytes;
    account->ops += ops;
    profile->lap_ns = now;
}
