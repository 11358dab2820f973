/* runtime/base/log.c - lines on stderr. State: this process's rank and level, set once at
 * start before threads exist, and an error counter. */
#include "runtime/base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "runtime/base/plain.h"

static int log_rank, log_ranks = 1;
static sl_log_level log_level = SL_LOG_INFO;
static atomic_int error_count;
static void (*assert_end_job)(void);

void sl_log_set_rank(int rank, int ranks)
{
    log_rank = rank;
    log_ranks = ranks;
}

void sl_log_set_level(sl_log_level level) { log_level = level; }

sl_log_level sl_log_level_now(void) { return log_level; }

int sl_log_errors(void) { return atomic_load(&error_count); }

static const char *const level_words[] = {"", "error: ", "warning: ", "", ""};

void sl_log(sl_log_level level, const char *format, ...)
{
    if (level == SL_LOG_ERROR) atomic_fetch_add(&error_count, 1);
    if (level > log_level) return;

    char said[2048], line[2048];
    int n = log_ranks > 1 && level != SL_LOG_INFO
                ? snprintf(line, sizeof line, "sluice: rank %d: %s", log_rank, level_words[level])
                : snprintf(line, sizeof line, "sluice: %s", level_words[level]);
    va_list arguments;
    va_start(arguments, format);
    int m = vsnprintf(said, sizeof said, format, arguments);
    va_end(arguments);
    if (m < 0) return;
    size_t bytes = sl_plain_prefix(said, (size_t)m, sizeof said - 2);
    /* File names, and bytes of files, are told; none of them commands the terminal. */
    n += (int)sl_plain(said, bytes, line + n, sizeof line - (size_t)n - 1);
    line[n] = '\n';
    ssize_t written = write(STDERR_FILENO, line, (size_t)n + 1);
    (void)written; /* nowhere left to complain */
}

static size_t append(char *line, size_t used, size_t room, const char *word)
{
    while (*word && used < room) line[used++] = *word++;
    return used;
}

static size_t append_number(char *line, size_t used, size_t room, int number)
{
    char digits[12];
    size_t n = sizeof digits - 1;
    digits[n] = '\0';
    do digits[--n] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    return append(line, used, room, digits + n);
}

void sl_log_in_handler(sl_log_level level, const char *const *words)
{
    if (level > log_level) return;
    char said[2048], line[2048];
    const size_t room = sizeof line - 1;
    size_t used = append(line, 0, room, "sluice: "), n_said = 0;
    if (log_ranks > 1) {
        used = append(line, used, room, "rank ");
        used = append_number(line, used, room, log_rank);
        used = append(line, used, room, ": ");
    }
    used = append(line, used, room, level_words[level]);
    for (; *words; words++) n_said = append(said, n_said, sizeof said, *words);
    used += sl_plain(said, n_said, line + used, room - used);
    line[used] = '\n';
    ssize_t written = write(STDERR_FILENO, line, used + 1);
    (void)written; /* nowhere left to complain */
}

void sl_assert_set_abort(void (*end_job)(void)) { assert_end_job = end_job; }

void sl_assert_failed(const char *expression, const char *file, int line)
{
    sl_error("assertion failed: %s, %s:%d", expression, file, line);
    if (assert_end_job) assert_end_job();
    abort();
}
