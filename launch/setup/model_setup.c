/* launch/setup/model_setup.c - see model_setup.h. */
#include "launch/setup/model_setup.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include "launch/options/written.h"
#include "launch/setup/lora_choice.h"
#include "launch/setup/policy_choice.h"
#include "launch/setup/retention.h"
#include "runtime/base/log.h"
#include "runtime/base/read_file.h"

/* ---- one part each ---- */

static sl_status open_kernels(sl_model_setup *m) { return sl_kernels_choose(&m->kernels); }
static sl_status open_shape(sl_model_setup *m) { return sl_model_shape_read(m->gguf, &m->shape); }

/* Options were compared with the file that was given; here are its other parts, too. Rank 0 writes
 * for all. */
static sl_status open_file(sl_model_setup *m)
{
    sl_status status = sl_gguf_open(m->model, &m->gguf);
    if (status != SL_OK || m->rank != 0) return status;
    for (size_t i = 0; i < sl_gguf_n_parts(m->gguf) && status == SL_OK; i++)
        status = sl_written_check(m->settings, "-m", sl_gguf_part_path(m->gguf, i));
    return status;
}

static sl_status open_kv(sl_model_setup *m)
{
    return sl_kv_type_choose(m->settings->kv, m->kernels, m->shape.head_dim, &m->kv);
}

static sl_status open_gate(sl_model_setup *m)
{
    const char *path = m->settings->gate;
    return path ? sl_gate_file_open(path, &m->gate_file) : SL_OK;
}

static sl_status check_gate_fits(sl_model_setup *m)
{
    const sl_model_shape *s = &m->shape;
    const sl_gate *gate = sl_model_setup_gate(m);
    if (!gate) return SL_OK;
    sl_status status = sl_gate_fits(gate, m->settings->gate, s->n_layers, s->n_kv_heads, s->width);
    for (uint32_t i = 0; status == SL_OK && i < s->n_layers; i++) {
        if (!sl_sliding_window(s, i) || gate->layers[i].shape.span == SL_GATE_ABSENT) continue;
        sl_error("%s has a gate for layer %u, which has a sliding window of %u tokens and no other "
                 "cache: make gates for this model with train init",
                 m->settings->gate, i, sl_sliding_window(s, i));
        return SL_ERR_FORMAT;
    }
    return status;
}

static sl_status open_lora(sl_model_setup *m)
{
    return sl_lora_choose(m->settings, m->gguf, &m->shape, &m->lora);
}

static sl_status open_policy(sl_model_setup *m)
{
    sl_status status = sl_policy_choose(m->settings, sl_model_setup_gate(m), m->rank == 0,
                                        &m->policy);
    const sl_gate *gate = status == SL_OK ? sl_model_setup_policy_gate(m) : NULL;
    if (gate && m->rank == 0) sl_lora_check_gate(&m->lora, gate, m->settings->gate);
    return status;
}

static sl_status open_tokenizer(sl_model_setup *m)
{
    return sl_tokenizer_open(m->gguf, &m->tokenizer);
}

/* One that the user gave is wrong from the start; the file's is so for chat requests alone. */
static sl_status open_template(sl_model_setup *m)
{
    char *text;
    size_t bytes;
    if (!m->settings->chat_template) return sl_chat_open(m->gguf, m->tokenizer, &m->chat);
    sl_status status = sl_read_file(m->settings->chat_template, &text, &bytes);
    if (status != SL_OK) return status;
    m->chat_template_hash = XXH3_64bits(text, bytes);
    status = sl_chat_open_template((sl_text){text, bytes}, m->tokenizer, &m->chat);
    free(text);
    const char *wrong = status == SL_OK ? sl_chat_wrong(m->chat) : NULL;
    if (!wrong) return status;
    sl_error("%s: %s", m->settings->chat_template, wrong);
    return SL_ERR_OPTION;
}

/* A day that there is, written as ISO 8601 has it. */
static bool read_date(const char *text, struct tm *date_out)
{
    struct tm date = {0};
    const char *end = strlen(text) == 10 ? strptime(text, "%Y-%m-%d", &date) : NULL;
    const struct tm written = date;
    if (!end || *end != '\0' || timegm(&date) == -1) return false;
    *date_out = date;
    return written.tm_mday == date.tm_mday && written.tm_mon == date.tm_mon;
}

