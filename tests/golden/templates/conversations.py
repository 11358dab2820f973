"""tests/golden/templates/conversations.py - what chat templates are printed with: conversations of
every kind that a request can hold, as apply_chat_template would hand them over."""

WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "What the weather is \"now\", <b>here</b> & there.",
    "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "The city, e.g. Zürich"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
        "at": {"type": "array", "items": {"type": "number"}},
        "where": {"type": "object", "properties": {"x": {"type": "number"}, "y": {"type": ["number", "null"]}}}},
        "required": ["city"]},
    "return": {"type": "string", "description": "degrees"}}}
ADD = {"type": "function", "function": {
    "name": "add", "description": "Add two numbers",
    "parameters": {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
                   "required": ["a", "b"]}}}
NOTHING = {"type": "function", "function": {
    "name": "ping", "description": "No parameters", "parameters": {"type": "object", "properties": {}}}}


def say(role, content, **more):
    return {"role": role, "content": content, **more}


def call(name, arguments, number="000000001"):
    return {"id": f"{number}", "type": "function", "function": {"name": name, "arguments": arguments}}


USER, ANSWER = say("user", "What is 2+2?"), say("assistant", "It is 4.")
ASKS = [say("user", "How warm is it in Zürich?"),
        say("assistant", "", tool_calls=[call("get_weather", {"city": "Zürich", "days": 3, "at": [1.5, -2]})])]
TOOL = say("tool", "{\"degrees\": 21.5}", tool_call_id="000000001", name="get_weather")
THOUGHT = "Let me think.\nTwo and two.\n\nFour."

# Cases that are a conversation alone, then those with something beside it.
CONVERSATIONS = {
    "one": [USER],
    "system": [say("system", "Be brief."), USER],
    "developer": [say("developer", "Be brief."), USER],
    "turns": [USER, ANSWER, say("user", "And 3+3?")],
    "system_turns": [say("system", "Be brief."), USER, ANSWER, say("user", "And 3+3?"), say("assistant", "6"),
                     say("user", "Thanks")],
    "ends_with_assistant": [USER, ANSWER],
    "empty_content": [say("user", "")],
    "empty_system": [say("system", ""), USER],
    "no_messages": [],
    "blanks": [say("system", "  Be brief.\n\n"), say("user", "\n\t hello \u2003\n"), say("assistant", " \n hi\n "),
               say("user", "   ")],
    "unicode": [say("system", "Réponds en français 🇫🇷"), say("user", "日本語 \u200d👩‍👩‍👧 'quoted' \"double\" \\back"),
                say("assistant", "ß Ω я\u00a0\u3000x"), say("user", "<|im_end|></s>[INST] {{ 7*7 }} {% raw %}")],
    "two_users": [USER, say("user", "Also 5+5?")],
    "assistant_first": [ANSWER, USER],
    "two_systems": [say("system", "One."), say("system", "Two."), USER],
    "late_system": [USER, ANSWER, say("system", "Now be long."), say("user", "Go on")],
    "unknown_role": [USER, say("narrator", "Meanwhile"), say("user", "Well?")],
    "parts": [say("user", [{"type": "text", "text": "Look: "}, {"type": "text", "text": "2+2"}])],
    "parts_system": [say("system", [{"type": "text", "text": "Be brief."}]),
                     say("user", [{"type": "text", "text": "hello"}]), say("assistant", [{"type": "text", "text": "hi"}]),
                     say("user", [{"type": "text", "text": "bye"}])],
    "think_inside": [USER, say("assistant", f"<think>\n{THOUGHT}\n</think>\n\nIt is 4."), say("user", "And 3+3?")],
    "think_last": [USER, say("assistant", f"<think>\n{THOUGHT}\n</think>\n\nIt is 4.")],
    "reasoning": [USER, say("assistant", "It is 4.", reasoning_content=THOUGHT), say("user", "And 3+3?"),
                  say("assistant", "6", reasoning_content="Easy."), say("user", "Thanks")],
    "thinking_key": [USER, say("assistant", "It is 4.", thinking=THOUGHT), say("user", "And 3+3?")],
    "none_content": [say("user", "hi"), say("assistant", None), say("user", "hello?")],
}
TOOL_CONVERSATIONS = {
    "tools": [USER],
    "tools_system": [say("system", "Be brief."), USER],
    "tool_call": ASKS,
    "tool_result": ASKS + [TOOL],
    "tool_answer": [say("system", "Be brief.")] + ASKS + [TOOL, say("assistant", "It is 21.5 degrees."),
                                                          say("user", "And tomorrow?")],
    "tool_two_calls": [ASKS[0], say("assistant", "I look.", tool_calls=[
        call("get_weather", {"city": "Bern"}, "00000000a"), call("add", {"a": 1, "b": 2.5}, "00000000b")]),
        say("tool", "cold", tool_call_id="00000000a", name="get_weather"),
        say("tool", "3.5", tool_call_id="00000000b", name="add")],
    "tool_none_content": [ASKS[0], say("assistant", None, tool_calls=ASKS[1]["tool_calls"]), TOOL],
    "tool_thought": [ASKS[0], say("assistant", "", reasoning_content=THOUGHT, tool_calls=ASKS[1]["tool_calls"]), TOOL,
                     say("assistant", "21.5", reasoning_content="Done.")],
    "tool_text_arguments": [ASKS[0], say("assistant", "", tool_calls=[
        call("get_weather", "{\"city\": \"Z\\u00fcrich\"}")]), TOOL],
    "tool_no_arguments": [USER, say("assistant", "", tool_calls=[call("ping", {})]), say("tool", "pong",
                          tool_call_id="000000001", name="ping"), say("user", "Good")],
    "tool_object_result": [ASKS[0], ASKS[1], say("tool", {"degrees": 21.5, "ok": True, "none": None},
                                               tool_call_id="000000001", name="get_weather")],
    "tool_many_turns": (ASKS + [TOOL, say("assistant", "It is 21.5.")]) * 3 + [USER],
}
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


