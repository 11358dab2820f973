/* launch/options/option_groups.h - the options that commands of several rooms share, in groups. A
 * command takes a group whole, so options that different commands take stand in different groups.
 * The man page and the completion list a command's groups in the order it names them. */
#ifndef SL_OPTION_GROUPS_H
#define SL_OPTION_GROUPS_H

#include "launch/options/option.h"

/* What is read, and what pictures are named after. */
extern const sl_option sl_options_model[], sl_options_lora[], sl_options_chat_template[],
    sl_options_prompt[], sl_options_picture_name[], sl_options_picture_format[], sl_options_seed[];

/* How much is computed at the same time, in how much memory. */
extern const sl_option sl_options_context[], sl_options_threads[], sl_options_chunk[],
    sl_options_sequences[], sl_options_memory[];

/* What the cache keeps: the policy, how much of which tokens, in which type; and what each layer
 * kept before, from which its share of the memory is planned. */
extern const sl_option sl_options_kv[], sl_options_policy[], sl_options_sinks[],
    sl_options_window[], sl_options_retention[];

/* Between ranks: how activations travel; when a rank is lost, whether models are compared. */
extern const sl_option sl_options_codec[], sl_options_ranks[];

/* How much is said, and in which form; all commands take it. */
extern const sl_option sl_options_talk[];

/* All commands that serve requests over all ranks take these groups. */
#define SL_OPTIONS_SERVING                                                                  \
    sl_options_lora, sl_options_memory, sl_options_codec, sl_options_kv, sl_options_policy, \
        sl_options_retention, sl_options_sinks, sl_options_window, sl_options_ranks

#endif
