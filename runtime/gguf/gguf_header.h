/* runtime/gguf/gguf_header.h - what the files behind gguf.h show each other: a part, which is one
 * file with its parsed header, and the cursor that reads a header's bytes. A model that is one file
 * is one part. Keys and tensors are views into the header's bytes; they live as long as the part,
 * or until parsing begins anew. Nothing outside this room includes it. */
#ifndef SL_GGUF_HEADER_H
#define SL_GGUF_HEADER_H

#include "runtime/gguf/gguf.h"

/* What a header may have. All parts of a model together may have as much as one file. */
typedef struct {
    size_t bytes, keys, texts, tensors;
} sl_gguf_limits;

enum {
    SL_GGUF_HEADER_BYTES_MAX = 1 << 28,
    SL_GGUF_KEYS_MAX = 1 << 16,
    SL_GGUF_TEXTS_MAX = 1 << 24,
    SL_GGUF_TENSORS_MAX = 1 << 20,
    SL_GGUF_PARTS_MAX = 512, /* each is an open file */
};

typedef struct {
    sl_text key;
    uint32_t kind; /* of the value, or of an array's items */
    bool array;
    const uint8_t *data; /* the value, or an array's first item */
    uint64_t n;          /* items of an array, else 1 */
    sl_text *texts;      /* KIND_TEXT: [n] views, owned */
} sl_gguf_entry;

typedef struct {
    char *path;
    int file;             /* -1: the bytes are the caller's */
    sl_file_stamp opened; /* the file as it was opened */
    const uint8_t *bytes; /* the first ones of the file, or all the caller's */
    size_t n_held;        /* of them are in memory */
    size_t n_bytes;       /* of the file */
    void *header;         /* where a file's are */
    sl_gguf_limits limits;

    uint32_t version;
    size_t header_bytes; /* everything before the tensor data */
    uint64_t header_hash;
    sl_gguf_entry *entries;
    size_t n_entries;
    size_t n_texts;               /* of all entries */
    const sl_gguf_entry **by_key; /* sorted */
    sl_gguf_tensor *tensors;      /* NULL when sl_gguf has taken them */
    size_t n_tensors;
} sl_gguf_part;

struct sl_gguf {
    sl_gguf_part *parts; /* the first one has the keys of the model */
    size_t n_parts;
    sl_gguf_tensor *tensors; /* of all parts */
    size_t n_tensors;
    const sl_gguf_tensor **by_name; /* sorted */
    void *tensor_bytes;             /* sl_gguf_load's */
    size_t n_tensor_bytes;
};

/* ---- a cursor, which cannot leave the bytes ---- */

typedef struct {
    const sl_gguf_part *part;
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

/* ---- what a header consists of, in its order ---- */

/* n keys with their values, sorted. SL_ERR_FORMAT, logged; SL_AGAIN; SL_ERR_MEMORY, not logged. */
sl_status sl_gguf_parse_keys(sl_gguf_cursor *c, sl_gguf_part *p, uint64_t n);
/* The directory of n tensors, checked: all lie within the file and apart. The same. */
sl_status sl_gguf_parse_tensors(sl_gguf_cursor *c, sl_gguf_part *p, uint64_t n);

/* As sl_gguf_has and sl_gguf_u32, of one part. */
bool sl_gguf_part_has(const sl_gguf_part *part, const char *key);
bool sl_gguf_part_u32(const sl_gguf_part *part, const char *key, uint32_t *out);

/* The first key of `other` that `part` has with another value, or not at all; NULL: there is none.
 * Not looked at: "split.*", and "general.alignment", which is a file's own. */
const sl_gguf_entry *sl_gguf_part_differs(const sl_gguf_part *part, const sl_gguf_part *other);

/* ---- parts ---- */

/* Open and parse a file. On SL_OK the caller ends *out with sl_gguf_part_close, otherwise it is
 * ended already. Errors are those of sl_gguf_open, logged, or SL_ERR_MEMORY. */
sl_status sl_gguf_part_open(const char *path, const sl_gguf_limits *limits, size_t first_read_bytes,
                            sl_gguf_part *out);
/* The same over bytes the caller keeps. */
sl_status sl_gguf_part_open_memory(const void *bytes, size_t n_bytes, const char *name,
                                   const sl_gguf_limits *limits, sl_gguf_part *out);
void sl_gguf_part_close(sl_gguf_part *part);

/* Copy bytes of the file. false: *error_out is errno, or 0 where the file ends before. */
bool sl_gguf_part_read(const sl_gguf_part *part, uint64_t offset, size_t n_bytes, void *out,
                       int *error_out);

/* The parts beside the first, where its keys say that there are some: opened from its folder and
 * checked. SL_ERR_FILE: one is missing; SL_ERR_FORMAT: one is of another model, or the first is
 * another part; SL_ERR_UNSUPPORTED: too many; SL_ERR_MEMORY.
 * Logged. */
sl_status sl_gguf_open_others(sl_gguf *g);

/* Move the tensors of the part that was opened last into the list of all. SL_ERR_MEMORY, logged. */
sl_status sl_gguf_add_tensors(sl_gguf *g);
/* Sort the list of all by name. SL_ERR_FORMAT: two have the same; SL_ERR_MEMORY. Logged. */
sl_status sl_gguf_index_tensors(sl_gguf *g);

#endif
