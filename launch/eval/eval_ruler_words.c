/* launch/eval/eval_ruler_words.c - see eval_ruler_words.h. What must differ is drawn by a walk
 * that comes to everything once: from a place of the seed's, in steps of an odd size, round a
 * circle whose size is a power of two. */
#include "launch/eval/eval_ruler_words.h"

#include <stdio.h>
#include <xxhash.h>

#include "runtime/base/log.h"

static const char *const NOUNS[SL_RULER_NOUNS] = {
    "apple",    "arrow",    "badge",  "baker",    "banjo",   "barrel",  "basket",   "beach",
    "beacon",   "beetle",   "bell",   "bench",    "berry",   "bicycle", "blanket",  "boat",
    "bonnet",   "book",     "bottle", "bowl",     "branch",  "bread",   "brick",    "bridge",
    "broom",    "brush",    "bucket", "button",   "cabin",   "cactus",  "camel",    "candle",
    "canoe",    "canyon",   "carpet", "carrot",   "castle",  "cedar",   "cellar",   "chair",
    "chalk",    "cherry",   "chest",  "chimney",  "circle",  "cliff",   "cloak",    "clock",
    "cloud",    "clover",   "coat",   "cobra",    "coffee",  "coin",    "comet",    "compass",
    "copper",   "coral",    "cotton", "cradle",   "crane",   "crayon",  "cricket",  "crown",
    "curtain",  "cushion",  "daisy",  "desert",   "desk",    "diamond", "dolphin",  "donkey",
    "door",     "dragon",   "drawer", "drum",     "eagle",   "easel",   "echo",     "elbow",
    "elephant", "engine",   "falcon", "farmer",   "feather", "fence",   "fiddle",   "finger",
    "flag",     "flame",    "flute",  "fog",      "forest",  "fork",    "fountain", "fox",
    "garden",   "garlic",   "gate",   "ginger",   "giraffe", "glacier", "glove",    "goat",
    "grape",    "guitar",   "hammer", "harbor",   "harp",    "hawk",    "hazel",    "hedge",
    "helmet",   "heron",    "hill",   "honey",    "hook",    "horizon", "horse",    "hotel",
    "island",   "ivory",    "jacket", "jar",      "jewel",   "jungle",  "kettle",   "kitchen",
    "kite",     "kitten",   "ladder", "lake",     "lamp",    "lantern", "lemon",    "leopard",
    "letter",   "lily",     "lion",   "lizard",   "lobster", "locket",  "magnet",   "mango",
    "maple",    "marble",   "market", "meadow",   "melon",   "mirror",  "mitten",   "moon",
    "mountain", "mushroom", "napkin", "needle",   "nest",    "oak",     "oar",      "ocean",
    "olive",    "onion",    "orange", "orchard",  "otter",   "oven",    "owl",      "oyster",
    "paddle",   "palace",   "panda",  "paper",    "parrot",  "peach",   "peanut",   "pearl",
    "pebble",   "pencil",   "pepper", "piano",    "pillow",  "pine",    "pirate",   "planet",
    "plum",     "pocket",   "pond",   "poplar",   "potato",  "prairie", "pumpkin",  "puzzle",
    "quilt",    "rabbit",   "radio",  "raft",     "rainbow", "raven",   "ribbon",   "river",
    "road",     "robin",    "rocket", "rope",     "rose",    "saddle",  "sailor",   "salmon",
    "sand",     "scarf",    "seal",   "shell",    "shovel",  "silver",  "sister",   "snail",
    "spider",   "spoon",    "stable", "statue",   "stone",   "stove",   "sugar",    "summer",
    "swan",     "table",    "teapot", "temple",   "thunder", "tiger",   "tower",    "train",
    "trumpet",  "tulip",    "turtle", "umbrella", "valley",  "vase",    "velvet",   "village",
    "violin",   "wagon",    "walnut", "whale",    "wheel",   "willow",  "window",   "winter",
    "wolf",     "wool",     "yacht",  "zebra",    "acorn",   "anchor",  "thimble",  "lobby"};
