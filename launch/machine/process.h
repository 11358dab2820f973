/* launch/machine/process.h - what every program of Sluice does first and last: the three standard
 * descriptors, signals, and whether results reached stdout. The front door of launch/machine, which
 * knows this process, its host and the ranks beside it (ranks.h), no options and no models. */
#ifndef SL_PROCESS_H
#define SL_PROCESS_H

#include "runtime/base/status.h"

/* Exit codes, documented in the README. */
enum {
    SL_EXIT_OK = 0,
    SL_EXIT_BUG = 1,
    SL_EXIT_USAGE = 2,
    SL_EXIT_SOME_FAILED = 3,
    SL_EXIT_INPUT = 4,        /* a file is missing, malformed or not supported */
    SL_EXIT_MEMORY = 5,       /* does not fit; nothing was started */
    SL_EXIT_INTERRUPTED = 75, /* run the same command again to go on */
};
int sl_exit_code(sl_status status);
/* The same of what signals may have stopped: 128 + N when signal N did. */
int sl_exit_code_stopped(sl_status status);

/* First in main, before any file is opened. Descriptors 0, 1 and 2 that are closed are taken, so
 * that no file of ours gets their number and then the log's lines: what is written to 2 goes
 * nowhere; reading 0 and writing 1 fail. A file that grows beyond `ulimit -f`, or a pipe without
 * a reader, is an error of the write (EFBIG, EPIPE) and no silent death; SIGBUS is not silent
 * either. */
void sl_process_begin(void);

/* Results have been printed: flush them. SL_ERR_FILE: logged. A reader that has gone away (`|
 * head`) ends the process, as it does for any filter: by SIGPIPE. */
sl_status sl_process_flush_stdout(void);

/* Last in main: the exit code, which is SL_EXIT_INPUT, with a line that says why, where a success
 * has not reached stdout. */
int sl_process_end(int code);

/* Signals that ask a process to end (SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGXCPU) are noted from here
 * on instead of ending it, but those it was started to ignore (nohup). */
void sl_process_catch_signals(void);
/* The signal noted, or 0; and its name, "SIGTERM". */
int sl_process_signal(void);
const char *sl_process_signal_name(int number);

#endif
