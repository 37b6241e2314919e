"""The pages of the documentation run as they stand, and each has its place in the site."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pages import ROOT, as_it_was, blocks, commands, run_block, run_page, unsaid

import lawsweep
import lawsweep.kernels
from lawsweep.core.errors import LawsweepError

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
# Run by tests of their own, which also look at what came out.
ELSEWHERE = ["extending.md", "experiments.md", "hydra.md", "kernels.md"]
# Parts of sweep files, readers of a table that another page makes, what only a card can show.
FRAGMENTS = ["architecture.md", "gpu.md", "report.md", "results.md", "sweeps.md"]
# An experiment that has whatever the fragments of sweep files are about.
STUDY = """
from dataclasses import dataclass

from lawsweep import experiment


@dataclass(frozen=True, kw_only=True)
class Params:
    n_samples: int = 10
    input_dim: int = 3
    width: int = 4
    depth: int = 3
    n: int = 1
    d: int = 1
    n_target: int = 9
    n_compressed: int = 2
    slope: float = 0.0
    learning_rate: float = 0.1
    activation: str = "relu"


@dataclass(frozen=True, kw_only=True)
class Metrics:
    lambda_min: float
    gap: float
    final_loss: float
    accuracy: float
    steps: int
    memorized: bool
    stop_reason: str


@experiment(version=1)
def study(params: Params, seed: int) -> Metrics:
    raise RuntimeError("planned only")
"""


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
    comments = re.findall(r"<!-- names: (.*?) -->", (DOCS / "api.md").read_text(), re.S)
    told = [n.strip() for c in comments for n in c.replace("\n", " ").split(",")]
    public = [*lawsweep._HOME, *(f"kernels.{n}" for n in lawsweep.kernels._HOME)]
    assert sorted(n for n in told if not n.startswith("lawsweep.")) == sorted(public)


def anchors(page):
    """Of the headings of a page, as they are addressed."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
    heads = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in heads}


def test_links_of_pages_lead_somewhere():
    """As ``make docs`` finds it, which needs Sphinx."""
    wrong = []
    for page in [*PAGES, ROOT / "deploy/README.md", ROOT / "CONTRIBUTING.md", ROOT / "README.md"]:
        text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
        for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
            path, _, anchor = target.partition("#")
            found = page.parent / path if path else page
            if not found.exists() or (anchor and anchor not in anchors(found)):
                wrong.append(f"{page.relative_to(ROOT)}: {target}")
    assert wrong == []


def test_what_pages_say_by_reference_is_read_off_the_package(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "site"))
    import reference

    for page in ("api.md", "builtin.md", "command.md", "notebook.md"):
        text = (DOCS / page).read_text("utf-8")
        assert "<!-- " not in reference.filled(text)
    said = reference.filled("<!-- names: Cost, fit -->")
    assert "{py:class} lawsweep.Cost(flops: Any=0.0" in said
    assert "{py:function} lawsweep.fit(sweep: Sweep | Study | str, frame" in said
    with pytest.raises(ValueError, match="Expected a function or a class Nothing in lawsweep"):
        reference.definition("lawsweep.core.cost", "Nothing")


def test_a_page_that_fetches_is_found(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "site"))
    import offline

    away = "https://cdn.example/x.js"
    assert offline.fetched(f'<script async src="{away}"></script>', ".html") == [away]
    assert offline.fetched(f'<link rel="stylesheet" href="{away}">', ".html") == [away]
    assert offline.fetched("@import url(//fonts.example/a.css);", ".css") == [
        "//fonts.example/a.css"
    ]
    assert offline.fetched(f'<a href="{away}"><img src="a.png">', ".html") == []
    assert offline.fetched("a { background: url(data:image/png;base64,AA) }", ".css") == []


def test_parts_of_sweep_files_are_opened_as_they_stand(tmp_path):
    found = [b for b in blocks(DOCS / "sweeps.md") if b.language == "yaml"]
    parts = [(b.line, part) for b in found for part in re.split(r"^# or\n", b.text, flags=re.M)]
    assert len(parts) > 12
    with as_it_was(tmp_path):
        Path("sweeps").mkdir()
        Path("study.py").write_text(STUDY)
        Path("grid.csv").write_text("n_samples,input_dim\n10,3\n")
        for line, part in parts:
            more = "" if "experiment:" in part else "experiment: study:study\n"
            if "fit:" in part:
                more += "fits: [{name: power_lambda_min, law: power, x: width, y: lambda_min}]\n"
                more += "axes: {width: [2, 3, 4]}\nseeds: 9\n"
            Path("sweeps/part.yaml").write_text(more + part)
            try:
                assert len(lawsweep.open("part").plan) > 0
            except LawsweepError as error:
                pytest.fail(f"docs/sweeps.md:{line}: {error}")


def test_the_readers_of_results_read_a_table(tmp_path):
    page = blocks(DOCS / "results.md")
    with as_it_was(tmp_path):
        small = ["params.n_samples=8", "params.input_dim=4,5", "seeds=1", "executor=serial"]
        study = lawsweep.open("smoke", *small)
        study.run()
        run_id = study.frame().run_id[0]
        for block in page:
            if block.language == "python" and "study.arrays" not in block.text:
                space = {"study": study, "run_id": run_id}
                exec(compile(block.text, f"results.md:{block.line}", "exec"), space)
                assert len(space["frame"]) == len(study.plan)
            elif block.language == "sql":
                import duckdb

                (found,) = duckdb.sql(f"SELECT count(*) FROM ({block.text})").fetchall()
                assert found == (len(study.plan),)
            elif block.language == "console" and "lawsweep sql" in block.text:
                run_block(block, {}, f"results.md:{block.line}")


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
    with as_it_was(tmp_path):
        run_block(found[0], {}, str(page))
        with pytest.raises(AssertionError, match="did not say\n  2\nbut\n1"):
            run_block(found[1], {}, str(page))


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
