/* tests/fuzz/fuzz_hostfile.c - the input is a hosts file. */
#include <stdlib.h>
#include <string.h>

#include "launch/setup/hostfile.h"
#include "runtime/base/log.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    return 0;
}

static void check(const sl_host *hosts, size_t n)
{
    SL_ASSERT(n >= 1 && n <= SL_HOSTS_MAX);
    for (size_t i = 0; i < n; i++) {
        SL_ASSERT(hosts[i].name[0] && memchr(hosts[i].name, 0, sizeof hosts[i].name));
        SL_ASSERT(!strpbrk(hosts[i].name, " \t\r\f\v\n#"));
        SL_ASSERT(hosts[i].slots >= 1 && hosts[i].slots <= SL_HOSTS_MAX);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1); /* it is taken apart where it lies */
    SL_ASSERT(text);
    memcpy(text, data, size);
    text[size] = '\0';
    sl_host *hosts;
    size_t n;
    if (sl_hostfile_parse("fuzz", text, size, &hosts, &n) == SL_OK) {
        check(hosts, n);
        free(hosts);
    }
    free(text);
    return 0;
}
