#!/usr/bin/env python3
"""tests/golden/templates/compare.py RENDER_TEMPLATES - every chat template of $SLUICE_TEST_TEMPLATES
(the folder that fetch_templates.sh prints) over every conversation of conversations.py, printed by
the program and by jinja2: the same bytes, or an error of both. Exit 1 if one differs, 77 when there
is nothing to compare with.
    --verbose   what differs"""
import datetime
import difflib
import json
import os
import pathlib
import subprocess
import sys

from conversations import cases


def skip(why):
    print(f"skipped: {why}")
    sys.exit(77)


try:
    import jinja2
    import jinja2.ext
    from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEnvironment
except ImportError:
    skip("jinja2 is not installed: nothing to compare with")

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


def environment(kind):
    env = kind(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = NOW.strftime
    return env


def compile_template(text):
    """transformers' sandbox refuses to change lists. A template that wants to is compared in the other one."""
    kind = SandboxedEnvironment if ".append(" in text or ".pop(" in text else ImmutableSandboxedEnvironment
    return environment(kind).from_string(text)


def expected(template, names):
    try:
        return {"text": template.render(**names)}
    except Exception as error:  # whatever Python says of what a template did
        return {"error": f"{type(error).__name__}: {error}"}


def main():
    program = sys.argv[1]
    verbose = "--verbose" in sys.argv
    folder = os.environ.get("SLUICE_TEST_TEMPLATES")
    if not folder:
        skip("SLUICE_TEST_TEMPLATES is not set: nothing to print")
    files = sorted(pathlib.Path(folder).glob("*.jinja"))
    if not files:
        sys.exit(f"no template is in {folder}")
    rows, wanted = [], []
    for file in files:
        text = file.read_bytes().decode()
        try:
            template = compile_template(text)
        except jinja2.exceptions.TemplateSyntaxError as error:
            template = error
        for name, names in cases():
            rows.append((file.stem, name, {"template": text, "globals": names}))
            wanted.append({"error": str(template)} if isinstance(template, Exception) else expected(template, names))
    ran = subprocess.run([program], input="".join(json.dumps(row) + "\n" for _, _, row in rows), text=True,
                         stdout=subprocess.PIPE, check=True)
    got = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(got) == len(rows)
    differ, printed = {}, {}
    for (file, name, _), want, have in zip(rows, wanted, got):
        printed[file] = printed.get(file, 0) + ("text" in want)
        if want.keys() == have.keys() and want.get("text") == have.get("text"):
            continue
        differ.setdefault(file, []).append(name)
        if verbose:
            print(f"--- {file}: {name}")
            if "text" in want and "text" in have:
                print("\n".join(difflib.unified_diff(want["text"].split("\n"), have["text"].split("\n"), "jinja2", "ours",
                                                     lineterm="")))
            else:
                print("jinja2:", str(want)[:300], "\nours:  ", str(have)[:300])
    for file, names in differ.items():
        print(f"{file}: {len(names)} of {len(rows) // len(files)} differ: {', '.join(names[:4])} ...")
    print(f"{len(files) - len(differ)} of {len(files)} templates equal, {sum(map(len, differ.values()))} of {len(rows)}"
          f" prints differ, {sum(printed.values())} printed by jinja2, the others refused by it")
    never = [file for file, n in printed.items() if n == 0]
    if never:
        print(f"jinja2 printed nothing at all of: {', '.join(never)}")
    sys.exit(1 if differ else 0)


main()
