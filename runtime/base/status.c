/* runtime/base/status.c - the sentences of status.h. */
#include "runtime/base/status.h"

const char *sl_status_text(sl_status status)
{
    switch (status) {
#define X(name, value, text) \
    case name: return text;
        SL_STATUS_MAP(X)
#undef X
    }
    return "unknown status";
}
