/* runtime/model/gguf_file.h - what gguf.c parses and gguf_values.c reads: not for others. */
#ifndef SL_GGUF_FILE_H
#define SL_GGUF_FILE_H

#include "runtime/model/gguf.h"

/* GGUF's numbers for kinds of values. */
enum {
    KIND_U8,
    KIND_I8,
    KIND_U16,
    KIND_I16,
    KIND_U32,
    KIND_I32,
    KIND_F32,
    KIND_BOOL,
    KIND_STRING,
    KIND_ARRAY,
    KIND_U64,
    KIND_I64,
    KIND_F64,
    N_KINDS
};

/* Values stay in the file, unaligned; only strings are found in advance. */
typedef struct {
    sl_text key;   /* first: an index points here */
    uint32_t kind; /* of the value, or of the items of an array; never KIND_ARRAY */
    bool is_array;
    uint64_t n;            /* 1 unless it is an array */
    const uint8_t *values; /* [n], for kinds of a fixed size */
    sl_text *texts;        /* [n], for KIND_STRING */
} gguf_entry;

/* Things sorted by the name they start with. */
typedef struct {
    const sl_text **names;
    size_t n;
} gguf_index;

struct sl_gguf {
    char *name;
    const uint8_t *bytes;
    size_t n_bytes;
    void *mapping; /* NULL: the bytes are the caller's */
    uint32_t version;
    uint64_t header_hash;
    size_t n_entries, n_tensors;
    gguf_entry *entries;
    sl_gguf_tensor *tensors;
    gguf_index entries_by_key, tensors_by_name;
};

/* The thing of that name, at its first member; NULL: none. */
const sl_text *sl_gguf_index_find(const gguf_index *index, const char *name);

/* Bytes of one value of a kind; 0 for strings and arrays. */
size_t sl_gguf_kind_bytes(uint32_t kind);

#endif
