"""Every error text is on docs/errors.md: what was expected, what was got, what to do."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from error_page import PAGE, SOURCE, page
from error_rule import parts
from error_texts import ELLIPSIS, Entry, Scope, entries, raised

# Texts that are not ours to word, or are worded elsewhere.
HANDED_ON = {
    ("study/reading/drawing.py", "…"): "several errors of figures, one after the other",
    ("study/reading/reporting.py", "…"): "several errors of figures, one after the other",
    ("config/application/record.py", "…"): "why an application cannot run here, worded there",
    ("study/launch.py", "…"): "the same, when the launch is made",
    ("study/code/rows.py", "…"): "why an experiment cannot run here, when its code is accepted",
    ("config/interpolations.py", "…"): "what OmegaConf says of an interpolation",
    ("core/registry.py", "…"): "a TypeError of core/plain, about a function's signature",
    ("core/commands/command.py", "…"): "a TypeError of core/plain, about a command's params",
    ("core/plain/forms.py", "a key that is no text"): "caught there, and said with the param",
    ("experiments/fields.py", "…."): "what a kernel says of an activation of one's own",
    ("tools/sql.py", "[…. | DuckDB failed.]"): "what DuckDB says of a query",
}


@pytest.fixture(scope="module")
def found():
    return entries(SOURCE)


def test_the_page_has_every_text(found):
    written, now = PAGE.read_text(encoding="utf-8").splitlines(), page(found).splitlines()
    missing, gone = sorted(set(now) - set(written)), sorted(set(written) - set(now))
    assert not missing, f"run `make errors`: {len(missing)} texts are new, the first {missing[0]}"
    assert not gone, f"run `make errors`: {len(gone)} texts are gone, the first {gone[0]}"


def test_each_text_says_what_was_expected_got_and_is_to_be_done(found):
    lacking = {(e.file, e.text) for e in found if not parts(e).complete}
    excused = {key for key in lacking if key in HANDED_ON or _is_handed_on(*key)}
    assert not lacking - excused, (
        "say what was expected beside what was got (must, needs, at most ...; got ...), or after "
        "what is the case what to do (Give, Use, Write ...)"
    )
    assert set(HANDED_ON) <= excused, "an exception that is none any more"


def _is_handed_on(file, text):
    """DuckDB's sentence, with one of ours after it."""
    return file == "tools/sql.py" and text.startswith("[[…. | DuckDB failed.]")


def entry(source, kinds=("InvalidValueError",)):
    tree = ast.parse(source)
    ((kind, text),) = raised(tree, set(kinds), Scope())
    return Entry(kind, text, "a.py")


@pytest.mark.parametrize(
    ("message", "complete"),
    [
        ("f'{name} must be a number, got {value!r}.'", True),
        ("f'{name} is empty. Give it a value.'", True),
        ("f'Unknown {x}. Did you mean {y}?'", True),
        ("f'{name} is wrong.'", False),
        ("'Something went wrong.'", False),
        ("f'{name} cannot be read: {why}.'", False),
        ("'Give a name.'", False),  # what was got is not said
        ("f'The store gives {name}, which nobody asked for.'", False),
        ("str(reason)", False),
    ],
)
def test_the_rule_tells_texts_apart(message, complete):
    assert parts(entry(f"raise InvalidValueError({message})")).complete is complete


def test_of_the_world_an_expectation_alone_is_no_advice():
    text = "raise StoreError(f'{path} needs {n} bytes.')"
    assert not parts(entry(text, ("StoreError",))).complete
    assert parts(entry(text.replace("bytes.", "bytes. Free them."), ("StoreError",))).complete


def test_a_text_is_found_wherever_its_pieces_are():
    source = """
WAY = "Write it otherwise."

def why(x):
    return f"{x} is {'large' if x else 'small'}. " + WAY

def f(x):
    reason = why(x)
    def g():
        return InvalidValueError(f"{x}: {reason}")
    try:
        g()
    except ValueError:
        pass
"""
    assert entry(source).text == "…: … is [large | small]. Write it otherwise."
    assert entry("raise InvalidValueError(text)").text == ELLIPSIS


def test_no_source_file_is_passed_over(found):
    """By the plainest of searches: a file that raises is among them."""
    raising = {
        path.relative_to(SOURCE).as_posix()
        for path in Path(SOURCE).rglob("*.py")
        if "raise InvalidValueError(" in path.read_text(encoding="utf-8")
    }
    assert raising <= {e.file for e in found}
    assert len(found) > 400
