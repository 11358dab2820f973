/* launch/train_main.c - the program sluice-train: `sluice train warm` becomes it
 * (train_program.c). */
#include "launch/machine/process.h"
#include "launch/train/train_commands.h"
#include "launch/train/train_program.h"
#include "runtime/base/limits.h"

static int train(int argc, char **argv)
{
    const sl_command_entry *command = &sl_cmd_train_warm;
    char name[] = "train warm"; /* what usage and complaints begin with */
    argv[0] = name;
    sl_settings settings;
    sl_status status = sl_settings_parse(command->command, command->usage, command->about,
                                         command->examples, argc, argv, &settings);
    if (status == SL_OK) status = sl_limits_check_least();
    return status == SL_OK ? sl_train_warm(&settings) : sl_exit_code(status);
}

int main(int argc, char **argv)
{
    sl_process_begin();
    sl_status status = sl_limits_begin();
    return sl_process_end(status == SL_OK ? train(argc, argv) : sl_exit_code(status));
}
