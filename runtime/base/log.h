/* runtime/base/log.h - talk on stderr, and assertions.
 * One line a call, by one write(2), so ranks' lines do not mix, and shown as plain.h has it,
 * whatever it quotes. When the job has several ranks, lines say which one speaks; not those of
 * SL_LOG_INFO, which rank 0 alone writes. Thread-safe. */
#ifndef SL_LOG_H
#define SL_LOG_H

#include <stdbool.h>

typedef enum { SL_LOG_NONE, SL_LOG_ERROR, SL_LOG_WARN, SL_LOG_INFO, SL_LOG_DEBUG } sl_log_level;

/* Say which rank this process is (0 of 1 until then) and what to print. */
void sl_log_set_rank(int rank, int ranks);
void sl_log_set_level(sl_log_level level);
sl_log_level sl_log_level_now(void);

/* Number of error lines so far: a test whose count rises unexpectedly fails. */
int sl_log_errors(void);

void sl_log(sl_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define sl_error(...) sl_log(SL_LOG_ERROR, __VA_ARGS__)
#define sl_warn(...)  sl_log(SL_LOG_WARN, __VA_ARGS__)
#define sl_info(...)  sl_log(SL_LOG_INFO, __VA_ARGS__)
#define sl_debug(...) sl_log(SL_LOG_DEBUG, __VA_ARGS__)

/* A line of these words, the last one NULL, from a signal handler: async-signal-safe. */
void sl_log_in_handler(sl_log_level level, const char *const *words);

/* What a failed assertion calls after its line and before abort(): ends the whole job.
 * Installed by launch; NULL (the default) does nothing. */
void sl_assert_set_abort(void (*end_job)(void));

_Noreturn void sl_assert_failed(const char *expression, const char *file, int line);

/* Stays on in release. SL_DEBUG_ASSERT is for inner loops. */
#define SL_ASSERT(expression) \
    ((expression) ? (void)0 : sl_assert_failed(#expression, __FILE__, __LINE__))
#ifdef NDEBUG
#define SL_DEBUG_ASSERT(expression) ((void)sizeof(expression))
#else
#define SL_DEBUG_ASSERT(expression) SL_ASSERT(expression)
#endif

#endif
