/* comm/codec/codec.c - the kinds of payload and their checked bytes.
 *
 * A payload is its values in a plain form: f32, the floats as they lie in memory; bf16, 2 bytes
 * each; int8, 1 byte each, then 2 for each block's scale. With zstd, each array of that form goes
 * apart (codec_planes.h): first the rests of all, as they are, then the tops, each through zstd.
 * No sizes stand between, as the number of values says how many bytes the rests are. */
#include "comm/codec/codec.h"

#include <stdbool.h>
#include <string.h>

#include "comm/codec/codec_planes.h"
#include "comm/codec/codec_round.h"
#include "comm/codec/codec_zstd.h"
#include "runtime/base/log.h"

/* Plain forms smaller than this stay so: with its tables zstd takes 5 to 10 us to and fro, and a
 * link of 1 Gbit/s no more for what that would save. */
enum { SMALL_BYTES = 8 * 1024 };

struct sl_codec {
    sl_codec_kind kind;
    size_t values_max, storage_bytes;
    sl_zstd zstd;
    uint8_t *plain; /* a payload's plain form, one that is not f32 */
    uint8_t *tops;  /* of all its arrays */
};

typedef struct {
    const char *name;
    sl_codec_kind plain; /* the kind without zstd */
} kind_row;

static const kind_row kinds[] = {
    [SL_CODEC_F32] = {"f32", SL_CODEC_F32},    [SL_CODEC_F32_ZSTD] = {"f32-zstd", SL_CODEC_F32},
    [SL_CODEC_BF16] = {"bf16", SL_CODEC_BF16}, [SL_CODEC_BF16_ZSTD] = {"bf16-zstd", SL_CODEC_BF16},
    [SL_CODEC_INT8] = {"int8", SL_CODEC_INT8}, [SL_CODEC_INT8_ZSTD] = {"int8-zstd", SL_CODEC_INT8},
};
_Static_assert(sizeof kinds / sizeof kinds[0] == SL_CODEC_KINDS + 1, "a row for each kind");

static bool is_kind(sl_codec_kind kind) { return (unsigned)kind - 1 < SL_CODEC_KINDS; }

sl_status sl_codec_kind_named(const char *name, sl_codec_kind *kind_out)
{
    for (int i = 1; i <= SL_CODEC_KINDS; i++) {
        if (strcmp(kinds[i].name, name) != 0) continue;
        *kind_out = (sl_codec_kind)i;
        return SL_OK;
    }
    sl_error("unknown codec '%s': there are " SL_CODEC_NAMES, name);
    return SL_ERR_OPTION;
}

const char *sl_codec_kind_name(sl_codec_kind kind)
{
    return is_kind(kind) ? kinds[kind].name : "unknown";
}

int sl_codec_kind_lossless(sl_codec_kind kind)
{
    return is_kind(kind) && kinds[kind].plain == SL_CODEC_F32;
}

/* ---- plain forms ---- */

typedef struct {
    size_t n, item_bytes;
} array;
enum { ARRAYS_MAX = 2 };

/* The arrays a plain form of n values is made of, one after the other; returns how many. */
static int arrays_of(sl_codec_kind plain, size_t n, array arrays[ARRAYS_MAX])
{
    if (plain == SL_CODEC_INT8) {
        arrays[0] = (array){n, 1};
        arrays[1] = (array){sl_int8_blocks(n), 2};
        return 2;
    }
    arrays[0] = (array){n, plain == SL_CODEC_BF16 ? 2 : sizeof(float)};
    return 1;
}

static size_t plain_bytes_of(sl_codec_kind plain, size_t n)
{
    array arrays[ARRAYS_MAX];
    int n_arrays = arrays_of(plain, n, arrays);
    size_t n_bytes = 0;
    for (int i = 0; i < n_arrays; i++) n_bytes += arrays[i].n * arrays[i].item_bytes;
    return n_bytes;
}

/* The tops of those arrays: one of each number. */
static size_t tops_of(sl_codec_kind plain, size_t n)
{
    return plain == SL_CODEC_INT8 ? n + sl_int8_blocks(n) : n;
}

/* The values' plain form: they themselves, or in codec->plain. */
static const uint8_t *to_plain(sl_codec *codec, const float *values, size_t n)
{
    switch (kinds[codec->kind].plain) {
    case SL_CODEC_BF16: sl_bf16_round(values, n, codec->plain); break;
    case SL_CODEC_INT8: sl_int8_round(values, n, codec->plain, codec->plain + n); break;
    default: return (const uint8_t *)values;
    }
    return codec->plain;
}

static void from_plain(sl_codec_kind plain, const uint8_t *bytes, size_t n, float *out)
{
    switch (plain) {
    case SL_CODEC_BF16: sl_bf16_widen(bytes, n, out); break;
    case SL_CODEC_INT8: sl_int8_widen(bytes, bytes + n, n, out); break;
    default:
        if (n > 0) memcpy(out, bytes, n * sizeof(float));
    }
}

/* ---- memory ---- */

size_t sl_codec_bytes_max(size_t values_max) { return values_max * sizeof(float); }

/* Takes codec and buffers from the arena; NULL when it has no storage and only measures. */
static sl_codec *bind_codec(size_t values_max, sl_arena *arena)
{
    sl_codec measured;
    sl_codec *codec = sl_arena_take(arena, sizeof *codec);
    sl_codec *bound = codec ? codec : &measured;
    size_t bf16_bytes = plain_bytes_of(SL_CODEC_BF16, values_max);
    size_t int8_bytes = plain_bytes_of(SL_CODEC_INT8, values_max);
    bound->plain = sl_arena_take(arena, bf16_bytes > int8_bytes ? bf16_bytes : int8_bytes);
    bound->tops = sl_arena_take(arena, tops_of(SL_CODEC_INT8, values_max));
    sl_zstd_bind(&bound->zstd, arena);
    return codec;
}

