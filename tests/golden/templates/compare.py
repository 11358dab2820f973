#!/usr/bin/env python3
"""tests/golden/templates/compare.py RENDER_TEMPLATES - every chat template of $SLUICE_TEST_TEMPLATES
(the folder that fetch_templates.sh prints) over every conversation of conversations.py: what the
program prints is, byte for byte, what jinja2 printed (prints.json), and where jinja2 refused, it
refuses. Exit 1 if one differs, 77 when there are no templates.
    --show   how they differ; needs jinja2
    --make   print all with jinja2, and write prints.json"""
import difflib
import hashlib
import json
import os
import pathlib
import subprocess
import sys

from conversations import cases

PRINTS = pathlib.Path(__file__).with_name("prints.json")
REFUSED = "--------"


def digest(printed):
    if "text" not in printed:
        return REFUSED
    return hashlib.sha256(printed["text"].encode()).hexdigest()[:8]


def ours(program, text, all_names):
    rows = "".join(json.dumps({"template": text, "globals": names}) + "\n" for names in all_names)
    ran = subprocess.run([program], input=rows, text=True, stdout=subprocess.PIPE, check=True)
    prints = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(prints) == len(all_names)
    return prints


def show(want, have):
    if "text" in want and "text" in have:
        lines = [print_["text"].split("\n") for print_ in (want, have)]
        print("\n".join(difflib.unified_diff(*lines, "jinja2", "ours", lineterm="")))
    else:
        print("jinja2:", str(want)[:300], "\nours:  ", str(have)[:300])


def make(files, all_names):
    from jinja2_prints import printed
    prints = {file.stem: " ".join(map(digest, printed(file.read_bytes().decode(), all_names))) for file in files}
    PRINTS.write_text(json.dumps(prints, indent=0) + "\n")


def compare(program, files, names, all_names):
    """Templates that differ."""
    golden, differ, n_printed = json.loads(PRINTS.read_text()), 0, 0
    for file in files:
        text = file.read_bytes().decode()
        prints, wanted = ours(program, text, all_names), golden.get(file.stem, "").split()
        wrong = [i for i, print_ in enumerate(prints) if i >= len(wanted) or digest(print_) != wanted[i]]
        n_printed += len(wanted) - wanted.count(REFUSED)
        if not wrong:
            continue
        differ += 1
        print(f"{file.stem}: {len(wrong)} of {len(prints)} differ: {', '.join(names[i] for i in wrong[:4])} ...")
        if "--show" in sys.argv:
            from jinja2_prints import printed
            for i, want in zip(wrong, printed(text, [all_names[i] for i in wrong])):
                print(f"--- {names[i]}")
                show(want, prints[i])
    print(f"{len(files) - differ} of {len(files)} templates print the same, each over {len(names)} conversations "
          f"({n_printed} prints, {len(files) * len(names) - n_printed} refused by jinja2)")
    return differ


def main():
    folder = os.environ.get("SLUICE_TEST_TEMPLATES")
    if not folder:
        print("skipped: SLUICE_TEST_TEMPLATES is not set: nothing to print")
        return 77
    files = sorted(pathlib.Path(folder).glob("*.jinja"))
    names, all_names = zip(*cases())
    if "--make" in sys.argv:
        make(files, all_names)
        return 0
    if {file.stem for file in files} != json.loads(PRINTS.read_text()).keys():
        print("the templates are not those of prints.json")
        return 1
    return 1 if compare(sys.argv[1], files, names, all_names) else 0


sys.exit(main())
