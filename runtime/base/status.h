/* runtime/base/status.h - how a function says what happened. A bug is an assertion (log.h); what
 * goes wrong outside the program is one of these. Codes group by what the caller should do. The
 * first function that knows the cause logs it, once.
 *
 * The front door of runtime/base, the floor of all rooms: status, log, memory, files, text made
 * safe to show, threads, time. It knows no models, ranks or requests. */
#ifndef SL_STATUS_H
#define SL_STATUS_H

#define SL_STATUS_MAP(X)                                           \
    X(SL_OK, 0, "ok")                                              \
    X(SL_AGAIN, 1, "not yet: make progress and retry")             \
    X(SL_END, 2, "nothing more will come")                         \
    X(SL_ERR_OPTION, -1, "bad option or config value")             \
    X(SL_ERR_FORMAT, -2, "malformed bytes")                        \
    X(SL_ERR_UNSUPPORTED, -3, "well-formed, but not supported")    \
    X(SL_ERR_FILE, -4, "a file cannot be opened, read or written") \
    X(SL_ERR_MEMORY, -5, "does not fit in memory")                 \
    X(SL_ERR_REQUEST, -10, "this request cannot be served")        \
    X(SL_ERR_PEER, -20, "a peer is lost: drop its work")           \
    X(SL_ERR_JOB, -40, "the job cannot continue")

typedef enum {
#define X(name, value, text) name = (value),
    SL_STATUS_MAP(X)
#undef X
} sl_status;

/* The sentence of SL_STATUS_MAP; static storage. */
const char *sl_status_text(sl_status status);

#endif
