/* runtime/text/chat_probe.c - see chat_probe.h. A word stands in each place that matters, and is
 * looked for in what was printed. */
#include "runtime/text/chat_probe.h"

#include <string.h>

const char *const sl_chat_role_names[SL_CHAT_N_ROLES] = {"system", "user", "assistant", "tool"};

static const sl_jinja_limits LIMITS = {
    .steps = 1000000, .depth = 200, .memory_bytes = 8 << 20, .output_bytes = 1 << 20};

/* The first of January 2024, for templates that print the date: which one does not matter. */
static const struct tm ANY_DATE = {.tm_year = 124, .tm_mday = 1, .tm_wday = 1};

/* Mistral's templates want ids of nine letters and digits. */
static const char CALL_ID[] = "call00001";

typedef struct {
    sl_jinja_memory memory;
    sl_jinja_value names, messages;
} conversation;

/* ---- making conversations ---- */

static sl_jinja_value text_of(conversation *c, const char *text)
{
    return sl_jinja_string(&c->memory, sl_jinja_text_own(text));
}

static void set(conversation *c, sl_jinja_value dict, const char *key, sl_jinja_value value)
{
    sl_jinja_dict_set_own(&c->memory, dict, key, value);
}

static void set_text(conversation *c, sl_jinja_value dict, const char *key, const char *text)
{
    set(c, dict, key, text_of(c, text));
}

static sl_jinja_value list_of(conversation *c, sl_jinja_value item)
{
    const sl_jinja_value list = sl_jinja_list_new(&c->memory, SL_JINJA_LIST);
    sl_jinja_list_add(&c->memory, list, item);
    return list;
}

/* One tool. Its parameter is not the argument that is looked for. */
static sl_jinja_value tools_of(conversation *c)
{
    const sl_jinja_value parameter = sl_jinja_dict_new(&c->memory),
                         properties = sl_jinja_dict_new(&c->memory),
                         parameters = sl_jinja_dict_new(&c->memory),
                         function = sl_jinja_dict_new(&c->memory),
                         tool = sl_jinja_dict_new(&c->memory);
    set_text(c, parameter, "type", "string");
    set_text(c, parameter, "description", "a parameter");
    set(c, properties, "other_arg", parameter);
    set_text(c, parameters, "type", "object");
    set(c, parameters, "properties", properties);
    set(c, parameters, "required", list_of(c, text_of(c, "other_arg")));
    set_text(c, function, "name", "probe_tool");
    set_text(c, function, "description", "a tool");
    set(c, function, "parameters", parameters);
    set_text(c, tool, "type", "function");
    set(c, tool, "function", function);
    return list_of(c, tool);
}

static void begin(conversation *c)
{
    *c = (conversation){0};
    sl_jinja_memory_init(&c->memory, LIMITS.memory_bytes);
    c->names = sl_jinja_dict_new(&c->memory);
    c->messages = sl_jinja_list_new(&c->memory, SL_JINJA_LIST);
    set(c, c->names, "messages", c->messages);
    set(c, c->names, "add_generation_prompt", sl_jinja_boolean(true));
    set(c, c->names, "documents", sl_jinja_none);
    set(c, c->names, "tools", sl_jinja_none);
    set_text(c, c->names, "bos_token", "");
    set_text(c, c->names, "eos_token", "");
}

static sl_jinja_value say(conversation *c, sl_chat_role_kind role, sl_jinja_value content)
{
    const sl_jinja_value message = sl_jinja_dict_new(&c->memory);
    set_text(c, message, "role", sl_chat_role_names[role]);
    set(c, message, "content", content);
    sl_jinja_list_add(&c->memory, c->messages, message);
    return message;
}

/* The assistant calls the tool. */
static void say_call(conversation *c, sl_jinja_value content, sl_jinja_value arguments)
{
    const sl_jinja_value function = sl_jinja_dict_new(&c->memory),
                         call = sl_jinja_dict_new(&c->memory);
    set_text(c, function, "name", "probe_tool");
    set(c, function, "arguments", arguments);
    set_text(c, call, "id", CALL_ID);
    set_text(c, call, "type", "function");
    set(c, call, "function", function);
    set(c, say(c, SL_CHAT_ASSISTANT, content), "tool_calls", list_of(c, call));
    set(c, c->names, "tools", tools_of(c));
}

static void say_result(conversation *c, sl_jinja_value content)
{
    const sl_jinja_value message = say(c, SL_CHAT_TOOL, content);
    set_text(c, message, "tool_call_id", CALL_ID);
    set_text(c, message, "name", "probe_tool");
}

/* ---- looking at what is printed ---- */

/* Prints the conversation and ends it. NULL text: it is refused, and *error_out has the cause if
 * the template is it. now: what strftime_now tells, or NULL. */
static sl_jinja_output print_on(const sl_jinja *jinja, conversation *c, const struct tm *now,
                                sl_jinja_error *error_out)
{
    const sl_jinja_options options = {.limits = LIMITS, .now = now};
    sl_jinja_output printed = {0};
    *error_out = (sl_jinja_error){0};
    if (!c->memory.refused) sl_jinja_run(jinja, c->names, &options, &printed, error_out);
    sl_jinja_memory_fini(&c->memory);
    return printed;
}

