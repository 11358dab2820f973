/* tests/fuzz/replay.c - a fuzz target without libFuzzer: every file of a corpus once, in the order
 * of their names, or one file alone. Error lines of hostile inputs are expected by the thousand, so
 * stderr is hidden while a folder is run; a sanitizer's report is not. Each name is printed before
 * it is run: the last one is what failed. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/log.h"
#include "tests/fuzz/fuzz.h"

/* NOLINTNEXTLINE(bugprone-reserved-identifier): the sanitizers' own; NULL in other builds. */
extern void __sanitizer_set_report_fd(void *fd) __attribute__((weak));

static void hide_stderr(void)
{
    intptr_t shown = dup(STDERR_FILENO);
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    SL_ASSERT(shown >= 0 && nowhere >= 0 && dup2(nowhere, STDERR_FILENO) >= 0);
    close(nowhere);
    if (__sanitizer_set_report_fd) /* NOLINTNEXTLINE(performance-no-int-to-ptr): its interface */
        __sanitizer_set_report_fd((void *)shown);
}

/* false: it cannot be read. */
static bool run_file(const char *path)
{
    struct stat info;
    FILE *file = fopen(path, "rb");
    if (!file || fstat(fileno(file), &info) != 0) {
        perror(path);
        if (file) fclose(file);
        return false;
    }
    /* Of its exact size, so that a sanitizer sees a byte read too far. */
    size_t size = (size_t)info.st_size;
    uint8_t *data = malloc(size ? size : 1);
    bool whole = data && fread(data, 1, size, file) == size;
    fclose(file);
    printf("%s: %zu bytes\n", path, size);
    fflush(stdout);
    if (whole) LLVMFuzzerTestOneInput(data, size);
    free(data);
    return whole;
}

static int is_visible(const struct dirent *entry) { return entry->d_name[0] != '.'; }

/* Inputs run, or -1. */
static int run_folder(const char *path)
{
    struct dirent **entries;
    int n = scandir(path, &entries, is_visible, alphasort);
    if (n < 0) {
        perror(path);
        return -1;
    }
    bool good = true;
    for (int i = 0; i < n; i++) {
        char name[PATH_MAX];
        snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
        good = good && run_file(name);
        free(entries[i]);
    }
    free(entries);
    return good ? n : -1;
}

int main(int argc, char **argv)
{
    struct stat info;
    if (argc != 2 || stat(argv[1], &info) != 0) {
        fprintf(stderr, "usage: %s CORPUS_FOLDER|FILE\n", argv[0]);
        return 2;
    }
    bool folder = S_ISDIR(info.st_mode);
    LLVMFuzzerInitialize(&argc, &argv);
    if (folder) hide_stderr();
    int n = folder ? run_folder(argv[1]) : run_file(argv[1]);
    printf("%d inputs\n", n);
    return n > 0 ? 0 : 1; /* an empty corpus tests nothing */
}
