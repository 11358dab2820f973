/* runtime/gguf/gguf_header.h - what the files behind gguf.h show each other: a parsed header, and
 * the cursor that reads its bytes. Keys and tensors are views into the header's bytes; they live as
 * long as the sl_gguf, or until parsing begins anew. Nothing outside this room includes it. */
#ifndef SL_GGUF_HEADER_H
#define SL_GGUF_HEADER_H

#include "runtime/gguf/gguf.h"

/* The longest header that is read. */
enum { SL_GGUF_HEADER_BYTES_MAX = 1 << 28 };

typedef struct {
    sl_text key;
    uint32_t kind; /* of the value, or of an array's items */
    bool array;
    const uint8_t *data; /* the value, or an array's first item */
    uint64_t n;          /* items of an array, else 1 */
    sl_text *texts;      /* KIND_TEXT: [n] views, owned */
} sl_gguf_entry;

struct sl_gguf {
    char *path;
    int file;             /* -1: the bytes are the caller's */
    sl_file_stamp opened; /* the file as it was opened */
    const uint8_t *bytes; /* the first ones of the file, or all the caller's */
    size_t n_held;        /* of them are in memory */
    size_t n_bytes;       /* of the file */
    void *header;         /* where a file's are */
    void *tensor_bytes;   /* sl_gguf_load's */
    size_t n_tensor_bytes;
    uint32_t version;
    uint64_t header_hash;
    sl_gguf_entry *entries;
    size_t n_entries;
    size_t n_texts; /* of all entries */
    sl_gguf_tensor *tensors;
    size_t n_tensors;
    const sl_gguf_entry **by_key;   /* sorted */
    const sl_gguf_tensor **by_name; /* sorted */
};

/* ---- a cursor, which cannot leave the bytes ---- */

typedef struct {
    const sl_gguf *gguf;
    size_t at;
} sl_gguf_cursor;

/* Log what is wrong at the cursor's place. Returns SL_ERR_FORMAT. */
sl_status sl_gguf_bad(const sl_gguf_cursor *c, const char *what);
/* Bytes from the cursor to the file's end. */
size_t sl_gguf_left(const sl_gguf_cursor *c);
/* The next n bytes, lent. SL_ERR_FORMAT: the file, or the longest header, ends before; logged.
 * SL_AGAIN: more of the header must be read first. Those below return the same. */
sl_status sl_gguf_take(sl_gguf_cursor *c, size_t n, const uint8_t **out);
sl_status sl_gguf_take_u32(sl_gguf_cursor *c, uint32_t *out);
sl_status sl_gguf_take_u64(sl_gguf_cursor *c, uint64_t *out);
sl_status sl_gguf_take_text(sl_gguf_cursor *c, sl_text *out);

/* By their bytes, as memcmp. */
int sl_text_compare(sl_text a, sl_text b);

/* ---- the header's parts, in their order ---- */

/* n keys with their values, sorted. SL_ERR_FORMAT, logged; SL_AGAIN; SL_ERR_MEMORY, not logged. */
sl_status sl_gguf_parse_keys(sl_gguf_cursor *c, sl_gguf *g, uint64_t n);
/* The directory of n tensors, sorted and checked: all lie within the file and apart. The same. */
sl_status sl_gguf_parse_tensors(sl_gguf_cursor *c, sl_gguf *g, uint64_t n);

#endif
