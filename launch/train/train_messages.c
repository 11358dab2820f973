/* launch/train/train_messages.c - see train_messages.h. */
#include "launch/train/train_messages.h"

#include "runtime/base/log.h"

sl_text sl_train_json_text(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return (sl_text){json_string_value(value), json_string_length(value)};
}

const char *sl_train_messages_take(const json_t *messages, sl_chat_message *out)
{
    const size_t n = json_array_size(messages);
    SL_ASSERT(n <= SL_TRAIN_MESSAGES_MAX);
    for (size_t i = 0; i < n; i++) {
        const json_t *message = json_array_get(messages, i);
        out[i] = (sl_chat_message){sl_train_json_text(message, "role"),
                                   sl_train_json_text(message, "content")};
        if (!out[i].role.data || !out[i].content.data) return "a message without role or content";
    }
    return "";
}