static sl_jinja_output print(const sl_jinja *jinja, conversation *c)
{
    sl_jinja_error error;
    return print_on(jinja, c, &ANY_DATE, &error);
}

static bool probe_needs_date(const sl_jinja *jinja)
{
    conversation c;
    sl_jinja_error error;
    begin(&c);
    say(&c, SL_CHAT_USER, text_of(&c, "Hi"));
    sl_jinja_output printed = print_on(jinja, &c, NULL, &error);
    const bool needs_date = !printed.text && error.cause == SL_JINJA_TIME_UNSET;
    sl_jinja_output_free(&printed);
    return needs_date;
}

static size_t count(const sl_jinja_output *printed, const char *word)
{
    size_t n = 0;
    const char *at = printed->text;
    while (at && (at = strstr(at, word))) {
        n++;
        at += strlen(word);
    }
    return n;
}

/* ---- calls of tools ---- */

static sl_jinja_output print_call(const sl_jinja *jinja, sl_chat_form form)
{
    conversation c;
    begin(&c);
    const sl_jinja_value object = sl_jinja_dict_new(&c.memory);
    set_text(&c, object, "probe_arg", "probe_value");
    say(&c, SL_CHAT_USER, text_of(&c, "Hi"));
    say_call(&c, form.none_content ? sl_jinja_none : text_of(&c, ""),
             form.text_arguments ? text_of(&c, "{\"probe_arg\": \"probe_value\"}") : object);
    say_result(&c, text_of(&c, "21"));
    say(&c, SL_CHAT_ASSISTANT, text_of(&c, "It is 21"));
    say(&c, SL_CHAT_USER, text_of(&c, "Bye"));
    return print(jinja, &c);
}

/* The arguments are there, and neither as Python writes a dictionary nor as JSON within JSON. */
static bool shows_call(const sl_jinja_output *printed)
{
    return count(printed, "probe_arg") > 0 && count(printed, "probe_value") > 0 &&
           count(printed, "'probe_arg'") == 0 && count(printed, "\\\"probe_arg") == 0;
}

static size_t count_nothings(const sl_jinja_output *printed)
{
    return count(printed, "None") + count(printed, "null");
}

static bool prints_same(const sl_jinja_output *a, const sl_jinja_output *b)
{
    return a->text && b->text && strcmp(a->text, b->text) == 0;
}

/* Whether calls are shown with arguments in this form; if so, form->none_content says what content
 * they are shown with. None is what transformers hands over, and is taken where it makes a
 * difference and is not printed as a word. */
static bool probe_call(const sl_jinja *jinja, sl_chat_form *form)
{
    sl_chat_form with_none = *form;
    with_none.none_content = true;
    sl_jinja_output empty = print_call(jinja, *form), none = print_call(jinja, with_none);
    const bool empty_shows = shows_call(&empty);
    const bool none_shows = shows_call(&none) && count_nothings(&none) <= count_nothings(&empty);
    const bool same = empty_shows && none_shows && prints_same(&empty, &none);
    form->none_content = none_shows && !same;
    sl_jinja_output_free(&empty);
    sl_jinja_output_free(&none);
    return empty_shows || none_shows;
}

/* ---- parts ---- */

static sl_jinja_value part_of(conversation *c, const char *text)
{
    const sl_jinja_value part = sl_jinja_dict_new(&c->memory);
    set_text(c, part, "type", "text");
    set_text(c, part, "text", text);
    return part;
}

/* Both of two parts are printed, and not as Python writes a list of dictionaries. */
static bool probe_parts(const sl_jinja *jinja, sl_chat_role_kind role)
{
    conversation c;
    begin(&c);
    const sl_jinja_value parts = list_of(&c, part_of(&c, "probe_one"));
    sl_jinja_list_add(&c.memory, parts, part_of(&c, "probe_two"));
    if (role == SL_CHAT_SYSTEM) say(&c, role, parts);
    say(&c, SL_CHAT_USER, role == SL_CHAT_USER ? parts : text_of(&c, "Hi"));
    if (role == SL_CHAT_TOOL) {
        say_call(&c, text_of(&c, ""), sl_jinja_dict_new(&c.memory));
        say_result(&c, parts);
    }
    if (role == SL_CHAT_ASSISTANT) {
        say(&c, role, parts);
        say(&c, SL_CHAT_USER, text_of(&c, "Bye"));
    }
    sl_jinja_output printed = print(jinja, &c);
    const bool shows = count(&printed, "probe_one") == 1 && count(&printed, "probe_two") == 1 &&
                       count(&printed, "'text'") == 0 && count(&printed, "\"text\"") == 0;
    sl_jinja_output_free(&printed);
    return shows;
}

sl_chat_form sl_chat_probe(const sl_jinja *jinja)
{
    sl_chat_form objects = {.text_arguments = false}, texts = {.text_arguments = true};
    const bool takes_texts = !probe_call(jinja, &objects) && probe_call(jinja, &texts);
    sl_chat_form form = takes_texts ? texts : objects;
    for (int role = 0; role < SL_CHAT_N_ROLES; role++)
        form.parts[role] = probe_parts(jinja, (sl_chat_role_kind)role);
    form.needs_date = probe_needs_date(jinja);
    return form;
}
