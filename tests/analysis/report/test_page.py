"""The page as text: what leads it, what is escaped, what stands for many rows."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from report_pages import HOSTILE, chart_of, facts, rows

from lawsweep.analysis.laws.fitted import Parameter
from lawsweep.analysis.report import bundle
from lawsweep.analysis.report.charts import MAX_MARKS, about, plain
from lawsweep.analysis.report.headline import _cell, leading
from lawsweep.analysis.report.markup import embedded
from lawsweep.analysis.report.page import render
from lawsweep.analysis.report.sections import _sentence
from lawsweep.analysis.report.thinning import MAX_ACROSS
from lawsweep.core import secrets
from lawsweep.core.errors import InvalidValueError
from lawsweep.core.secrets import learn


class Elements(HTMLParser):
    """Every start tag with its attributes, and the text of ``script`` elements."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.scripts, self._inside = [], [], False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag == "script"

    def handle_data(self, data):
        if self._inside:
            self.scripts.append(data)

    def handle_endtag(self, tag):
        self._inside = False


def test_it_leads_with_each_law_its_interval_and_what_is_known_of_it():
    made = facts()
    page = render(made)
    told = re.sub("<[^>]+>", "", page[page.index("<main") : page.index('id="figures"')])
    for found in made.fits:
        half = (found["exponent"].high - found["exponent"].low) / 2
        (estimate, said) = re.search(r"exponent (\S+) ± (\S+)", leading(found["exponent"])).groups()
        assert abs(float(estimate) - found["exponent"].estimate) <= 0.5 * float(said)
        assert float(said) == pytest.approx(half, rel=0.5)
        assert leading(found["exponent"]) in told
        assert found.verdict in told.replace("&#x27;", "'").replace("&gt;", ">")
    order = [
        page.index(f'id="{s}"') for s in ("result", "figures", "parameters", "missing", "next")
    ]
    assert order == sorted(order)


def test_names_of_elements_in_the_data_are_text():
    frame = rows(kinds=(HOSTILE, "plain"))
    entry = {"kind": "curve", "x": "n", "y": "y", "by": "kind", "title": HOSTILE}
    bad = dict.fromkeys(("name", "typed", "certificate", "experiment", "no_fits"), HOSTILE)
    page = render(facts(frame, entry, notes=[HOSTILE], gaps=[HOSTILE], found=[HOSTILE] * 2, **bad))
    found = Elements(page)
    assert [a for t, a in found.tags if t == "img"] == []
    assert sum(t == "script" for t, _ in found.tags) == 4  # three of the page, one of data
    (data,) = [s for s in found.scripts if s.startswith('{"name"')]
    assert json.loads(data)["title"] == HOSTILE.replace("\u2028", " ")  # Vega knows none
    assert "\u2028" not in data


def test_json_within_a_script_has_no_sign_that_ends_it():
    made = embedded({"a": [HOSTILE, 1.5, None]})
    assert json.loads(made) == {"a": [HOSTILE, 1.5, None]}
    assert not set("<>&\u2028\u2029") & set(made)
    with pytest.raises(ValueError, match="not JSON compliant"):
        embedded([float("nan")])


def test_a_secret_is_on_the_page_nowhere_and_its_place_can_be_seen(monkeypatch):
    monkeypatch.setattr(secrets, "_learnt", {})
    learn("s3cr3t&<value>")
    frame = rows(kinds=("s3cr3t&<value>", "plain"))
    page = render(facts(frame, notes=["with s3cr3t&<value> in it"]))
    assert "s3cr3t" not in page
    assert "with &lt;hidden&gt; in it" in page


def test_the_page_may_load_nothing_and_run_its_own_scripts_alone():
    page = render(facts())
    found = Elements(page)
    (policy,) = [a["content"] for t, a in found.tags if a.get("http-equiv")]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    assert "connect-src 'none'" in policy
    loads = [a.get(k, "") for t, a in found.tags for k in ("src", "href") if t != "a"]
    assert all(u == "" or u.startswith("data:") for u in loads)


def test_points_carry_their_runs_and_the_means_are_those_of_the_rows():
    frame = rows(kinds=("plain",))
    found = chart_of(frame)
    marks = found["marks"]
    for i, n in enumerate(marks["x"]):
        own = frame[frame["n"] == n]
        assert marks["y"][i] == pytest.approx(np.exp(np.log(own["y"]).mean()), rel=1e-6)
        assert (marks["n"][i], marks["seeds"][i]) == (len(own), own["seed"].nunique())
        assert marks["runs"][i] == [r[:12] for r in own["run_id"][:3]]
    (law,), (band,) = found["lines"], found["bands"]
    assert (law["role"], law["x"][0], law["x"][-1]) == ("law", 10, 160)
    line = np.exp(np.interp(np.log(band["x"]), np.log(law["x"]), np.log(law["y"])))
    assert all(a < b < c for a, b, c in zip(band["lo"], line, band["hi"], strict=True))


def test_of_many_rows_means_are_drawn_and_it_says_so():
    n = 30_000
    x = np.arange(1, n + 1, dtype=float)
    frame = pd.DataFrame({"n": x, "y": 3 * x, "seed": 0, "status": "ok", "run_id": "00"})
    found = chart_of(frame, {"kind": "curve", "x": "n", "y": "y"})
    assert len(found["marks"]["x"]) == MAX_MARKS
    assert sum(found["marks"]["n"]) == n
    np.testing.assert_allclose(found["marks"]["y"], 3 * np.array(found["marks"]["x"]), rtol=1e-5)
    assert f"30,000 rows: drawn as means of {MAX_MARKS:,} ranges of x" in found["notes"]


