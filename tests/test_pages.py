"""The pages of the documentation run as they stand, and each has its place in the site."""

from __future__ import annotations

import re

import pytest
import yaml
from pages import ROOT, as_it_was, blocks, commands, run_page, unsaid

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
# Run by tests of their own, which also look at what came out.
ELSEWHERE = ["extending.md", "experiments.md", "hydra.md", "kernels.md"]
# Of fragments, and of what only a card or a cluster can show.
FRAGMENTS = ["architecture.md", "gpu.md", "report.md", "results.md", "sweeps.md"]


def name(page):
    return str(page.relative_to(DOCS))


RUN = [p for p in PAGES if name(p) not in [*ELSEWHERE, *FRAGMENTS] and blocks(p)]


@pytest.mark.parametrize("page", RUN, ids=name)
def test_the_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.delenv("LAWSWEEP_RESULTS_DIR", raising=False)
    run_page(page, tmp_path)


def entries(page):
    """What a page has in its tables of contents; a title may stand before it."""
    told = re.findall(r"```\{toctree\}\n(.*?)```", (DOCS / page).read_text("utf-8"), re.S)
    lines = [line for block in told for line in block.splitlines() if line and line[0] != ":"]
    return [re.sub(r".*<(.*)>", r"\1", line) for line in lines]


def test_every_page_has_its_place_in_the_site():
    named = {f"{above}{e}" for above in ("", "migrating/") for e in entries(f"{above}index.md")}
    pages = {name(p).removesuffix(".md") for p in PAGES} - {"index"}
    assert {e for e in named if not e.startswith("../")} == pages
    assert all((DOCS / f"{e}.md").exists() for e in named)


def test_every_public_name_stands_in_the_reference_once():
    import lawsweep
    import lawsweep.kernels

    comments = re.findall(r"<!-- names: (.*?) -->", (DOCS / "api.md").read_text(), re.S)
    told = [n.strip() for c in comments for n in c.replace("\n", " ").split(",")]
    public = [*lawsweep._HOME, *(f"kernels.{n}" for n in lawsweep.kernels._HOME)]
    assert sorted(n for n in told if not n.startswith("lawsweep.")) == sorted(public)


@pytest.mark.parametrize(
    ("line", "said", "holds"),
    [
        ("ran 50 in 0.822 s (60.8 runs/s)", "ran 50 in 1e-05 s (1,203 runs/s)", True),
        ("ran 50 in 0.822 s (60.8 runs/s)", "ran 49 in 0.9 s (60.8 runs/s)", False),
        ("a ^-0.48 [-0.61, ...", "a ^-0.5 [-0.7, 3] (95 %)", True),
        ("a  b", "a      b", True),
        ("4 ok ...", "40 ok", False),
    ],
)
def test_a_line_holds_with_other_times_and_fractions(line, said, holds):
    assert (unsaid([line], f"before\n{said}\nafter") is None) is holds


def test_what_a_page_says_is_looked_for_in_order():
    assert unsaid(["one", "two"], "one\nnothing\ntwo") is None
    assert unsaid(["two", "one"], "one\nnothing\ntwo") == "one"


def test_a_page_that_lies_is_told(tmp_path):
    page = ROOT / "docs" / "page.md"
    text = "```python\n# here.py\nprint(1)\n```\n\n```console\n$ python here.py\n2\n```\n"
    found = blocks(text)
    assert [(b.file, b.line) for b in found] == [("here.py", 1), (None, 6)]
    assert commands(found[1].text) == [("python here.py", ["2"])]
    from pages import _run

    with as_it_was(tmp_path):
        _run(found[0], {}, str(page))
        with pytest.raises(AssertionError, match="did not say\n  2\nbut\n1"):
            _run(found[1], {}, str(page))


@pytest.mark.parametrize("form", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda f: f.stem)
def test_a_form_of_a_report_asks_what_it_shows(form):
    told = yaml.safe_load(form.read_text("utf-8"))
    if form.stem == "config":
        assert told == {"blank_issues_enabled": True}
        return
    assert set(told) == {"name", "description", "labels", "body"}
    ids = [field["id"] for field in told["body"]]
    assert len(set(ids)) == len(ids)
    assert all(field["attributes"]["label"] for field in told["body"])
