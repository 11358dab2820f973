/* launch/openai/openai.h - OpenAI batch lines in and out (JSONL). The front door of launch/openai,
 * which knows requests and results, no files, ranks or frames.
 * https://platform.openai.com/docs/guides/batch: {"custom_id", "method", "url", "body"}. */
#ifndef SL_OPENAI_H
#define SL_OPENAI_H

#include "launch/openai/request.h"

/* The unknown fields met so far in a job: start from {0}. Hashes of their names; when all places
 * are taken, one last warning says that further ones are ignored in silence. */
enum { SL_REQUEST_WARNINGS_MAX = 32 };
typedef struct {
    uint32_t n;
    uint64_t names[SL_REQUEST_WARNINGS_MAX];
} sl_request_warnings;

/* What reading a line needs to know of the model and the job. */
typedef struct {
    const sl_tokenizer *tokenizer;
    const char *model;    /* named in results whose request names none; NULL: "" */
    const sl_chat *chat;  /* NULL: chat requests are errors that name the way out */
    uint32_t context;     /* tokens of prompt and completion together */
    uint32_t choices_max; /* largest n */
    sl_request_warnings
        *warnings; /* the caller's, one thread's; NULL: unknown fields are not told */
} sl_request_reader;

/* Bytes that a line takes while it is read, at most: the values jansson makes of it, and copies of
 * its texts. Counted from its punctuation, so that a line of ten million empty objects is an error
 * record (more than SL_REQUEST_JSON_BYTES_MAX) and not the end of the job. */
enum { SL_REQUEST_JSON_BYTES_MAX = 256 << 20 };
size_t sl_request_json_bytes(const char *line, size_t bytes);

/* What a job knows a line by. */
typedef struct {
    char *custom_id;    /* malloc'd */
    bool made_up;       /* the line has none that can be read: it is "line-N (no custom_id)" */
    uint64_t body_hash; /* of method, url and body as they are meant, whatever their order and
                           spaces; of the line's bytes where it is no JSON object */
} sl_request_key;

/* Of line `number` (from 1). The id is found wherever one can be read, in a line that is no JSON
 * too; a number is an id as it is written. SL_ERR_MEMORY, then nothing is left to free. */
sl_status sl_request_line_key(const char *line, size_t bytes, uint64_t number,
                              sl_request_key *key_out);

/* A request from line `number` of the job. Always gives a request (SL_ERR_MEMORY apart): one that
 * cannot be served has error set, and the custom_id of sl_request_line_key in any case. Unknown
 * fields are warned about once per field name and job, and ignored. */
sl_status sl_request_read(const sl_request_reader *reader, const char *line, size_t bytes,
                          uint64_t number, sl_request **request_out);

/* What is known of a result line already in OUT. SL_ERR_FORMAT: not a whole record; not logged,
 * since a torn last line is what an interrupted job leaves. SL_ERR_MEMORY. */
typedef struct {
    char *custom_id; /* malloc'd */
    bool failed;
} sl_result_known;
sl_status sl_result_read(const char *line, size_t bytes, sl_result_known *known_out);

/* Memory that sl_result_line takes at most for a request that has generated n_tokens in all its
 * choices. Of more than SL_RESULT_BYTES_MAX the record is an error. */
enum { SL_RESULT_BYTES_MAX = 512 << 20 };
uint64_t sl_result_bytes(const sl_request *request, uint64_t n_tokens,
                         const sl_tokenizer *tokenizer);

/* What the request of a line may take, its prompt as long as its line allows: while it is served
 * (sl_request_bytes), while its record is written, and while its prompt is made from its JSON. Zero
 * for one that cannot be served. SL_ERR_MEMORY. */
typedef struct {
    uint64_t request, record, prompt;
} sl_request_line_need;
sl_status sl_request_line_plan(const sl_request_reader *reader, const char *line, size_t bytes,
                               sl_request_line_need *need_out);

/* The request's record as one line with its newline: malloc'd. `created` is Unix time. Equal
 * requests give equal lines but for "created". NULL when memory is out. */
char *sl_result_line(const sl_request *request, const sl_tokenizer *tokenizer, int64_t created,
                     size_t *bytes_out);

#endif
