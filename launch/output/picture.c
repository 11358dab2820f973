/* launch/output/picture.c - see picture.h. */
#include "launch/output/picture.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/log.h"

/* ---- gnuplot ----
 * Its language runs commands: backquotes in a text between double quotes, '|' before a file's name,
 * a '%' in a label as a format. So nothing that is not ours stands in a script: the picture's file
 * is opened here and is gnuplot's stdout, labels are data in octal numbers, and no shell starts
 * it. */

static const char *const GNUPLOT[] = {"gnuplot", "--default-settings",
                                      NULL}; /* no user's ~/.gnuplot */

bool sl_picture_possible(void)
{
    const char *folders = getenv("PATH");
    char path[PATH_MAX];
    for (const char *at = folders; at && *at; at += *at == ':') {
        int bytes = (int)strcspn(at, ":");
        if (snprintf(path, sizeof path, "%.*s/%s", bytes, at, GNUPLOT[0]) < (int)sizeof path &&
            access(path, X_OK) == 0)
            return true;
        at += bytes;
    }
    return false;
}

/* Its stdin is script_fd, its stdout picture_fd. 0 or an errno. */
static int spawn(int script_fd, int picture_fd, pid_t *pid_out)
{
    posix_spawn_file_actions_t actions;
    int error = posix_spawn_file_actions_init(&actions);
    if (error != 0) return error;
    posix_spawn_file_actions_adddup2(&actions, script_fd, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, picture_fd, STDOUT_FILENO);
    error = posix_spawnp(pid_out, GNUPLOT[0], &actions, NULL, (char *const *)GNUPLOT, environ);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

static sl_status start(sl_picture *picture)
{
    int ends[2];
    int error = pipe2(ends, O_CLOEXEC) == 0 ? 0 : errno;
    if (error == 0) {
        picture->script = fdopen(ends[1], "w");
        error = picture->script ? spawn(ends[0], picture->fresh.file, &picture->pid) : ENOMEM;
        close(ends[0]);
        if (error != 0 && picture->script) fclose(picture->script);
        if (!picture->script) close(ends[1]);
    }
    if (error == 0) return SL_OK;
    sl_error("cannot start gnuplot: %s", strerror(error));
    return SL_ERR_FILE;
}

sl_status sl_picture_begin(const char *path, int width, int height, sl_picture *picture)
{
    *picture = (sl_picture){0};
    if (!sl_picture_possible()) {
        sl_error("no picture without gnuplot: launch/prepare.sh installs it (Debian: gnuplot-nox)");
        return SL_ERR_FILE;
    }
    sl_status status = sl_file_fresh_begin(path, &picture->fresh);
    if (status != SL_OK) return status;
    status = start(picture);
    if (status != SL_OK) {
        sl_file_fresh_drop(&picture->fresh);
        return status;
    }
    const char *dot = strrchr(path, '.');
    bool svg = dot && strcmp(dot, ".svg") == 0;
    fprintf(picture->script,
            "set encoding utf8\n"
            "set terminal %s noenhanced size %d,%d font 'Sans,8' background '#ffffff'\n"
            "unset colorbox\nunset key\n",
            svg ? "svg" : "pngcairo", width, height);
    return SL_OK;
}

sl_status sl_picture_end(sl_picture *picture, const char *path)
{
    int ended = -1;
    fputs("unset multiplot\n", picture->script);
    bool told = fclose(picture->script) == 0;
    while (waitpid(picture->pid, &ended, 0) < 0 && errno == EINTR) continue;
    const bool drawn = told && ended == 0;
    if (!drawn) sl_error("gnuplot could not draw %s", path);
    return sl_file_fresh_end(&picture->fresh, drawn ? SL_OK : SL_ERR_FILE);
}