size_t sl_codec_open_bytes(size_t values_max)
{
    sl_arena arena;
    sl_arena_init(&arena, NULL, 0);
    bind_codec(values_max, &arena);
    return arena.used_bytes;
}

sl_status sl_codec_open(sl_codec_kind kind, size_t values_max, sl_codec **codec_out)
{
    SL_ASSERT(is_kind(kind));
    size_t bytes = sl_codec_open_bytes(values_max);
    void *storage;
    sl_status status = sl_storage_take(bytes, "a codec", &storage);
    if (status != SL_OK) return status;

    sl_arena arena;
    sl_arena_init(&arena, storage, bytes);
    sl_codec *codec = bind_codec(values_max, &arena);
    codec->kind = kind;
    codec->values_max = values_max;
    codec->storage_bytes = bytes;
    *codec_out = codec;
    return SL_OK;
}

void sl_codec_close(sl_codec *codec)
{
    if (codec) sl_storage_release(codec, codec->storage_bytes); /* it is the first in it */
}

/* ---- encoding ---- */

/* Bytes written to `out`, or 0: they would not save a 32nd of the tops. */
static size_t pack(sl_codec *codec, const uint8_t *plain, size_t n, uint8_t *out)
{
    sl_codec_kind plain_kind = kinds[codec->kind].plain;
    array arrays[ARRAYS_MAX];
    int n_arrays = arrays_of(plain_kind, n, arrays);
    uint8_t *end = out, *top = codec->tops;
    for (int i = 0; i < n_arrays; i++) {
        const array *a = &arrays[i];
        sl_planes_split(plain, a->n, a->item_bytes, end, top);
        plain += a->n * a->item_bytes;
        end += a->n * (a->item_bytes - 1);
        top += a->n;
    }
    size_t n_tops = tops_of(plain_kind, n), room = n_tops - n_tops / 32;
    top = codec->tops;
    for (int i = 0; i < n_arrays; i++) {
        size_t n_bytes = sl_zstd_encode(&codec->zstd, top, arrays[i].n, end, room);
        if (n_bytes == 0) return 0;
        top += arrays[i].n;
        end += n_bytes;
        room -= n_bytes;
    }
    return (size_t)(end - out);
}

sl_status sl_codec_encode(sl_codec *codec, const float *values, size_t n, uint8_t *out,
                          size_t out_bytes_max, sl_codec_kind *kind_out, size_t *n_bytes_out)
{
    SL_ASSERT(n <= codec->values_max);
    SL_ASSERT(out_bytes_max >= sl_codec_bytes_max(n));
    sl_codec_kind plain_kind = kinds[codec->kind].plain;
    const uint8_t *plain = to_plain(codec, values, n);
    size_t plain_bytes = plain_bytes_of(plain_kind, n);
    if (codec->kind != plain_kind && plain_bytes >= SMALL_BYTES) {
        *n_bytes_out = pack(codec, plain, n, out);
        *kind_out = codec->kind;
        if (*n_bytes_out > 0) return SL_OK;
    }
    if (n > 0) memcpy(out, plain, plain_bytes);
    *n_bytes_out = plain_bytes;
    *kind_out = plain_kind;
    return SL_OK;
}

/* ---- decoding ---- */

/* To the plain form of n values. False: the bytes are not one. */
static bool unpack(sl_codec *codec, sl_codec_kind plain_kind, const uint8_t *bytes, size_t n_bytes,
                   size_t n, uint8_t *plain)
{
    size_t n_tops = tops_of(plain_kind, n), rest_bytes = plain_bytes_of(plain_kind, n) - n_tops;
    if (n_bytes <= rest_bytes) return false;
    if (!sl_zstd_decode(&codec->zstd, bytes + rest_bytes, n_bytes - rest_bytes, codec->tops,
                        n_tops))
        return false;
    array arrays[ARRAYS_MAX];
    int n_arrays = arrays_of(plain_kind, n, arrays);
    const uint8_t *top = codec->tops;
    for (int i = 0; i < n_arrays; i++) {
        const array *a = &arrays[i];
        sl_planes_merge(bytes, top, a->n, a->item_bytes, plain);
        bytes += a->n * (a->item_bytes - 1);
        top += a->n;
        plain += a->n * a->item_bytes;
    }
    return true;
}

static bool decode(sl_codec *codec, sl_codec_kind kind, const uint8_t *bytes, size_t n_bytes,
                   float *out, size_t n)
{
    if (!is_kind(kind) || n > codec->values_max) return false;
    sl_codec_kind plain_kind = kinds[kind].plain;
    if (kind == plain_kind) {
        if (n_bytes != plain_bytes_of(kind, n)) return false;
        from_plain(kind, bytes, n, out);
        return true;
    }
    if (plain_kind == SL_CODEC_F32) /* the floats themselves */
        return unpack(codec, plain_kind, bytes, n_bytes, n, (uint8_t *)out);
    if (!unpack(codec, plain_kind, bytes, n_bytes, n, codec->plain)) return false;
    from_plain(plain_kind, codec->plain, n, out);
    return true;
}

sl_status sl_codec_decode(sl_codec *codec, sl_codec_kind kind, const uint8_t *bytes, size_t n_bytes,
                          float *out, size_t n)
{
    if (decode(codec, kind, bytes, n_bytes, out, n)) return SL_OK;
    sl_error("payload: %zu bytes of codec %d are not %zu floats", n_bytes, (int)kind, n);
    return SL_ERR_FORMAT;
}
