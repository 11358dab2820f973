/* launch/output/progress.c - see progress.h. */
#include "launch/output/progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/append.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"

enum { BAR = 24 };

void sl_progress_init(sl_progress *progress)
{
    bool wanted = sl_log_level_now() >= SL_LOG_INFO;
    *progress = (sl_progress){.terminal = wanted && isatty(STDERR_FILENO)};
}

static void describe(const sl_progress_state *s, char *out, size_t out_bytes)
{
    double seconds = (double)s->elapsed_ns / (double)SL_SECOND;
    double tokens = (double)(s->prompt_tokens + s->generated_tokens);
    uint64_t now = s->done - s->done_before;
    size_t used = 0;
    sl_append(out, out_bytes, &used,
              "%llu/%llu requests, %llu prompt + %llu generated tokens, %.0f tok/s",
              (unsigned long long)s->done, (unsigned long long)s->total,
              (unsigned long long)s->prompt_tokens, (unsigned long long)s->generated_tokens,
              seconds > 0 ? tokens / seconds : 0);
    if (s->failed > 0)
        sl_append(out, out_bytes, &used, ", %llu failed", (unsigned long long)s->failed);
    if (now == 0 || s->done == s->total) return;
    int left = (int)(seconds / (double)now * (double)(s->total - s->done));
    sl_append(out, out_bytes, &used, ", about %d:%02d left", left / 60, left % 60);
}

void sl_progress_show(sl_progress *progress, const sl_progress_state *state)
{
    char text[256];
    describe(state, text, sizeof text);
    if (!progress->terminal) {
        if (state->elapsed_ns - progress->told_ns < 10 * SL_SECOND) return;
        progress->told_ns = state->elapsed_ns;
        sl_info("%s", text);
        return;
    }
    char bar[BAR + 1];
    size_t filled = state->total ? (size_t)(BAR * state->done / state->total) : 0;
    memset(bar, '-', BAR);
    memset(bar, '#', filled);
    bar[BAR] = '\0';
    fprintf(stderr, "\r[%s] %s\033[K", bar, text);
    fflush(stderr);
    progress->drawn = true;
}

void sl_progress_end(sl_progress *progress)
{
    if (progress->drawn) fputc('\n', stderr);
    progress->drawn = false;
}
