/* launch/openai/request_messages.c - see request_messages.h. A template is given what it would be
 * by transformers, in the form that it takes (sl_chat_form): contents as texts or parts, arguments
 * of calls as objects or texts. */
#include "launch/openai/request_messages.h"

#include <stdlib.h>
#include <string.h>

#include "launch/json/jinja_from_json.h"
#include "launch/openai/request_fields.h"
#include "launch/openai/request_json.h"
#include "launch/openai/request_line.h"

typedef struct {
    const sl_request_reader *reader;
    sl_request *request;
    sl_jinja_memory *memory;
    size_t bytes; /* of contents so far */
} conversation;

/* ---- contents ---- */

static sl_jinja_value given_text(conversation *c, const json_t *string)
{
    return sl_jinja_string_copy(c->memory, json_string_value(string), json_string_length(string),
                                SL_JINJA_GIVEN);
}

static bool is_text_part(const json_t *part)
{
    return sl_request_json_is(json_object_get(part, "type"), "text") &&
           json_is_string(json_object_get(part, "text"));
}

/* Parts become one text with a line end between two of them. */
static sl_jinja_value join_parts(conversation *c, const json_t *parts)
{
    static const sl_jinja_text line_end = {.data = "\n", .bytes = 1, .origin = SL_JINJA_GIVEN};
    sl_jinja_builder joined;
    size_t i;
    json_t *part;
    sl_jinja_build(&joined, c->memory);
    json_array_foreach(parts, i, part)
    {
        const json_t *text = json_object_get(part, "text");
        if (i > 0) sl_jinja_add(&joined, line_end);
        sl_jinja_add(&joined, (sl_jinja_text){.data = json_string_value(text),
                                              .bytes = json_string_length(text),
                                              .origin = SL_JINJA_GIVEN});
    }
    return sl_jinja_string(c->memory, sl_jinja_built(&joined));
}

/* The template walks parts of messages of this role itself. */
static bool takes_parts(const conversation *c, const json_t *role)
{
    const sl_chat_form *form = sl_chat_form_of(c->reader->chat);
    if (sl_request_json_is(role, "developer")) return form->parts[SL_CHAT_SYSTEM];
    for (size_t i = 0; i < SL_CHAT_N_ROLES; i++)
        if (sl_request_json_is(role, sl_chat_role_names[i])) return form->parts[i];
    return false;
}

static bool read_parts(conversation *c, const json_t *message, const json_t *parts, size_t index,
                       sl_jinja_value *out)
{
    size_t i;
    json_t *part;
    json_array_foreach(parts, i, part)
    {
        if (is_text_part(part)) {
            c->bytes += json_string_length(json_object_get(part, "text"));
            continue;
        }
        sl_request_fail(c->request, 400, "unsupported_value", "messages",
                        "message %zu: part %zu of its content is not of type text", index, i);
        return false;
    }
    *out = takes_parts(c, json_object_get(message, "role")) ? sl_jinja_from_json(c->memory, parts)
                                                            : join_parts(c, parts);
    return true;
}

/* ---- calls of tools ---- */

/* Arguments as the template takes them: those that are the text of an object become it, nothing is
 * an object without members, and an object becomes its text where the template adds texts up. */
static sl_jinja_value arguments_of(conversation *c, const json_t *given)
{
    const char *text = json_string_value(given);
    const size_t bytes = json_string_length(given);
    json_t *object = NULL;
    if (text) object = bytes > 0 ? sl_request_json_load(text, bytes, NULL) : json_object();
    const json_t *meant = json_is_object(object) ? object : given;
    sl_jinja_value value = sl_jinja_from_json(c->memory, meant);
    if (sl_chat_form_of(c->reader->chat)->text_arguments && !json_is_string(meant)) {
        char *dumped = json_dumps(meant, JSON_ENCODE_ANY);
        c->memory->refused |= !dumped;
        if (dumped) value = sl_jinja_string_copy(c->memory, dumped, strlen(dumped), SL_JINJA_GIVEN);
        free(dumped);
    }
    json_decref(object);
    return value;
}

static sl_jinja_value call_of(conversation *c, json_t *call)
{
    const json_t *arguments = json_object_get(json_object_get(call, "function"), "arguments");
    const sl_jinja_value value = sl_jinja_from_json(c->memory, call);
    const sl_jinja_value *held = value.kind == SL_JINJA_DICT
                                     ? sl_jinja_dict_find_text(value.dict,
                                                               sl_jinja_text_own("function"))
                                     : NULL;
    if (held && arguments)
        sl_jinja_dict_set_own(c->memory, *held, "arguments", arguments_of(c, arguments));
    return value;
}

