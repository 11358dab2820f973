/* comm/codec.c - the kinds of payload and their checked bytes.
 *
 * f32: the floats as they lie in memory. f32-zstd: four byte planes, least significant first,
 * each either RAW, then n bytes, or PACKED, then a 32-bit little-endian size and that many
 * bytes of zstd. Only planes that shrink are packed: for activations the top one, to 0.4. */
#include "comm/codec.h"

#include <stdbool.h>
#include <string.h>

#include "comm/codec_planes.h"
#include "comm/codec_zstd.h"
#include "runtime/base/log.h"

enum { PLANE_RAW = 0, PLANE_PACKED = 1 };
enum { PACKED_HEADER_BYTES = 5 };

/* Below this the link's fixed costs outweigh what zstd could save. */
enum { SMALL_BYTES = 16 * 1024 };

struct sl_codec {
    sl_codec_kind kind;
    size_t values_max, storage_bytes;
    sl_zstd zstd;
    uint8_t *planes; /* [SL_PLANES][values_max] */
};

static const struct {
    const char *name;
    sl_codec_kind kind;
    bool lossless;
} kinds[] = {{"f32", SL_CODEC_F32, true}, {"f32-zstd", SL_CODEC_F32_ZSTD, true}};
enum { N_KINDS = sizeof kinds / sizeof kinds[0] };

sl_status sl_codec_kind_named(const char *name, sl_codec_kind *kind_out)
{
    for (int i = 0; i < N_KINDS; i++) {
        if (strcmp(kinds[i].name, name) != 0) continue;
        *kind_out = kinds[i].kind;
        return SL_OK;
    }
    sl_error("unknown codec '%s': there are f32 and f32-zstd", name);
    return SL_ERR_OPTION;
}

const char *sl_codec_kind_name(sl_codec_kind kind)
{
    for (int i = 0; i < N_KINDS; i++)
        if (kinds[i].kind == kind) return kinds[i].name;
    return "unknown";
}

int sl_codec_kind_lossless(sl_codec_kind kind)
{
    for (int i = 0; i < N_KINDS; i++)
        if (kinds[i].kind == kind) return kinds[i].lossless;
    return false;
}

size_t sl_codec_bytes_max(size_t values_max) { return values_max * sizeof(float) + SL_PLANES; }

/* Takes codec and buffers from the arena; NULL when it has no storage and only measures. */
static sl_codec *bind_codec(size_t values_max, sl_arena *arena)
{
    sl_codec measured;
    sl_codec *codec = sl_arena_take(arena, sizeof *codec);
    sl_codec *bound = codec ? codec : &measured;
    bound->planes = sl_arena_array(arena, uint8_t, SL_PLANES * values_max);
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
    SL_ASSERT(kind == SL_CODEC_F32 || kind == SL_CODEC_F32_ZSTD);
    SL_ASSERT(values_max <= UINT32_MAX); /* sizes of packed planes are 32 bits */
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

static void put_u32(uint8_t *out, size_t value)
{
    for (int i = 0; i < 4; i++) out[i] = (uint8_t)(value >> (8 * i));
}

static size_t get_u32(const uint8_t *bytes)
{
    return bytes[0] | (size_t)bytes[1] << 8 | (size_t)bytes[2] << 16 | (size_t)bytes[3] << 24;
}

/* Returns the bytes written: at most 1 + n. A plane is packed if that saves a 32nd of it. */
static size_t encode_plane(sl_codec *codec, const uint8_t *plane, size_t n, uint8_t *out)
{
    size_t worth_bytes = n - n / 32 - PACKED_HEADER_BYTES;
    size_t packed_bytes = sl_zstd_encode(&codec->zstd, plane, n, out + PACKED_HEADER_BYTES,
                                         worth_bytes);
    if (packed_bytes > 0) {
        out[0] = PLANE_PACKED;
        put_u32(out + 1, packed_bytes);
        return PACKED_HEADER_BYTES + packed_bytes;
    }
    out[0] = PLANE_RAW;
    memcpy(out + 1, plane, n);
    return 1 + n;
}

static size_t encode_planes(sl_codec *codec, const float *values, size_t n, uint8_t *out)
{
    size_t n_bytes = 0;
    sl_planes_split(values, n, codec->planes);
    for (size_t k = 0; k < SL_PLANES; k++)
        n_bytes += encode_plane(codec, codec->planes + k * n, n, out + n_bytes);
    return n_bytes;
}

sl_status sl_codec_encode(sl_codec *codec, const float *values, size_t n, uint8_t *out,
                          size_t out_bytes_max, sl_codec_kind *kind_out, size_t *n_bytes_out)
{
    SL_ASSERT(n <= codec->values_max);
    SL_ASSERT(out_bytes_max >= sl_codec_bytes_max(n));
    size_t plain_bytes = n * sizeof(float);
    if (codec->kind == SL_CODEC_F32_ZSTD && plain_bytes >= SMALL_BYTES) {
        *n_bytes_out = encode_planes(codec, values, n, out);
        *kind_out = SL_CODEC_F32_ZSTD;
        if (*n_bytes_out < plain_bytes) return SL_OK;
    }
    if (n > 0) memcpy(out, values, plain_bytes);
    *n_bytes_out = plain_bytes;
    *kind_out = SL_CODEC_F32;
    return SL_OK;
}

/* Find plane k at bytes[*used], in place when raw. False: the bytes are not one. */
static bool decode_plane(sl_codec *codec, size_t k, const uint8_t *bytes, size_t n_bytes, size_t n,
                         size_t *used, const uint8_t **plane_out)
{
    if (*used == n_bytes) return false;
    uint8_t how = bytes[(*used)++];
    size_t left = n_bytes - *used;
    if (how == PLANE_RAW) {
        if (left < n) return false;
        *plane_out = bytes + *used;
        *used += n;
        return true;
    }
    if (how != PLANE_PACKED || left < 4) return false;
    size_t packed_bytes = get_u32(bytes + *used);
    if (left - 4 < packed_bytes) return false;
    uint8_t *plane = codec->planes + k * n;
    if (!sl_zstd_decode(&codec->zstd, bytes + *used + 4, packed_bytes, plane, n)) return false;
    *plane_out = plane;
    *used += 4 + packed_bytes;
    return true;
}

static bool decode_planes(sl_codec *codec, const uint8_t *bytes, size_t n_bytes, float *out,
                          size_t n)
{
    const uint8_t *planes[SL_PLANES];
    size_t used = 0;
    for (size_t k = 0; k < SL_PLANES; k++)
        if (!decode_plane(codec, k, bytes, n_bytes, n, &used, &planes[k])) return false;
    if (used != n_bytes) return false;
    sl_planes_merge(planes, n, out);
    return true;
}

sl_status sl_codec_decode(sl_codec *codec, sl_codec_kind kind, const uint8_t *bytes, size_t n_bytes,
                          float *out, size_t n)
{
    bool fits = n <= codec->values_max;
    if (fits && kind == SL_CODEC_F32 && n_bytes == n * sizeof(float)) {
        if (n > 0) memcpy(out, bytes, n_bytes);
        return SL_OK;
    }
    if (fits && kind == SL_CODEC_F32_ZSTD && decode_planes(codec, bytes, n_bytes, out, n))
        return SL_OK;
    sl_error("payload: %zu bytes of codec %d are not %zu floats", n_bytes, (int)kind, n);
    return SL_ERR_FORMAT;
}
