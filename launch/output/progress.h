/* launch/output/progress.h - how far a job is, on stderr: a bar that redraws on a terminal, a plain
 * line every ten seconds otherwise. */
#ifndef SL_PROGRESS_H
#define SL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint64_t done, failed, total; /* requests, those of earlier runs included */
    uint64_t prompt_tokens, generated_tokens;
    int64_t elapsed_ns;
    uint64_t done_before; /* by earlier runs */
} sl_progress_state;

typedef struct {
    bool terminal, drawn;
    int64_t told_ns;
} sl_progress;

void sl_progress_init(sl_progress *progress);
void sl_progress_show(sl_progress *progress, const sl_progress_state *state);
/* Leave the bar as it is and go to the next line. */
void sl_progress_end(sl_progress *progress);

#endif