/* False, and the request's error: they are no calls. Absent: the message has none. */
static bool read_calls(conversation *c, const json_t *message, size_t index, sl_jinja_value *out)
{
    const json_t *calls = sl_request_json_field(message, "tool_calls");
    size_t i;
    json_t *call;
    *out = (sl_jinja_value){.kind = SL_JINJA_ABSENT};
    if (!calls || json_is_false(calls) || (json_is_array(calls) && json_array_size(calls) == 0))
        return true;
    const sl_jinja_value list = sl_jinja_list_new(c->memory, SL_JINJA_LIST);
    bool right = json_is_array(calls);
    json_array_foreach(calls, i, call)
    {
        const json_t *function = json_object_get(call, "function");
        right = right && json_is_string(json_object_get(function, "name"));
        if (right) sl_jinja_list_add(c->memory, list, call_of(c, call));
    }
    if (!right)
        sl_request_fail(c->request, 400, "invalid_value", "messages",
                        "message %zu: 'tool_calls' must be an array of calls, each with a "
                        "'function' that has a 'name'",
                        index);
    *out = list;
    return right;
}

/* ---- messages ---- */

/* What would be part of the prompt if templates knew it. */
static bool has_more(conversation *c, const json_t *message, size_t index)
{
    static const char *const unsupported[] = {"function_call", "audio", "prefix", "partial", NULL};
    for (size_t i = 0; unsupported[i]; i++) {
        const json_t *field = sl_request_json_field(message, unsupported[i]);
        const bool empty = json_is_false(field) ||
                           (json_is_array(field) && json_array_size(field) == 0);
        if (!field || empty) continue;
        sl_request_fail(c->request, 400, "unsupported_value", "messages",
                        "message %zu: '%s' is not supported", index, unsupported[i]);
        return true;
    }
    return false;
}

/* A developer is who o1 and its kin call the system. */
static sl_jinja_value role_of(conversation *c, const json_t *role)
{
    const bool developer = sl_request_json_is(role, "developer");
    return sl_chat_role(c->memory,
                        developer ? (sl_text){"system", 6}
                                  : (sl_text){json_string_value(role), json_string_length(role)});
}

/* The message as a template reads it. False: the request has its error. */
static bool put_message(conversation *c, const json_t *message, size_t index, sl_jinja_value list)
{
    static const char *const also[] = {"name", "tool_call_id", "reasoning_content", "reasoning"};
    const json_t *content = sl_request_json_field(message, "content");
    const sl_jinja_value dict = sl_jinja_dict_new(c->memory);
    sl_jinja_value said = sl_jinja_none, calls;
    if (!read_calls(c, message, index, &calls)) return false;
    if (json_is_array(content)) {
        if (!read_parts(c, message, content, index, &said)) return false;
    } else if (content) {
        said = given_text(c, content);
        c->bytes += json_string_length(content);
    } else if (calls.kind == SL_JINJA_ABSENT || !sl_chat_form_of(c->reader->chat)->none_content) {
        said = sl_jinja_string(c->memory, sl_jinja_text_own(""));
    }
    sl_jinja_dict_set_own(c->memory, dict, "role", role_of(c, json_object_get(message, "role")));
    sl_jinja_dict_set_own(c->memory, dict, "content", said);
    if (calls.kind != SL_JINJA_ABSENT) sl_jinja_dict_set_own(c->memory, dict, "tool_calls", calls);
    for (size_t i = 0; i < sizeof also / sizeof *also; i++) {
        const json_t *field = sl_request_json_field(message, also[i]);
        if (json_is_string(field))
            sl_jinja_dict_set_own(c->memory, dict, also[i], given_text(c, field));
    }
    sl_jinja_list_add(c->memory, list, dict);
    return sl_request_fits_context(c->reader, c->bytes, "messages", c->request);
}

static bool read_message(conversation *c, json_t *message, size_t index, sl_jinja_value list)
{
    static const char *const known[] = {"role",      "content",           "name",
                                        "refusal",   "annotations",       "tool_calls",
                                        "audio",     "tool_call_id",      "function_call",
                                        "reasoning", "reasoning_content", "cache_control",
                                        "prefix",    "partial",           NULL};
    if (has_more(c, message, index)) return false;
    const json_t *role = json_object_get(message, "role");
    const json_t *content = sl_request_json_field(message, "content");
    /* An assistant may have had nothing to say. */
    const bool silent = !content && sl_request_json_is(role, "assistant");
    if (!json_is_string(role) || !(silent || json_is_string(content) || json_is_array(content))) {
        sl_request_fail(c->request, 400, "invalid_value", "messages",
                        "message %zu must be an object with a role and a content, which is a "
                        "text or an array of parts",
                        index);
        return false;
    }
    sl_request_warn_unknown_of(c->reader, message, known, "messages");
    return put_message(c, message, index, list);
}

