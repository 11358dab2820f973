/* launch/openai/reasoning.c - see reasoning.h. */
#include "launch/openai/reasoning.h"

#include <stdbool.h>
#include <string.h>

#include "runtime/base/utf8.h"

static const sl_text BEGIN = {"<think>", 7}, END = {"</think>", 8};

static sl_text without(sl_text text, size_t bytes)
{
    return (sl_text){text.data + bytes, text.bytes - bytes};
}

static bool begins_with(sl_text text, sl_text mark)
{
    return text.bytes >= mark.bytes && memcmp(text.data, mark.data, mark.bytes) == 0;
}

static bool is_line_end(char byte) { return byte == '\n' || byte == '\r'; }

static sl_text skip_line_ends(sl_text text)
{
    while (text.bytes > 0 && is_line_end(text.data[0])) text = without(text, 1);
    return text;
}

static sl_text cut_line_ends(sl_text text)
{
    while (text.bytes > 0 && is_line_end(text.data[text.bytes - 1])) text.bytes--;
    return text;
}

/* What follows a <think> that the text begins with; false: it begins with something else. */
static bool skip_begin(sl_text text, sl_text *rest_out)
{
    for (size_t n; (n = sl_utf8_blank_bytes(text.data, text.bytes)) > 0;) text = without(text, n);
    if (!begins_with(text, BEGIN)) return false;
    *rest_out = without(text, BEGIN.bytes);
    return true;
}

sl_answer sl_answer_split(sl_chat_thought thought, sl_text text)
{
    sl_text rest = text;
    const bool begins = thought != SL_CHAT_NO_THOUGHT && skip_begin(text, &rest);
    if (!begins && thought != SL_CHAT_THINKS) return (sl_answer){.content = text};
    const char *end = rest.bytes > 0 ? memmem(rest.data, rest.bytes, END.data, END.bytes) : NULL;
    const size_t thought_bytes = end ? (size_t)(end - rest.data) : rest.bytes;
    const size_t skipped = thought_bytes + (end ? END.bytes : 0);
    return (sl_answer){
        .reasoning = cut_line_ends(skip_line_ends((sl_text){rest.data, thought_bytes})),
        .content = skip_line_ends(without(rest, skipped))};
}
