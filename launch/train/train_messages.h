/* launch/train/train_messages.h - what JSON says in texts that are trained on. */
#ifndef SL_TRAIN_MESSAGES_H
#define SL_TRAIN_MESSAGES_H

#include <jansson.h>

#include "runtime/text/chat.h"

/* Of a conversation; a caller refuses more. */
enum { SL_TRAIN_MESSAGES_MAX = 256 };

/* A member of an object, lent by it; data NULL: there is none, or it is no text. */
sl_text sl_train_json_text(const json_t *object, const char *key);

/* A list of {"role", "content"}, at most SL_TRAIN_MESSAGES_MAX, lent by it. Returns what is wrong
 * with them, or "". */
const char *sl_train_messages_take(const json_t *messages, sl_chat_message *out);

#endif
