/* launch/machine/process.c - see process.h. State: the signal noted. */
#include "launch/machine/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/log.h"

/* ---- descriptors ---- */

/* /dev/null, in the direction that fails for who expects input or output there; talk may vanish. */
static void take_descriptor(int number)
{
    static const int modes[] = {O_WRONLY, O_RDONLY, O_WRONLY};
    if (fcntl(number, F_GETFD) >= 0 || errno != EBADF) return;
    int file = open("/dev/null", modes[number]);
    if (file >= 0 && file != number) close(file); /* cannot be: the lowest free number is given */
}

/* ---- signals that must not end a process without a word ---- */

/* Unlike SIG_IGN a handler is not inherited by programs that are started. */
static void go_on(int number) { (void)number; }

/* No file of ours is mapped (gguf.h): what is left are MPI's messages and the program itself. */
static void tell_lost_memory(int number)
{
    sl_log_in_handler(
        SL_LOG_ERROR,
        (const char *const[]){
            "SIGBUS: the memory behind an address is gone. Is /dev/shm full (MPI keeps messages "
            "between ranks of a host there), was the program written over, or does a disk fail?",
            NULL});
    signal(number, SIG_DFL);
    raise(number);
}

void sl_process_begin(void)
{
    for (int number = 0; number <= 2; number++) take_descriptor(number);
    struct sigaction action = {.sa_handler = go_on, .sa_flags = SA_RESTART};
    sigaction(SIGXFSZ, &action, NULL);
    sigaction(SIGPIPE, &action, NULL);
    struct sigaction lost = {.sa_handler = tell_lost_memory};
    sigaction(SIGBUS, &lost, NULL);
}

/* ---- signals that ask for an end ---- */

static const struct {
    int number;
    const char *name;
} ENDING[] = {{SIGTERM, "SIGTERM"},
              {SIGINT, "SIGINT"},
              {SIGHUP, "SIGHUP"},
              {SIGQUIT, "SIGQUIT"},
              {SIGXCPU, "SIGXCPU (ulimit -t)"}};
enum { N_ENDING = sizeof ENDING / sizeof *ENDING };

static volatile sig_atomic_t caught_signal;

static void note_signal(int number) { caught_signal = number; }

void sl_process_catch_signals(void)
{
    struct sigaction action = {.sa_handler = note_signal}, before;
    for (int i = 0; i < N_ENDING; i++) {
        sigaction(ENDING[i].number, NULL, &before);
        if (before.sa_handler != SIG_IGN) sigaction(ENDING[i].number, &action, NULL);
    }
}

int sl_process_signal(void) { return caught_signal; }

const char *sl_process_signal_name(int number)
{
    for (int i = 0; i < N_ENDING; i++)
        if (ENDING[i].number == number) return ENDING[i].name;
    return "a signal";
}

/* ---- results ---- */

sl_status sl_process_flush_stdout(void)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout)) return SL_OK;
    if (errno == EPIPE) {
        signal(SIGPIPE, SIG_DFL);
        raise(SIGPIPE);
    }
    sl_error("cannot write the results to stdout%s%s", errno ? ": " : "",
             errno ? strerror(errno) : "");
    clearerr(stdout); /* it has been said */
    return SL_ERR_FILE;
}

int sl_process_end(int code)
{
    if (code != SL_EXIT_OK && code != SL_EXIT_SOME_FAILED) return code;
    return sl_process_flush_stdout() == SL_OK ? code : SL_EXIT_INPUT;
}

/* ---- exit codes ---- */

int sl_exit_code(sl_status status)
{
    switch (status) {
    case SL_OK:
    case SL_AGAIN:
    case SL_END: return SL_EXIT_OK;
    case SL_ERR_OPTION: return SL_EXIT_USAGE;
    case SL_ERR_FORMAT:
    case SL_ERR_UNSUPPORTED:
    case SL_ERR_REQUEST:
    case SL_ERR_FILE: return SL_EXIT_INPUT;
    case SL_ERR_MEMORY: return SL_EXIT_MEMORY;
    case SL_ERR_PEER:
    case SL_ERR_JOB: return SL_EXIT_INTERRUPTED;
    }
    return SL_EXIT_BUG;
}

int sl_exit_code_stopped(sl_status status)
{
    int number = sl_process_signal();
    return number && status != SL_OK ? 128 + number : sl_exit_code(status);
}