def test_of_a_large_scatter_a_share_is_drawn_the_same_each_time_and_with_its_ends():
    frame = rows(levels=tuple(range(1, 1500)), seeds=2)
    entry = {"kind": "scatter", "x": "n", "y": "y"}
    found, shuffled = chart_of(frame, entry), chart_of(frame.sample(frac=1, random_state=1), entry)
    assert MAX_MARKS - 4 <= len(found["marks"]["x"]) <= MAX_MARKS
    runs = [{r for (r,) in f["marks"]["runs"]} for f in (found, shuffled)]
    assert runs[0] == runs[1]
    assert (min(found["marks"]["x"]), max(found["marks"]["x"])) == (1, 1499)
    assert any(note.startswith("5,996 rows: ") for note in found["notes"])


def test_a_figure_without_rows_says_what_it_needs():
    with pytest.raises(InvalidValueError, match="needs at least one ok row"):
        chart_of(rows().assign(status="failed"))


def test_a_map_is_its_cells_with_the_rows_behind_each():
    frame = rows(kinds=("plain",), seeds=3).drop(index=[0])
    entry = {"kind": "heatmap", "x": "n", "y": "seed", "z": "y", "logx": True}
    (cells,) = chart_of(frame, entry)["cells"]
    assert (len(cells["x"]), len(cells["y"])) == (6, 4)
    assert cells["v"][0] is None
    assert (cells["n"][0], cells["runs"][0]) == (0, [])
    own = frame[(frame.n == 20) & (frame.seed == 1)]
    at = 1 * 5 + 1  # rows of the map by y, from below
    assert cells["v"][at] == pytest.approx(float(own.y.iloc[0]), rel=1e-6)
    assert cells["runs"][at] == [own.run_id.iloc[0][:12]]


def test_a_large_map_is_drawn_as_means_of_neighbours():
    x, y = (v.ravel() for v in np.meshgrid(np.arange(150.0), np.arange(70.0)))
    frame = pd.DataFrame({"a": x, "b": y, "z": x + 1000 * y, "status": "ok", "seed": 0})
    found = chart_of(frame, {"kind": "heatmap", "x": "a", "y": "b", "z": "z"})
    (cells,) = found["cells"]
    values = np.array(cells["v"]).reshape(len(cells["y"]) - 1, len(cells["x"]) - 1)
    assert max(values.shape) <= MAX_ACROSS
    assert found["notes"] == ["150 × 70 cells: drawn as means of 64 × 64"]
    assert sum(cells["n"]) == len(frame)
    first = frame[(frame.a < cells["x"][1]) & (frame.b < cells["y"][1])]
    assert values[0, 0] == pytest.approx(first.z.mean(), rel=1e-6)
    assert (cells["x"][0], cells["x"][-1]) == (-0.5, 149.5)


def test_every_kind_has_words_for_who_does_not_see_it():
    frame = rows()
    assert about(chart_of(frame)).startswith("Y against n in 2 groups by kind: 10 points, n from")
    said = about(chart_of(frame, {"kind": "heatmap", "x": "n", "y": "seed", "z": "y"}))
    assert said.startswith("A map of y over n and seed: 25 cells, y from ")


def test_labels_are_plain_text():
    assert plain(r"$\lambda_{\mathrm{min}}$ / $\eta$") == "λ_min / η"
    assert plain(r"cost in \$ of $\lambda_{\mathrm{min\,eig}}$") == "cost in $ of λ_min_eig"


def test_the_library_is_made_once_and_kept_whole_or_not_at_all(tmp_path, monkeypatch):
    script = bundle.plotting_script()
    assert script is not None
    assert "</script" not in script
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    calls = []

    def made(names):
        calls.append(names)
        return "window.x=1;</script>"

    monkeypatch.setattr("vl_convert.javascript_bundle", made)
    afresh = bundle.plotting_script.__wrapped__
    first = afresh()
    assert afresh() == first == "window.x=1;<\\/script>/* whole */\n"
    (kept,) = (tmp_path / "lawsweep").iterdir()
    kept.write_text("window.x=")  # cut short
    assert afresh() == first
    assert len(calls) == 2


def test_without_the_library_the_page_stands(monkeypatch):
    monkeypatch.setattr("lawsweep.analysis.report.page.plotting_script", lambda: None)
    page = render(facts())
    assert sum(t == "script" for t, _ in Elements(page).tags) == 3
    assert "The points as a table" in page


def test_a_caption_keeps_the_names_it_begins_with():
    """``a`` and ``A`` are two parameters of a joint law, and N_samples is no column."""
    assert _sentence("a and b may be 0") == "a and b may be 0"
    assert _sentence("n_samples=90: it bends") == "n_samples=90: it bends"
    assert _sentence("width=90: it bends") == "width=90: it bends"
    assert _sentence("bars: 2 standard errors") == "Bars: 2 standard errors"
    assert _sentence("lines: the law") == "Lines: the law"


def test_an_end_that_is_not_bounded_is_said_to_be_infinite():
    assert leading(Parameter("a", -3.07, -40.94, np.inf)) == "a -3.07 [-40.94, inf]"
    assert [_cell(v) for v in (np.inf, -np.inf, np.nan, 0.5)] == ["∞", "−∞", "?", "0.5"]
