/* sched/link_choice.h - in which codec a link's frames end soonest. Pure arithmetic on sizes
 * and seconds that others measured. */
#ifndef SL_LINK_CHOICE_H
#define SL_LINK_CHOICE_H

#include <stdint.h>

/* A codec on frames of some size, per byte before encoding. */
typedef struct {
    double ratio; /* bytes after encoding */
    double encode_s, decode_s;
} sl_link_codec;

/* Seconds per byte before encoding, from one rank's memory to the next one's: encode + wire +
 * decode. The sum, not the largest: a frame is sent when it is encoded, decoded when it is there,
 * and the thread that encodes is the one that moves bytes, so codec and wire take turns. Latency
 * is left out, being the same for all. bytes_per_s of the wire: positive. */
double sl_link_seconds(const sl_link_codec *codec, double bytes_per_s);

/* The index of the codec with the least sl_link_seconds; of equals the first. n at least 1. */
uint32_t sl_link_choose(const sl_link_codec *codecs, uint32_t n, double bytes_per_s);

#endif