static sl_status open_chat(sl_model_setup *m)
{
    const char *text = m->settings->template_date;
    struct tm date;
    if (text && !read_date(text, &date)) {
        sl_error("--template-date %s is no date: give one as YYYY-MM-DD, such as 2025-03-04", text);
        return SL_ERR_OPTION;
    }
    const sl_status status = open_template(m);
    if (status == SL_OK && m->chat && text) sl_chat_set_date(m->chat, date);
    return status;
}

static const struct {
    sl_setup_part part;
    unsigned needs;
    sl_status (*open)(sl_model_setup *m);
} STEPS[] = {
    {SL_SETUP_KERNELS, 0, open_kernels},
    {SL_SETUP_FILE, 0, open_file},
    {SL_SETUP_SHAPE, SL_SETUP_FILE, open_shape},
    {SL_SETUP_KV, SL_SETUP_KERNELS | SL_SETUP_SHAPE, open_kv},
    {SL_SETUP_GATE, 0, open_gate},
    {SL_SETUP_GATE_FITS, SL_SETUP_GATE | SL_SETUP_SHAPE, check_gate_fits},
    {SL_SETUP_LORA, SL_SETUP_SHAPE, open_lora},
    {SL_SETUP_POLICY, SL_SETUP_GATE_FITS | SL_SETUP_LORA, open_policy},
    {SL_SETUP_TOKENIZER, SL_SETUP_FILE, open_tokenizer},
    {SL_SETUP_CHAT, SL_SETUP_TOKENIZER, open_chat},
};
enum { N_STEPS = sizeof STEPS / sizeof *STEPS };

/* ---- all of them ---- */

/* Needs come earlier in the table, so one way back through it finds them all. */
static unsigned with_needs(unsigned parts)
{
    for (int i = N_STEPS - 1; i >= 0; i--)
        if (parts & STEPS[i].part) parts |= STEPS[i].needs;
    return parts;
}

sl_status sl_model_setup_open(sl_model_setup *setup, unsigned parts)
{
    unsigned missing = with_needs(parts) & ~setup->opened;
    for (int i = 0; i < N_STEPS; i++) {
        if (!(missing & STEPS[i].part)) continue;
        sl_status status = STEPS[i].open(setup);
        if (status != SL_OK) return status;
        setup->opened |= STEPS[i].part;
    }
    return SL_OK;
}

void sl_model_setup_close(sl_model_setup *setup)
{
    sl_chat_close(setup->chat);
    sl_tokenizer_close(setup->tokenizer);
    sl_lora_close(&setup->lora);
    sl_gate_file_close(setup->gate_file);
    sl_gguf_close(setup->gguf);
    *setup = (sl_model_setup){0};
}

const sl_gate *sl_model_setup_gate(const sl_model_setup *setup)
{
    return setup->gate_file ? sl_gate_file_gate(setup->gate_file) : NULL;
}

const sl_gate *sl_model_setup_policy_gate(const sl_model_setup *setup)
{
    return setup->policy.kind == SL_POLICY_GATE ? sl_model_setup_gate(setup) : NULL;
}

sl_status sl_model_setup_check_gate(const sl_model_setup *setup, uint64_t tensors_hash)
{
    const sl_gate *gate = sl_model_setup_gate(setup);
    if (!gate) return SL_OK;
    return sl_gate_fits_hash(gate, setup->settings->gate, tensors_hash, setup->model);
}

sl_status sl_model_setup_expect(const sl_model_setup *setup, double *keep_out)
{
    const sl_model_shape *s = &setup->shape;
    const sl_policy *policy = &setup->policy;
    const char *measured = setup->settings->retention;
    bool at_prompt_end = sl_policy_at_prompt_end(policy->kind);
    if (measured && at_prompt_end && setup->rank == 0)
        sl_info("--policy %s ignores --retention: until a prompt ends all of it is kept",
                sl_policy_name(policy->kind));
    if (measured && !at_prompt_end) return sl_retention_read(measured, s, keep_out);
    sl_policy_expect(policy, sl_model_setup_policy_gate(setup), s->n_layers, s->n_kv_heads,
                     keep_out);
    return SL_OK;
}
