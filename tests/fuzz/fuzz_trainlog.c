/* tests/fuzz/fuzz_trainlog.c - the input is the log of a training run: read, told in words, and as
 * the script that gnuplot would run. */
#include <stdlib.h>
#include <string.h>

#include "launch/output/train_summary.h"
#include "runtime/base/log.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    return 0;
}

/* Nothing that commands a terminal, and nothing that gnuplot gives a shell. */
static void check_plain(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        SL_ASSERT(text[i] == '\n' || (text[i] >= ' ' && text[i] < 127));
    SL_ASSERT(!memchr(text, '`', bytes) && !memchr(text, '!', bytes) && !memchr(text, '@', bytes));
    SL_ASSERT(!strstr(text, "system"));
}

static void tell(const sl_train_summary *summary, void (*how)(const sl_train_summary *, FILE *))
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    SL_ASSERT(out);
    how(summary, out);
    SL_ASSERT(fclose(out) == 0);
    check_plain(text, bytes);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0; /* fmemopen wants a byte */
    FILE *log = fmemopen((void *)data, size, "r");
    SL_ASSERT(log);
    sl_train_summary summary;
    if (sl_train_summary_read(log, "fuzz", &summary) == SL_OK) {
        tell(&summary, sl_train_summary_print);
        tell(&summary, sl_train_summary_plot);
    }
    sl_train_summary_free(&summary);
    fclose(log);
    return 0;
}