static const char *const ADJECTIVES[SL_RULER_NAMES / SL_RULER_NOUNS] = {
    "amber",  "ancient", "angry",  "brave",   "bright",  "broken", "calm",    "careful",
    "clever", "cold",    "cosy",   "crooked", "curious", "dark",   "distant", "dusty",
    "eager",  "early",   "empty",  "fancy",   "fast",    "fierce", "foggy",   "gentle",
    "giant",  "golden",  "grand",  "green",   "happy",   "hidden", "hollow",  "honest",
    "humble", "icy",     "kind",   "large",   "lazy",    "little", "lonely",  "lost",
    "loud",   "lucky",   "merry",  "narrow",  "noble",   "old",    "patient", "plain",
    "polite", "proud",   "purple", "quick",   "quiet",   "rapid",  "red",     "rough",
    "round",  "rusty",   "shy",    "silent",  "simple",  "small",  "sweet",   "young"};

enum { DRAW_NOUN = 1000, DRAW_NAME, DRAW_NUMBER, DRAW_CODED, DRAW_VARIABLE, DRAW_SHUFFLE };

uint64_t sl_ruler_draw(uint64_t seed, uint64_t what)
{
    return XXH3_64bits_withSeed(&what, sizeof what, seed);
}

/* The index-th of `n`, a power of two, each once. */
static uint64_t walk(uint64_t seed, uint64_t what, uint64_t index, uint64_t n)
{
    uint64_t drawn = sl_ruler_draw(seed, what), step = (drawn >> 32) | 1;
    return (drawn + index * step) & (n - 1);
}

const char *sl_ruler_noun(uint64_t seed, uint32_t index)
{
    SL_ASSERT(index < SL_RULER_NOUNS);
    return NOUNS[walk(seed, DRAW_NOUN, index, SL_RULER_NOUNS)];
}

void sl_ruler_name(uint64_t seed, uint32_t index, char *out)
{
    SL_ASSERT(index < SL_RULER_NAMES);
    uint64_t at = walk(seed, DRAW_NAME, index, SL_RULER_NAMES);
    snprintf(out, SL_RULER_WORD_BYTES, "%s %s", ADJECTIVES[at / SL_RULER_NOUNS],
             NOUNS[at % SL_RULER_NOUNS]);
}

void sl_ruler_number(uint64_t seed, uint32_t index, char *out)
{
    uint64_t at = walk(seed, DRAW_NUMBER, index, 1 << 23);
    snprintf(out, SL_RULER_WORD_BYTES, "%llu", 1000000 + (unsigned long long)at);
}

/* Three syllables of 64 there are. */
void sl_ruler_coded(uint64_t seed, uint32_t index, char *out)
{
    static const char CONSONANTS[] = "bdfgklmnprstvzhj", VOWELS[] = "aiou";
    uint64_t at = walk(seed, DRAW_CODED, index, 1 << 18);
    for (int i = 0; i < 3; i++, at >>= 6) {
        *out++ = CONSONANTS[at & 15];
        *out++ = VOWELS[at >> 4 & 3];
    }
    *out = '\0';
}

void sl_ruler_variable(uint64_t seed, uint32_t index, char *out)
{
    uint64_t at = walk(seed, DRAW_VARIABLE, index, 1 << 20);
    for (int i = 0; i < 5; i++, at >>= 4) *out++ = "ABCDEFGHKLMNPRST"[at & 15];
    *out = '\0';
}

void sl_ruler_shuffle(uint64_t seed, uint16_t *items, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t other = sl_ruler_draw(seed, ((uint64_t)i << 32) | DRAW_SHUFFLE) % i;
        uint16_t item = items[other];
        items[other] = items[i - 1];
        items[i - 1] = item;
    }
}
