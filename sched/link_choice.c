/* sched/link_choice.c - see link_choice.h. */
#include "sched/link_choice.h"

#include "runtime/base/log.h"

double sl_link_seconds(const sl_link_codec *codec, double bytes_per_s)
{
    SL_ASSERT(bytes_per_s > 0);
    return codec->encode_s + codec->ratio / bytes_per_s + codec->decode_s;
}

uint32_t sl_link_choose(const sl_link_codec *codecs, uint32_t n, double bytes_per_s)
{
    SL_ASSERT(n >= 1);
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        if (sl_link_seconds(&codecs[i], bytes_per_s) < sl_link_seconds(&codecs[best], bytes_per_s))
            best = i;
    return best;
}
