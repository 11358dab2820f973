/* launch/machine/control_groups.c - reads /proc and /sys; a file or line that is not there sets
 * nothing. */
#include "launch/machine/control_groups.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

bool sl_control_groups_number(const char *path, const char *name, uint64_t *out)
{
    char text[4096]; /* longer than any of these files */
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    ssize_t bytes = read(file, text, sizeof text - 1);
    close(file);
    text[bytes > 0 ? bytes : 0] = '\0';
    size_t length = strlen(name);
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        char *end;
        if (strncmp(line, name, length) != 0) continue;
        if (line[length] == '-') continue; /* -1 is how version 1 writes "none" */
        uint64_t number = strtoull(line + length, &end, 10);
        if (end == line + length) continue;
        *out = number;
        return true;
    }
    return false;
}

/* A group and those it is in: the least counts. Inside a container the path is often the host's and
 * not there; the mount's own files then are the group's. */
static uint64_t least_upwards(const char *mount, const char *group, sl_groups_version version,
                              uint64_t (*read_limit)(const char *folder, sl_groups_version version))
{
    char folder[PATH_BYTES];
    int top = snprintf(folder, sizeof folder, "%s", mount);
    snprintf(folder + top, sizeof folder - (size_t)top, "%s", group);
    uint64_t least = UINT64_MAX;
    for (;;) {
        uint64_t found = read_limit(folder, version);
        if (found < least) least = found;
        char *slash = strrchr(folder + top, '/');
        if (!slash) return least;
        *slash = '\0';
    }
}

/* Whether a list "cpu,cpuacct" of n bytes has the name. */
static bool has_name(const char *list, size_t n, const char *name)
{
    size_t length = strlen(name);
    for (const char *item = list; item < list + n;) {
        size_t bytes = strcspn(item, ",:");
        if (bytes == length && memcmp(item, name, length) == 0) return true;
        item += bytes + 1;
    }
    return false;
}

/* A line "4:cpu,cpuacct:/group" of version 1, or "0::/group" of version 2: 0 if it is of neither,
 * or of other controllers. */
static sl_groups_version read_line(const char *line, const char *controller, const char **group_out)
{
    const char *list = strchr(line, ':');
    const char *end = list ? strchr(++list, ':') : NULL;
    if (!end || end[1] != '/') return 0;
    *group_out = end + 1;
    if (end == list) return strncmp(line, "0:", 2) == 0 ? SL_GROUPS_V2 : 0;
    return has_name(list, (size_t)(end - list), controller) ? SL_GROUPS_V1 : 0;
}

uint64_t sl_control_groups_least(const char *root, const char *controller,
                                 uint64_t (*read_limit)(const char *folder,
                                                        sl_groups_version version))
{
    char mount[PATH_BYTES / 2], line[PATH_BYTES / 4];
    snprintf(mount, sizeof mount, "%s/proc/self/cgroup", root);
    FILE *file = fopen(mount, "re");
    if (!file) return UINT64_MAX;
    uint64_t least = UINT64_MAX;
    while (fgets(line, sizeof line, file)) {
        const char *group;
        line[strcspn(line, "\n")] = '\0';
        sl_groups_version version = read_line(line, controller, &group);
        if (!version) continue;
        bool v1 = version == SL_GROUPS_V1;
        snprintf(mount, sizeof mount, "%s/sys/fs/cgroup%s%s", root, v1 ? "/" : "",
                 v1 ? controller : "");
        uint64_t found = least_upwards(mount, group, version, read_limit);
        if (found < least) least = found;
    }
    fclose(file);
    return least;
}
