"""docs/errors.md: every error text by class, with what it says was expected, got and is to be done.

``make errors`` writes it anew; ``tests/test_errors_page.py`` holds that it is up to date.
"""

from __future__ import annotations

import ast
import sys
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).parent))

from error_rule import parts  # noqa: E402
from error_texts import Entry, entries  # noqa: E402

PAGE = ROOT / "docs" / "errors.md"
SOURCE = ROOT / "src" / "lawsweep"

HEAD = """\
# Every error

Every text that lawsweep ends with, by class: the exit code of the command, and what a script
catches (`lawsweep.core.errors`). `make errors` writes this page from the source. A test holds that
no text is missing, and that each says what was expected beside what was got, or what is the case
and what to do.

`…` is what is only known when it happens: a name, a value, the reason that another program gave.
`[a / b]`: one of these. `‹error›`: another text of this page, handed on with the place it is of.
Where no next step stands, it is to do what was expected. Unknown names have one text for all:
`Unknown … in …. Did you mean …? Valid: ….`
"""


def page(found: list[Entry]) -> str:
    """The page's text."""
    told = {
        **_classes(),
        "TypeError": ("", "Of a function or dataclass that is to be an experiment."),
    }
    lines = [HEAD]
    for kind, some in groupby(found, key=lambda e: e.kind):
        code, meaning = told.get(kind, ("", ""))
        lines += [f"## {kind}", ""]
        said = f"{meaning} Exit code {code}." if code else meaning
        lines += [said, ""] if said else []
        lines += ["| raised in | expected | got | next step |", "|---|---|---|---|"]
        lines += [_row(entry) for entry in some]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _row(entry: Entry) -> str:
    said = parts(entry)
    if said.expected == said.got:  # one clause says both
        said = said._replace(got="") if said.expected else said
    return f"| {' | '.join([entry.file, *map(_cell, said)])} |"


def _cell(text: str) -> str:
    """As code, so that nothing in it is taken for Markdown."""
    plain = text.strip().replace("|", "/").replace("`", "'")
    return f"`{plain}`" if plain else ""


def _classes() -> dict[str, tuple[str, str]]:
    """Exit code and first sentence of each class of ``core/errors.py``."""
    tree = ast.parse((SOURCE / "core" / "errors.py").read_text(encoding="utf-8"))
    found = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            codes = [
                part.value.value
                for part in node.body
                if isinstance(part, ast.Assign) and part.targets[0].id == "exit_code"
            ]
            inherited = next((found[b.id][0] for b in node.bases if b.id in found), "")
            meaning = (ast.get_docstring(node) or "").partition("\n")[0]
            found[node.name] = (str(codes[0]) if codes else inherited, meaning)
    return found


if __name__ == "__main__":
    PAGE.write_text(page(entries(SOURCE)), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