/* ---- the conversation ---- */

static bool put_messages(conversation *c, const json_t *body, sl_jinja_value names)
{
    const json_t *list = sl_request_json_field(body, "messages");
    const size_t n = json_array_size(list);
    if (n == 0) {
        sl_request_fail(c->request, 400, list ? "invalid_value" : "missing_required_parameter",
                        "messages", "'messages' must be an array of at least one message");
        return false;
    }
    const sl_jinja_value messages = sl_jinja_list_new(c->memory, SL_JINJA_LIST);
    for (size_t i = 0; i < n; i++)
        if (!read_message(c, json_array_get(list, i), i, messages)) return false;
    sl_jinja_dict_set_own(c->memory, names, "messages", messages);
    return true;
}

/* Tools, and chat_template_kwargs, each of which the template knows by its name. Nothing is in
 * `names` yet. */
static bool put_others(conversation *c, const json_t *body, sl_jinja_value names)
{
    const json_t *kwargs = sl_request_json_field(body, "chat_template_kwargs");
    const json_t *tools = sl_request_json_field(body, "tools");
    const char *name;
    json_t *value;
    if (kwargs && !json_is_object(kwargs)) {
        sl_request_fail(c->request, 400, "invalid_type", "chat_template_kwargs",
                        "'chat_template_kwargs' must be an object");
        return false;
    }
    if (tools && !json_is_array(tools)) {
        sl_request_fail(c->request, 400, "invalid_type", "tools", "'tools' must be an array");
        return false;
    }
    json_object_foreach((json_t *)kwargs, name, value)
    {
        const sl_jinja_value key = sl_jinja_string_copy(c->memory, name, strlen(name),
                                                        SL_JINJA_GIVEN);
        sl_jinja_dict_add(c->memory, names, key, sl_jinja_from_json(c->memory, value));
    }
    if (json_array_size(tools) > 0)
        sl_jinja_dict_set_own(c->memory, names, "tools", sl_jinja_from_json(c->memory, tools));
    return true;
}

/* A line that is longer need not be printed whole. */
static sl_chat_bounds bounds_of(const sl_request_reader *reader, size_t line_bytes)
{
    const size_t most = sl_request_context_bytes(reader);
    const size_t given = line_bytes < most ? line_bytes : most;
    const size_t printed = sl_chat_printed_bytes_max(given);
    return (sl_chat_bounds){.given_bytes = given, .printed_bytes = printed < most ? printed : most};
}

size_t sl_request_messages_bytes(const sl_request_reader *reader, size_t line_bytes)
{
    const sl_chat_bounds bounds = bounds_of(reader, line_bytes);
    return sl_chat_render_bytes(bounds.given_bytes) + SL_ENCODE_BYTES * bounds.printed_bytes;
}

static void fail_with(const sl_request_reader *reader, const sl_jinja_error *error,
                      const sl_chat_bounds *bounds, sl_request *request)
{
    if (error->cause == SL_JINJA_TOO_LONG &&
        bounds->printed_bytes == sl_request_context_bytes(reader))
        sl_request_fail(request, 400, "context_length_exceeded", "messages",
                        "the chat template prints more than %zu bytes of messages and tools, which "
                        "cannot fit in the context of %u tokens",
                        bounds->printed_bytes, reader->context);
    else
        sl_request_fail(request, 400, "invalid_value", "messages", "%s", error->text);
}

sl_status sl_request_messages_read(const sl_request_reader *reader, const json_t *body,
                                   size_t line_bytes, sl_request *request, sl_tokens *out)
{
    sl_jinja_memory memory;
    sl_jinja_memory_init(&memory, SIZE_MAX);
    conversation c = {.reader = reader, .request = request, .memory = &memory};
    const sl_chat_bounds bounds = bounds_of(reader, line_bytes);
    const sl_jinja_value names = sl_jinja_dict_new(&memory);
    sl_status status = SL_OK;
    if (put_others(&c, body, names) && put_messages(&c, body, names)) {
        sl_jinja_error error;
        status = sl_chat_encode_names(reader->chat, &memory, names, &bounds, out, &request->thought,
                                      &error);
        if (status == SL_ERR_REQUEST) {
            fail_with(reader, &error, &bounds, request);
            status = SL_OK;
        }
    }
    sl_jinja_memory_fini(&memory);
    return status;
}
