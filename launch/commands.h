/* launch/commands.h - one file per command (cmd_*.c). argv[0] is the command's name; the value is
 * the process's exit code (engine.h). */
#ifndef SL_COMMANDS_H
#define SL_COMMANDS_H

int sl_cmd_batch(int argc, char **argv);
int sl_cmd_run(int argc, char **argv);
int sl_cmd_eval(int argc, char **argv);
int sl_cmd_show(int argc, char **argv);
int sl_cmd_tokenize(int argc, char **argv);

#endif
