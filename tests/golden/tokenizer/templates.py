"""Chat templates in a few lines each, for make_vocabs.py: they print for plain messages what the
models' own print. Written here from what is published of the models; some in other spellings than
theirs, on purpose."""

CHATML = """{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + \
'<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""

CHATML_SPACED = """{%- for message in messages %}
    {{- "<|im_start|>" + message.role + "\\n" }}
    {{- message.content + "<|im_end|>\\n" }}
{%- endfor %}
{#- the answer -#}
{%- if add_generation_prompt %}
    {{- "<|im_start|>assistant\\n" }}
{%- endif %}
"""

CHATML_DEFAULT = """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}\
{{ '<|im_start|>system\\nIt\\'s short.\\nOr "long".<|im_end|>\\n' }}{% endif %}{{'<|im_start|>' + \
message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""

QWEN25 = """{%- if tools %}
    {{- '<|im_start|>system\\n' + 'tools' }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou help.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or \
(message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "tool" %}
        {{- message.content }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

QWEN3 = """{%- if tools %}
    {{- '<|im_start|>system\\n' + 'tools' }}
{%- else %}
    {%- if messages[0].role == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(last_query_index=messages|length - 1, found=false) %}
{%- for message in messages[::-1] %}
    {%- if not ns.found and message.role == "user" and not (message.content.startswith('<tool_response>') \
and message.content.endswith('</tool_response>')) %}
        {%- set ns.found = true %}
        {%- set ns.last_query_index = messages|length - 1 - loop.index0 %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set content = message.content %}
        {%- set reasoning_content = '' %}
        {%- if '</think>' in message.content %}
            {%- set content = message.content.split('</think>')[-1].lstrip('\\n') %}
            {%- set reasoning_content = message.content.split('</think>')[0].rstrip('\\n').split('<think>')[-1]\
.lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index %}
            {%- if loop.last or (not loop.last and reasoning_content) %}
                {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + \
'\\n</think>\\n\\n' + content.lstrip('\\n') }}
            {%- else %}
                {{- '<|im_start|>' + message.role + '\\n' + content }}
            {%- endif %}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""

LLAMA2 = """{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}\
{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}\
{% set system_message = false %}{% endif %}{% for message in loop_messages %}\
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate') }}{% endif %}\
{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + \
'\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}\
{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}\
{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"""

LLAMA3 = """{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + \
'<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}\
{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}\
{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"""

LLAMA31 = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Cutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{%- if tools is not none and not tools_in_user_message %}
    {{- "functions" }}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- if tools_in_user_message and not tools is none %}
    {{- "functions" }}
{%- endif %}
{%- for message in messages %}
    {%- if not (message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + \
'<|eot_id|>' }}
    {%- elif message.role == "tool" %}
        {{- message.content }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""


def mistral_v0(after_eos):
    return """{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != \
(loop.index0 % 2 == 0) %}{{ raise_exception('alternate') }}{% endif %}{% if message['role'] == 'user' %}\
{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}\
{{ message['content'] + eos_token""" + after_eos + """ }}{% else %}{{ raise_exception('roles') }}{% endif %}\
{% endfor %}"""


def mistral(place, before, between, answer):
    """v1 has the system message in the first user's message, later ones in the last."""
    return f"""{{%- if messages[0]["role"] == "system" %}}
    {{%- set system_message = messages[0]["content"] %}}
    {{%- set loop_messages = messages[1:] %}}
{{%- else %}}
    {{%- set loop_messages = messages %}}
{{%- endif %}}
{{{{- bos_token }}}}
{{%- for message in loop_messages %}}
    {{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}}
        {{{{- raise_exception("alternate") }}}}
    {{%- endif %}}
    {{%- if message["role"] == "user" %}}
        {{%- if loop.{place} and system_message is defined %}}
            {{{{- "{before}" + system_message + "\\n\\n" + message["content"] + "{between}" }}}}
        {{%- else %}}
            {{{{- "{before}" + message["content"] + "{between}" }}}}
        {{%- endif %}}
    {{%- elif message["role"] == "assistant" %}}
        {{{{- {answer} + eos_token}}}}
    {{%- else %}}
        {{{{- raise_exception("roles") }}}}
    {{%- endif %}}
{{%- endfor %}}
"""


MISTRAL_V7 = """{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}\
{{ '[INST] ' + message['content'] + '[/INST]' }}{% elif message['role'] == 'system' %}\
{{ '[SYSTEM_PROMPT] ' + message['content'] + '[/SYSTEM_PROMPT]' }}{% elif message['role'] == 'assistant' %}\
{{ ' ' + message['content'] + eos_token }}{% else %}{{ raise_exception('roles') }}{% endif %}{% endfor %}"""

ZEPHYR = """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>
' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>
' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>
'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""

PHI3_OLD = """{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') %}\
{{'<|user|>' + '\\n' + message['content'] + '<|end|>' + '\\n' + '<|assistant|>' + '\\n'}}\
{% elif (message['role'] == 'assistant') %}{{message['content'] + '<|end|>' + '\\n'}}{% endif %}{% endfor %}"""


def phi3(system):
    return """{% for message in messages %}{% if """ + system + """ %}{{'<|system|>
' + message['content'] + '<|end|>
'}}{% elif message['role'] == 'user' %}{{'<|user|>
' + message['content'] + '<|end|>
'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>
' + message['content'] + '<|end|>
'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>
' }}{% else %}{{ eos_token }}{% endif %}"""


# name of the form in runtime/text/chat_forms.c, vocabulary, template
OWN = [
    ("chatml", "qwen2", CHATML),
    ("chatml", "qwen2", CHATML_SPACED),
    ("chatml with a default system message", "qwen2", CHATML_DEFAULT),
    ("qwen 2.5", "qwen2", QWEN25),
    ("qwen 3", "qwen2", QWEN3),
    ("llama 2", "llama-spm", LLAMA2),
    ("llama 3", "llama-bpe", LLAMA3),
    ("llama 3.1 to 3.3", "llama-bpe", LLAMA31),
    ("mistral 7B v0.1", "llama-spm", mistral_v0(" + ' '")),
    ("mistral 7B v0.2", "llama-spm", mistral_v0("")),
    ("mistral v1", "llama-spm", mistral("first", " [INST] ", " [/INST]", "' ' + message['content']")),
    ("mistral v3", "llama-spm", mistral("last", "[INST] ", "[/INST]", "' ' + message['content']|trim")),
    ("mistral nemo", "llama-spm", mistral("last", "[INST]", "[/INST]", "message['content']")),
    ("mistral v7", "llama-spm", MISTRAL_V7),
    ("zephyr", "llama-spm", ZEPHYR),
    ("phi 3, without a system message", "phi-3", PHI3_OLD),
    ("phi 3", "phi-3", phi3("message['role'] == 'system'")),
    ("phi 3.5", "phi-3", phi3("message['role'] == 'system' and message['content']")),
]
# The same from files of fetch_vocabs.sh
THEIRS = [
    ("chatml", "qwen2", "chatml.jinja"),
    ("qwen 2.5", "qwen2", "Qwen-Qwen2.5-7B-Instruct.jinja"),
    ("qwen 3", "qwen2", "Qwen-Qwen3-0.6B.jinja"),
    ("llama 3", "llama-bpe", "llama-3.jinja"),
    ("llama 3.1 to 3.3", "llama-bpe", "meta-llama-Llama-3.1-8B-Instruct.jinja"),
    ("llama 3.1 to 3.3", "llama-bpe", "meta-llama-Llama-3.2-3B-Instruct.jinja"),
    ("llama 3.1 to 3.3", "llama-bpe", "meta-llama-Llama-3.3-70B-Instruct.jinja"),
    ("mistral 7B v0.2", "llama-spm", "mistral-v0.2.jinja"),
    ("mistral v1", "llama-spm", "mistral-v1.jinja"),
    ("mistral v3", "llama-spm", "mistral-v3.jinja"),
    ("mistral nemo", "llama-spm", "mistralai-Mistral-Nemo-Instruct-2407.jinja"),
    ("mistral v7", "llama-spm", "mistral-v7.jinja"),
    ("phi 3, without a system message", "phi-3", "phi-3-mini.jinja"),
    ("phi 3, without a system message", "phi-3", "phi-3-medium.jinja"),
    ("phi 3.5", "phi-3", "microsoft-Phi-3.5-mini-instruct.jinja"),
]
