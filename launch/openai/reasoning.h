/* launch/openai/reasoning.h - splits what a model said into its thought and its answer. */
#ifndef SL_REASONING_H
#define SL_REASONING_H

#include "runtime/text/chat.h"

typedef struct {
    sl_text reasoning; /* what stood between <think> and </think>; no bytes: there was nothing */
    sl_text content;   /* what came after it, or the whole text of an answer without thought */
} sl_answer;

/* The parts of an answer's text, into which they point, without the line ends at the border between
 * them and around the thought. A thought stands at the beginning, after blanks at most. One that
 * has no end takes all the text: the answer was cut inside it. */
sl_answer sl_answer_split(sl_chat_thought thought, sl_text text);

#endif
