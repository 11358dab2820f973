"""tests/golden/templates/jinja2_prints.py - what jinja2 prints of a chat template, set up as transformers'
apply_chat_template does it, at 05:06:07 of the fourth of March 2025."""
import datetime
import json

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEnvironment

NOW = datetime.datetime(2025, 3, 4, 5, 6, 7)


class Generation(jinja2.ext.Extension):
    """transformers' AssistantTracker, which prints what is in it."""
    tags = {"generation"}

    def parse(self, parser):
        next(parser.stream)
        return parser.parse_statements(["name:endgeneration"], drop_needle=True)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    # transformers refuses what a filter gives as a generator; to us it is a list
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys,
                      default=list)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def compile_template(text):
    """transformers' sandbox refuses to change lists. A template that wants to is compared in the other one."""
    kind = SandboxedEnvironment if ".append(" in text or ".pop(" in text else ImmutableSandboxedEnvironment
    env = kind(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = NOW.strftime
    return env.from_string(text)


def printed(text, all_names):
    """For each dictionary of names what is printed, or why nothing is: {"text": ...} or {"error": ...}."""
    try:
        template = compile_template(text)
    except jinja2.exceptions.TemplateSyntaxError as error:
        return [{"error": str(error)}] * len(all_names)
    prints = []
    for names in all_names:
        try:
            prints.append({"text": template.render(**names)})
        except Exception as error:  # whatever Python says of what a template did
            prints.append({"error": f"{type(error).__name__}: {error}"})
    return prints
