/* launch/eval/eval_prompts.c - see eval_prompts.h. */
#include "launch/eval/eval_prompts.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/read_file.h"

sl_status sl_filler_read(const char *path, const sl_tokenizer *tokenizer, sl_tokens *out)
{
    char *text;
    size_t bytes;
    sl_status status = sl_read_file(path, &text, &bytes);
    if (status != SL_OK) return status;
    status = sl_tokenizer_encode(tokenizer, text, bytes, SL_SPECIAL_AS_TEXT, out);
    free(text);
    return status;
}

sl_status sl_prompt_add_text(const sl_tokenizer *tokenizer, const char *text, sl_tokens *out)
{
    if (*text == ' ' && sl_tokenizer_adds_space(tokenizer)) text++;
    return sl_tokenizer_encode(tokenizer, text, strlen(text), SL_SPECIAL_AS_TEXT, out);
}

static bool ends_sentence(const sl_tokenizer *tokenizer, int32_t id)
{
    sl_text piece = sl_tokenizer_piece(tokenizer, id);
    if (piece.bytes == 0) return false;
    char last = piece.data[piece.bytes - 1];
    return last == '.' || last == '!' || last == '?' || last == '\n';
}

size_t sl_sentence_before(const sl_tokenizer *tokenizer, const int32_t *ids, size_t n, size_t place)
{
    for (size_t i = place; i > 0 && i + SL_SENTENCE_TOKENS > place; i--)
        if (i <= n && ends_sentence(tokenizer, ids[i - 1])) return i;
    return place;
}

size_t sl_sentence_after(const sl_tokenizer *tokenizer, const int32_t *ids, size_t n, size_t place)
{
    for (size_t i = place; i <= n && i < place + SL_SENTENCE_TOKENS; i++)
        if (i > 0 && ends_sentence(tokenizer, ids[i - 1])) return i;
    return place;
}