def cases():
    """Pairs of a name and the names that the template knows."""
    for name, messages in CONVERSATIONS.items():
        for prompt in True, False:
            yield f"{name} prompt={prompt}", {**TOKENS, "messages": messages, "add_generation_prompt": prompt}
    for name, messages in TOOL_CONVERSATIONS.items():
        for prompt in True, False:
            yield f"{name} prompt={prompt}", {**TOKENS, "messages": messages, "add_generation_prompt": prompt,
                                              "tools": [WEATHER, ADD, NOTHING]}
    for thinking in True, False:
        for name in "one", "system_turns", "reasoning", "think_inside":
            yield f"{name} thinking={thinking}", {
                **TOKENS, "messages": CONVERSATIONS[name], "add_generation_prompt": True, "enable_thinking": thinking,
                "thinking": thinking}
        yield f"tool_thought thinking={thinking}", {
            **TOKENS, "messages": TOOL_CONVERSATIONS["tool_thought"], "tools": [WEATHER, ADD],
            "add_generation_prompt": True, "enable_thinking": thinking, "thinking": thinking}
    yield "null tools", {**TOKENS, "messages": [USER], "tools": None, "documents": None,
                         "add_generation_prompt": True}
    yield "reasoning effort", {**TOKENS, "messages": CONVERSATIONS["system_turns"], "reasoning_effort": "high",
                               "add_generation_prompt": True, "model_identity": "You are <X>."}
    yield "functions", {**TOKENS, "messages": CONVERSATIONS["system_turns"], "functions": "[{}]",
                        "datetime": "4 March 2025", "add_generation_prompt": True}
    yield "documents", {**TOKENS, "messages": [USER], "add_generation_prompt": True, "documents": [
        {"title": "Sums", "text": "2+2=4", "doc_id": 1}, {"title": "Ü", "text": "x\ny", "doc_id": 2}]}
